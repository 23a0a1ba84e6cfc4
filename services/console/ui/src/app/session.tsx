// Who is signed in, and what that person may do.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect } from "react";
import { get, type Schemas, send, setCsrf, whenSignedOut } from "../api/client";
import { Refused } from "../api/errors";
import { Failure, Loading } from "../ui/states";
import { SignIn } from "./SignIn";

export type Session = Schemas["SessionOut"];
type Scope = "read" | "label" | "review" | "operate" | "admin";

const Context = createContext<Session | null>(null);

export function useSession(): Session {
  const session = useContext(Context);
  if (!session) throw new Error("there is no session around this");
  return session;
}

export function useMay(scope: Scope): boolean {
  return useSession().scopes.includes(scope);
}

async function askSession(): Promise<Session | null> {
  const token = oneTimeToken();
  try {
    const session = token
      ? await send<Session>("POST", "/api/session/one-time", { token })
      : await get<Session>("/api/session");
    setCsrf(session.csrf_token);
    return session;
  } catch (error) {
    if (error instanceof Refused && error.status === 401 && !token) return null;
    throw error;
  }
}

/** The token of a sign-in link stands behind the "#": it reaches no server log, and goes at once. */
function oneTimeToken(): string {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  if (token) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

export function SessionGate({ children }: { children: ReactNode }) {
  const queries = useQueryClient();
  const session = useQuery({
    queryKey: ["session"],
    queryFn: askSession,
    staleTime: Infinity,
    retry: false,
  });
  useEffect(() => {
    whenSignedOut(() => {
      if (queries.getQueryData(["session"])) queries.setQueryData(["session"], null);
    });
  }, [queries]);
  if (session.isPending) return <Loading what="Opening the console…" />;
  if (session.isError) {
    return (
      <Failure
        what="You could not be signed in"
        error={session.error}
        retry={() => void session.refetch()}
      />
    );
  }
  if (!session.data) {
    return (
      <SignIn
        onSignedIn={(signedIn) => {
          setCsrf(signedIn.csrf_token);
          queries.setQueryData(["session"], signedIn);
        }}
      />
    );
  }
  return <Context value={session.data}>{children}</Context>;
}
