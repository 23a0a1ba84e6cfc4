import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { KeyRound } from "lucide-react";
import { useState } from "react";
import { get, type Schemas, send } from "../api/client";
import { useMay, useSession } from "../app/session";
import { Actions, ActionsHead } from "../ui/actions";
import { Button, Chip, Field } from "../ui/controls";
import { Confirm, Dialog } from "../ui/dialog";
import { ago, moment } from "../ui/format";
import { Empty, Failure, Loading, Refusal } from "../ui/states";

type Token = Schemas["TokenOut"];
const ASKED = ["read", "label", "review", "operate", "admin", "predict:*"];

export function Tokens() {
  const queries = useQueryClient();
  const everybody = useMay("admin");
  const tokens = useQuery({
    queryKey: ["tokens"],
    queryFn: () => get<Schemas["TokensOut"]>("/api/tokens", { everybody }),
  });
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<Schemas["NewTokenOut"] | null>(null);
  const [revoking, setRevoking] = useState<Token | null>(null);
  const refresh = (): void => void queries.invalidateQueries({ queryKey: ["tokens"] });
  const revoke = useMutation({
    mutationFn: (id: string) => send("DELETE", `/api/tokens/${id}`),
    onSuccess: () => {
      setRevoking(null);
      refresh();
    },
  });
  if (tokens.isError)
    return (
      <Failure
        what="The tokens cannot be shown"
        error={tokens.error}
        retry={() => void tokens.refetch()}
      />
    );
  if (!tokens.data) return <Loading what="Reading the tokens…" />;
  return (
    <div className="stack" style={{ gap: 12 }}>
      <div>
        <Button tone="primary" icon={KeyRound} onClick={() => setMaking(true)}>
          New token
        </Button>
      </div>
      {tokens.data.tokens.length === 0 ? (
        <Empty icon={KeyRound} title="No tokens yet">
          A program signs in with a token: it may do what its scopes say, until it expires or is
          revoked.
        </Empty>
      ) : (
        <div className="panel">
          <table className="table">
            <thead>
              <tr>
                <th>Token</th>
                <th>Owner</th>
                <th>Scopes</th>
                <th>Made</th>
                <th>Ends</th>
                <ActionsHead />
              </tr>
            </thead>
            <tbody>
              {tokens.data.tokens.map((token) => {
                const isOver =
                  Boolean(token.revoked_at) || token.expires_at < new Date().toISOString();
                return (
                  <tr key={token.id} className={isOver ? "faint" : ""}>
                    <td>
                      <strong>{token.label}</strong>
                    </td>
                    <td>{token.owner}</td>
                    <td>
                      <div className="row wrap" style={{ gap: 4 }}>
                        {token.scopes.map((scope) => (
                          <Chip key={scope}>{scope}</Chip>
                        ))}
                      </div>
                    </td>
                    <td className="muted">{ago(token.created_at)}</td>
                    <td className="muted">
                      {token.revoked_at ? (
                        <Chip tone="bad">revoked</Chip>
                      ) : (
                        moment(token.expires_at)
                      )}
                    </td>
                    <td>
                      {!isOver && (
                        <Actions>
                          <Button size="s" tone="danger" onClick={() => setRevoking(token)}>
                            Revoke
                          </Button>
                        </Actions>
                      )}
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
      {making && (
        <NewToken
          onClose={() => setMaking(false)}
          onMade={(token) => {
            setMaking(false);
            setMade(token);
            refresh();
          }}
        />
      )}
      {made && (
        <Dialog title={`Token ${made.label}`} onClose={() => setMade(null)}>
          <p className="muted">Copy it now: it is shown this once, and kept nowhere.</p>
          <div className="secret">{made.secret}</div>
        </Dialog>
      )}
      {revoking && (
        <Confirm
          title={`Revoke ${revoking.label}?`}
          yes="Revoke"
          tone="danger"
          busy={revoke.isPending}
          error={revoke.error}
          onYes={() => revoke.mutate(revoking.id)}
          onClose={() => setRevoking(null)}
        >
          <p>Every service turns it away from now on. This cannot be undone.</p>
        </Confirm>
      )}
    </div>
  );
}

function NewToken({
  onClose,
  onMade,
}: {
  onClose: () => void;
  onMade: (token: Schemas["NewTokenOut"]) => void;
}) {
  const { scopes: own } = useSession();
  const [label, setLabel] = useState("");
  const [scopes, setScopes] = useState<string[]>(["read"]);
  const [days, setDays] = useState("90");
  const make = useMutation({
    mutationFn: () =>
      send<Schemas["NewTokenOut"]>("POST", "/api/tokens", {
        label,
        scopes,
        lifetime_days: Number(days),
      }),
    onSuccess: onMade,
  });
  return (
    <Dialog
      title="New token"
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            tone="primary"
            disabled={!label || !scopes.length || make.isPending}
            onClick={() => make.mutate()}
          >
            Make it
          </Button>
        </>
      }
    >
      <Field
        label="What for"
        placeholder="nightly import"
        value={label}
        onChange={(event) => setLabel(event.target.value)}
      />
      <fieldset className="field" style={{ border: 0, margin: 0, padding: 0 }}>
        <legend className="muted">May</legend>
        <div className="row wrap" style={{ gap: 12 }}>
          {ASKED.filter((scope) => own.includes(scope)).map((scope) => (
            <label key={scope} className="check">
              <input
                type="checkbox"
                checked={scopes.includes(scope)}
                onChange={(event) =>
                  setScopes(
                    event.target.checked
                      ? [...scopes, scope]
                      : scopes.filter((one) => one !== scope),
                  )
                }
              />
              {scope}
            </label>
          ))}
        </div>
      </fieldset>
      <Field
        label="Good for (days)"
        type="number"
        min={1}
        max={3650}
        value={days}
        onChange={(event) => setDays(event.target.value)}
      />
      <Refusal error={make.error} />
    </Dialog>
  );
}
