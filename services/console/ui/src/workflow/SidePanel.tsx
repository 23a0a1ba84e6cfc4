// Everything about one node, and what can be done with it.

import { useQuery } from "@tanstack/react-query";
import { Download, ExternalLink, X } from "lucide-react";
import { useState } from "react";
import { Link, useNavigate } from "react-router";
import { get, type Schemas, send, thumbnailUrl } from "../api/client";
import { useMay } from "../app/session";
import { tell } from "../app/toasts";
import { followAgain } from "../live/again";
import { Button, Chip, IconButton, Progress } from "../ui/controls";
import { Bars, Digest, Facts, Tree } from "../ui/data";
import { Confirm } from "../ui/dialog";
import { asker, bytes, duration, figure, metric, moment, number, title, words } from "../ui/format";
import { Failure, Loading } from "../ui/states";
import { State } from "./Card";
import type { Way } from "./graph";
import { kindOf, lookOf } from "./kinds";

type Detail = Schemas["NodeDetailOut"];
type Action = Schemas["ActionOut"];
type Node = Schemas["NodeOut"];

const NEAR_SHOWN = 8;
const BIG_FIGURES = 3;
/** What follows from an action that was taken up. */
const FOLLOWS: Record<string, string> = {
  restore: "A new version has these items",
  promote: "It is the champion from now on",
  stop: "The run is asked to stop",
  rerun: "It is asked for once more",
  reproduce: "It is trained anew from its record; the run says whether the same came out",
};

export function SidePanel({
  id,
  onGo,
  onClose,
  onFocus,
}: {
  id: string;
  onGo: (id: string) => void;
  onClose: () => void;
  onFocus: (way: Way) => void;
}) {
  const detail = useQuery({
    queryKey: ["workflow", "node", id],
    queryFn: () => get<Detail>(`/api/workflow/nodes/${encodeURIComponent(id)}`),
  });
  return (
    <aside className="side" aria-label="About the selected node">
      {detail.data ? (
        <About node={detail.data} onGo={onGo} onClose={onClose} onFocus={onFocus} />
      ) : (
        <>
          <div className="side-head">
            <div className="top">
              <span>{id.split(":")[0]}</span>
              <IconButton size="s" icon={X} label="Close" onClick={onClose} />
            </div>
          </div>
          {detail.isError ? (
            <Failure what="This node cannot be shown" error={detail.error} />
          ) : (
            <Loading what="Reading…" />
          )}
        </>
      )}
    </aside>
  );
}

function About({
  node,
  onGo,
  onClose,
  onFocus,
}: {
  node: Detail;
  onGo: (id: string) => void;
  onClose: () => void;
  onFocus: (way: Way) => void;
}) {
  const kind = kindOf(node.kind);
  const look = lookOf(kind);
  const Icon = look.icon;
  const near = new Map(node.neighbours.map((one) => [one.id, one]));
  const histogram = Object.entries(node.histogram);
  const figures = Object.entries(node.all_figures).filter(([name]) => !name.includes(":"));
  const first = node.figures.slice(0, BIG_FIGURES);
  const rest = figures.filter(([name]) => !first.some((one) => one.name === name));
  return (
    <>
      <div className={`side-head of-${look.colour}`}>
        <div className="top">
          <Icon size={15} aria-hidden /> {look.word}
          {node.state && <State state={node.state} />}
          {node.aliases.map(({ alias }) => (
            <Chip key={alias} tone="good">
              {alias}
            </Chip>
          ))}
          <IconButton size="s" icon={X} label="Close" keys="Esc" onClick={onClose} />
        </div>
        <h2>
          {kind === "run" ? title(node.run_kind || node.name) : node.name}
          {node.version > 0 && kind !== "run" && <span>v{node.version}</span>}
        </h2>
        {node.progress !== null && <Progress value={node.progress} label="Progress" />}
        <Actions node={node} />
      </div>
      <div className="side-body">
        {(node.summary || first.length > 0) && (
          <section>
            {node.summary && <p className="muted">{node.summary}</p>}
            {first.length > 0 && (
              <div className="big-figures">
                {first.map(({ name, value, label }) => (
                  <div key={name} className="big-figure">
                    <strong>{metric(name, value)}</strong>
                    <span title={label}>{label}</span>
                  </div>
                ))}
              </div>
            )}
          </section>
        )}
        {node.thumbnails.length > 0 && (
          <section>
            <div className="thumb-grid">
              {node.thumbnails.slice(0, 12).map((asset) => (
                <img key={asset} src={thumbnailUrl(asset, 128)} alt="" loading="lazy" />
              ))}
            </div>
          </section>
        )}
        {histogram.length > 0 && (
          <section>
            <h3>Classes</h3>
            <Bars rows={histogram} say={number} />
          </section>
        )}
        <Neighbours
          heading="Came from"
          onOnly={() => onFocus("upstream")}
          ids={node.inputs.map((edge) => [edge.source, edge.role])}
          near={near}
          onGo={onGo}
        />
        <Neighbours
          heading="Became"
          onOnly={() => onFocus("downstream")}
          ids={node.outputs.map((edge) => [edge.target, edge.role])}
          near={near}
          onGo={onGo}
        />
        {node.run && <Run run={node.run} />}
        {rest.length > 0 && (
          <section>
            <h3>Figures</h3>
            <Facts rows={rest.map(([name, value]) => [figure(name), metric(name, value)])} />
          </section>
        )}
        <Downloads files={node.downloads} />
        {Object.keys(node.details).length > 0 && (
          <section>
            <details>
              <summary>Details</summary>
              <Tree value={node.details} />
            </details>
          </section>
        )}
        <section>
          <Facts
            rows={[
              ["When", moment(node.at)],
              ["By", node.actor?.name ?? ""],
              ["Worker", node.worker ? `${node.worker.service} on ${node.worker.host}` : ""],
              ["Node", <Digest key="node" value={node.id} />],
            ]}
          />
        </section>
      </div>
    </>
  );
}

function Actions({ node }: { node: Detail }) {
  const go = useNavigate();
  const [asking, setAsking] = useState<Action | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const act = async (action: Action): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      const answer = await send<{ command_id?: string }>(action.method, action.path, action.body);
      setAsking(null);
      tell(FOLLOWS[action.name] ?? `${action.label}: asked for`);
      if (action.name === "rerun" && node.run) void followAgain(answer.command_id, node.run);
    } catch (failure) {
      setError(failure);
      if (!action.confirm)
        tell(failure instanceof Error ? failure.message : String(failure), "bad");
    } finally {
      setBusy(false);
    }
  };
  const begin = (action: Action): void => {
    if (action.method === "GET") void go(action.path);
    else if (action.confirm) setAsking(action);
    else void act(action);
  };
  return (
    <div className="side-actions">
      {node.actions.map((action) => (
        <Button
          key={action.name}
          size="s"
          tone={action.name === "open" ? "primary" : action.name === "stop" ? "danger" : "plain"}
          disabled={busy}
          onClick={() => begin(action)}
        >
          {action.label}
        </Button>
      ))}
      {asking && (
        <Confirm
          title={asking.label}
          yes={asking.label}
          tone={asking.name === "stop" ? "danger" : "primary"}
          busy={busy}
          error={error}
          onYes={() => void act(asking)}
          onClose={() => setAsking(null)}
        >
          <p>{asking.confirm}</p>
        </Confirm>
      )}
    </div>
  );
}

function Neighbours({
  heading,
  ids,
  near,
  onGo,
  onOnly,
}: {
  heading: string;
  ids: [id: string, role: string][];
  near: Map<string, Node>;
  onGo: (id: string) => void;
  onOnly: () => void;
}) {
  const [all, setAll] = useState(false);
  if (!ids.length) return null;
  const shown = all ? ids : ids.slice(0, NEAR_SHOWN);
  return (
    <section>
      <div className="section-head">
        <h3>{heading}</h3>
        <Button size="s" tone="quiet" onClick={onOnly}>
          Show only these
        </Button>
      </div>
      <ul className="links">
        {shown.map(([id, role]) => {
          const one = near.get(id);
          const look = lookOf(kindOf(one?.kind ?? id.split(":")[0]!));
          const Icon = look.icon;
          return (
            <li key={id}>
              <button type="button" className={`link of-${look.colour}`} onClick={() => onGo(id)}>
                <Icon size={14} aria-hidden />
                <span className="what">{one?.label || one?.name || id}</span>
                <span className="role">{words(role)}</span>
              </button>
            </li>
          );
        })}
      </ul>
      {ids.length > shown.length && (
        <Button size="s" tone="quiet" onClick={() => setAll(true)}>
          {number(ids.length - shown.length)} more
        </Button>
      )}
    </section>
  );
}

export function Run({ run }: { run: Schemas["RunOut"] }) {
  const parameters = Object.keys(run.parameters).length > 0;
  const mayReadLog = useMay("operate");
  return (
    <section>
      <h3>Run</h3>
      {run.message && run.state === "failed" && <p className="refusal">{run.message}</p>}
      <Facts
        rows={[
          ["Step", words(run.kind)],
          ["State", words(run.state)],
          ["Asked by", run.actor ? asker(run.actor) : ""],
          ["Done by", run.worker ? `${run.worker.service} on ${run.worker.host}` : ""],
          ["Began", moment(run.started_at)],
          ["Took", run.duration_s === null ? "" : duration(run.duration_s)],
          ["Run", <Digest key="run" value={run.id} />],
          ["Trace", run.trace_id ? <Digest key="trace" value={run.trace_id} /> : ""],
        ]}
      />
      <div className="row wrap">
        {run.log_url && mayReadLog && (
          <Link className="button s" to={`/live?run=${encodeURIComponent(run.id)}`}>
            Log
          </Link>
        )}
        {run.trace_url && (
          <a className="button s" href={run.trace_url} target="_blank" rel="noreferrer">
            <ExternalLink size={14} aria-hidden /> Trace
          </a>
        )}
      </div>
      {parameters && (
        <details open>
          <summary>Parameters</summary>
          <Tree value={run.parameters} />
        </details>
      )}
      {Object.keys(run.environment).length > 0 && (
        <details>
          <summary>Environment</summary>
          <Tree value={run.environment} />
        </details>
      )}
    </section>
  );
}

function Downloads({ files }: { files: readonly Schemas["DownloadOut"][] }) {
  if (!files.length) return null;
  return (
    <section>
      <h3>Downloads</h3>
      <ul className="links">
        {files.map(({ name, url, size_bytes }) => (
          <li key={url}>
            <a className="link" href={url} download>
              <Download size={14} aria-hidden />
              <span className="what">{name}</span>
              <span className="role">{size_bytes ? bytes(size_bytes) : ""}</span>
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}
