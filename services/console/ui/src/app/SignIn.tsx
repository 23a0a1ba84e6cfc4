// Signing in: a name and a password, an identity provider, or the link that `loopline up` printed.

import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { get, type Schemas, send } from "../api/client";
import { Button, Field } from "../ui/controls";
import { Refusal } from "../ui/states";
import { Logo } from "./Logo";

type Session = Schemas["SessionOut"];

export function SignIn({ onSignedIn }: { onSignedIn: (session: Session) => void }) {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const ways = useQuery({
    queryKey: ["sign-in"],
    queryFn: () => get<Schemas["SignInOut"]>("/api/sign-in"),
    retry: false,
  });
  const signIn = useMutation({
    mutationFn: () => send<Session>("POST", "/api/session", { name, password }),
    onSuccess: onSignedIn,
  });
  const oidc = ways.data?.oidc;
  return (
    <main className="signin">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          signIn.mutate();
        }}
      >
        <div className="brand">
          <Logo />
          <span>
            <strong>Loopline</strong>
            <span>{ways.data ? `Workspace ${ways.data.workspace}` : "Sign in"}</span>
          </span>
        </div>
        <h1 className="visually-hidden">Sign in to Loopline</h1>
        <Field
          label="Name"
          autoComplete="username"
          autoFocus
          required
          value={name}
          onChange={(event) => setName(event.target.value)}
        />
        <Field
          label="Password"
          type="password"
          autoComplete="current-password"
          required
          value={password}
          onChange={(event) => setPassword(event.target.value)}
        />
        <Refusal error={signIn.error} />
        <Button tone="primary" type="submit" disabled={signIn.isPending}>
          {signIn.isPending ? "Signing in…" : "Sign in"}
        </Button>
        {oidc && (
          <a className="button" href={oidc.url}>
            Sign in with {oidc.name}
          </a>
        )}
        {ways.data && !ways.data.password && (
          <p className="muted">
            Nobody has a password yet. Open the link that <code>loopline up</code> printed, or that{" "}
            <code>loopline user link</code> prints: it signs you in as the administrator, once.
          </p>
        )}
      </form>
    </main>
  );
}
