import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { type Schemas, send, setCsrf } from "../api/client";
import { useSession } from "../app/session";
import { tell } from "../app/toasts";
import { Button, Field } from "../ui/controls";
import { Refusal } from "../ui/states";

const LENGTH_MIN = 10;

export function Password() {
  const queries = useQueryClient();
  const session = useSession();
  const [current, setCurrent] = useState("");
  const [password, setPassword] = useState("");
  const change = useMutation({
    mutationFn: () =>
      send<Schemas["SessionOut"]>("POST", "/api/session/password", { current, password }),
    onSuccess: (next) => {
      setCsrf(next.csrf_token);
      queries.setQueryData(["session"], next);
      setCurrent("");
      setPassword("");
      tell("Your password is set. Every other session of yours has ended.");
    },
  });
  return (
    <form
      className="panel form"
      style={{ maxWidth: 420, padding: 24 }}
      onSubmit={(event) => {
        event.preventDefault();
        change.mutate();
      }}
    >
      <h2>{session.has_password ? "Change your password" : "Set a password"}</h2>
      {session.has_password && (
        <Field
          label="The one you have"
          type="password"
          autoComplete="current-password"
          required
          value={current}
          onChange={(event) => setCurrent(event.target.value)}
        />
      )}
      <Field
        label="The new one"
        type="password"
        autoComplete="new-password"
        required
        minLength={LENGTH_MIN}
        hint={`at least ${LENGTH_MIN} characters`}
        value={password}
        onChange={(event) => setPassword(event.target.value)}
      />
      <Refusal error={change.error} />
      <div>
        <Button
          tone="primary"
          type="submit"
          disabled={change.isPending || password.length < LENGTH_MIN}
        >
          Set it
        </Button>
      </div>
    </form>
  );
}
