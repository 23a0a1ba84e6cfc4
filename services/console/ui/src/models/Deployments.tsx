// Where a model's aliases pointed, who else answers beside them, and moving them.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { History, Rocket } from "lucide-react";
import { useState } from "react";
import { Link } from "react-router";
import { get, type Schemas, send } from "../api/client";
import { useMay } from "../app/session";
import { tell } from "../app/toasts";
import { Actions, ActionsHead } from "../ui/actions";
import { Button, Chip, Field } from "../ui/controls";
import { Confirm } from "../ui/dialog";
import { ago, percent } from "../ui/format";
import { Empty, Failure, Loading } from "../ui/states";

type Move = Schemas["MoveOut"];

export function Deployments({ name }: { name: string }) {
  const queries = useQueryClient();
  const mayOperate = useMay("operate");
  const moves = useQuery({
    queryKey: ["models", name, "aliases"],
    queryFn: () => get<Schemas["MovesOut"]>(`/api/models/${name}/aliases`),
  });
  const [back, setBack] = useState<Move | null>(null);
  const [forward, setForward] = useState<Move | null>(null);
  const rollback = useMutation({
    mutationFn: ({ alias }: Move) => send<Move>("POST", `/api/models/${name}/rollback`, { alias }),
    onSuccess: (move, { rollout }) => {
      tell(
        rollout
          ? `${move.alias} is v${move.version} alone`
          : `${move.alias} is v${move.version} again`,
      );
      setBack(null);
      void queries.invalidateQueries({ queryKey: ["models"] });
    },
  });
  if (moves.isError) return <Failure what="The deployments cannot be shown" error={moves.error} />;
  if (!moves.data) return <Loading what="Reading the deployments…" />;
  const all = moves.data.moves;
  if (!all.length) {
    return (
      <Empty icon={Rocket} title="No version is deployed">
        Promote one: inference serves it as soon as the alias points to it.
      </Empty>
    );
  }
  const last = new Map<string, string>();
  for (const move of all) if (!last.has(move.alias)) last.set(move.alias, move.moved_at);
  return (
    <div className="page-body">
      <div className="panel">
        <table className="table">
          <thead>
            <tr>
              <th>Alias</th>
              <th>Points to</th>
              <th>Why</th>
              <th>By</th>
              <th>When</th>
              <ActionsHead />
            </tr>
          </thead>
          <tbody>
            {all.map((move) => {
              const isCurrent = last.get(move.alias) === move.moved_at;
              return (
                <tr key={`${move.alias}${move.moved_at}`}>
                  <td>
                    <Chip tone={isCurrent ? "good" : "neutral"}>{move.alias}</Chip>
                  </td>
                  <td>
                    <span className="row wrap">
                      <Link to={`/models/${name}/${move.version}`}>v{move.version}</Link>
                      {move.rollout && (
                        <Chip tone={isCurrent ? "warn" : "neutral"}>{beside(move.rollout)}</Chip>
                      )}
                    </span>
                  </td>
                  <td className="muted">{move.reason}</td>
                  <td className="muted">{move.actor?.name}</td>
                  <td className="when">{ago(move.moved_at)}</td>
                  <td>
                    {isCurrent &&
                      mayOperate &&
                      all.filter(({ alias }) => alias === move.alias).length > 1 && (
                        <Actions>
                          {move.rollout && (
                            <Button size="s" icon={Rocket} onClick={() => setForward(move)}>
                              Promote v{move.rollout.version}
                            </Button>
                          )}
                          <Button size="s" icon={History} onClick={() => setBack(move)}>
                            Roll back
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
      {back && (
        <Confirm
          title={`Roll ${back.alias} back?`}
          yes="Roll back"
          tone="danger"
          busy={rollback.isPending}
          error={rollback.error}
          onYes={() => rollback.mutate(back)}
          onClose={() => setBack(null)}
        >
          {back.rollout ? (
            <p>
              v{back.rollout.version} gets no more requests: {back.alias} stays v{back.version}, and
              answers all of them within seconds, without a gap.
            </p>
          ) : (
            <p>
              {back.alias} points to the version before this one again. Inference serves that one
              within seconds, without a gap. The move is recorded and can be undone by promoting
              this version again.
            </p>
          )}
        </Confirm>
      )}
      {forward?.rollout && (
        <Promote
          name={name}
          version={forward.rollout.version}
          as={forward.alias}
          onClose={() => setForward(null)}
        />
      )}
    </div>
  );
}

/** What a second version gets: "v3: 10% of requests, copies of 20%". */
function beside({ version, canary, shadow }: Schemas["RolloutOut"]): string {
  const shares = [
    ...(canary ? [`${percent(canary)} of requests`] : []),
    ...(shadow ? [`copies of ${percent(shadow)}`] : []),
  ];
  return `v${version}: ${shares.join(", ") || "nothing yet"}`;
}

export function Promote({
  name,
  version,
  as = "champion",
  onClose,
}: {
  name: string;
  version: number;
  as?: string;
  onClose: () => void;
}) {
  const queries = useQueryClient();
  const [alias, setAlias] = useState(as);
  const [reason, setReason] = useState("");
  const promote = useMutation({
    mutationFn: () => send<Move>("POST", `/api/models/${name}/promote`, { alias, version, reason }),
    onSuccess: () => {
      tell(`${alias} is ${name} v${version}`);
      void queries.invalidateQueries({ queryKey: ["models"] });
      onClose();
    },
  });
  return (
    <Confirm
      title={`Promote ${name} v${version}`}
      yes="Promote"
      busy={promote.isPending}
      error={promote.error}
      onYes={() => promote.mutate()}
      onClose={onClose}
    >
      <p className="muted">
        The alias points to this version from now on: inference loads it and serves it, and flows
        that follow the alias apply it.
      </p>
      <Field label="Alias" value={alias} onChange={(event) => setAlias(event.target.value)} />
      <Field
        label="Why"
        placeholder="For whoever asks later"
        value={reason}
        onChange={(event) => setReason(event.target.value)}
      />
    </Confirm>
  );
}
