// Runs, the latest first; one of them open with its curves, figures and log.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Ban, Play, RotateCcw, TestTubeDiagonal } from "lucide-react";
import { useCallback, useMemo, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { get, type Schemas, send } from "../api/client";
import { type Happening, useHappenings } from "../api/live";
import { useMay } from "../app/session";
import { tell } from "../app/toasts";
import { Button, Progress, Select } from "../ui/controls";
import { Facts, Tree } from "../ui/data";
import { Confirm } from "../ui/dialog";
import {
  ago,
  asker,
  duration,
  figure,
  isShare,
  metric,
  moment,
  number,
  title,
  words,
} from "../ui/format";
import { type Line, Plot } from "../ui/Plot";
import { Empty, Failure, Loading, Refusal } from "../ui/states";
import { State } from "../workflow/Card";
import { followAgain } from "./again";

type Run = Schemas["RunOut"];
const KINDS = ["import", "train", "evaluate", "predict", "route", "annotate", "restore"];
const STATES = ["queued", "running", "completed", "failed", "cancelled"];
const CURVES = [
  "--accent",
  "--good",
  "--warn",
  "--kind-model",
  "--kind-predictions",
  "--kind-flow",
];

export function Runs() {
  const [address, setAddress] = useSearchParams();
  const kinds = address.get("kind") ?? "";
  const state = address.get("state") ?? "";
  const runs = useQuery({
    queryKey: ["runs", kinds, state],
    queryFn: () => get<Schemas["RunsOut"]>("/api/runs", { kinds, state, limit: 100 }),
    refetchInterval: 10_000,
  });
  const [live, setLive] = useState<ReadonlyMap<string, Run>>(new Map());
  useHappenings(
    useCallback((event: Happening) => {
      const { run } = event;
      if (run) setLive((known) => new Map(known).set(run.id, run));
    }, []),
  );
  const all = (runs.data?.runs ?? []).map((run) => newer(run, live.get(run.id)));
  const chosen = address.get("run") ?? all[0]?.id ?? "";
  const set = (name: string, value: string): void => {
    const next = new URLSearchParams(address);
    if (value) next.set(name, value);
    else next.delete(name);
    setAddress(next, { replace: true });
  };
  if (runs.isError)
    return (
      <Failure
        what="The runs cannot be shown"
        error={runs.error}
        retry={() => void runs.refetch()}
      />
    );
  return (
    <div className="live">
      <div className="live-list">
        <div className="row live-filters">
          <Select
            bare
            label="Kind"
            value={kinds}
            options={[{ value: "", label: "Every kind" }, ...KINDS]}
            onChange={(value) => set("kind", value)}
          />
          <Select
            bare
            label="State"
            value={state}
            options={[{ value: "", label: "Every state" }, ...STATES]}
            onChange={(value) => set("state", value)}
          />
        </div>
        {runs.isPending && <Loading what="Reading the runs…" />}
        {runs.isSuccess && all.length === 0 && (
          <Empty icon={Play} title={kinds || state ? "No run is like that" : "Nothing has run yet"}>
            {kinds || state
              ? "Choose another kind or state above."
              : "Imports, trainings, predictions and the like appear here as they begin."}
          </Empty>
        )}
        <ul aria-label="Runs">
          {all.map((run) => (
            <li key={run.id}>
              <button
                type="button"
                className="run-row"
                aria-pressed={run.id === chosen}
                onClick={() => set("run", run.id)}
              >
                <span className="row between">
                  <strong>{run.title || title(run.kind)}</strong>
                  <State state={run.state} />
                </span>
                {run.state === "running" && run.progress !== null && (
                  <Progress value={run.progress} label={`Progress of ${run.title}`} />
                )}
                <span className="row between faint">
                  <span>{said(run)}</span>
                  <span>{ago(run.at)}</span>
                </span>
              </button>
            </li>
          ))}
        </ul>
      </div>
      <div className="live-detail">
        {chosen && (
          <RunDetail key={chosen} id={chosen} known={all.find(({ id }) => id === chosen)} />
        )}
      </div>
    </div>
  );
}

const newer = (known: Run, said: Run | undefined): Run =>
  said && said.at > known.at ? { ...known, ...said } : known;

function said(run: Run): string {
  const { training } = run;
  if (run.state === "running" && training && training.epochs > 0) {
    return `epoch ${training.epoch} of ${training.epochs}${training.eta_s > 0 ? `, ${duration(training.eta_s)} left` : ""}`;
  }
  if (run.state === "running" && run.total > 0)
    return `${number(run.done)} of ${number(run.total)} ${run.unit}`;
  return run.duration_s === null
    ? words(run.kind)
    : `${words(run.kind)}, ${duration(run.duration_s)}`;
}

function RunDetail({ id, known }: { id: string; known: Run | undefined }) {
  const found = useQuery({
    queryKey: ["runs", "one", id],
    queryFn: () => get<Run>(`/api/runs/${encodeURIComponent(id)}`),
  });
  const mayReadLog = useMay("operate");
  const run = found.data && known ? newer(found.data, known) : (found.data ?? known);
  if (!run) {
    return found.isError ? (
      <Failure what="This run cannot be shown" error={found.error} />
    ) : (
      <Loading what="Reading the run…" />
    );
  }
  const figures = Object.entries(run.figures).filter(([name]) => !name.includes(":"));
  return (
    <div className="stack">
      <header className="row between wrap">
        <div className="row">
          <h2>{run.title || title(run.kind)}</h2>
          <State state={run.state} />
        </div>
        <RunActions run={run} />
      </header>
      {run.message && <p className={run.state === "failed" ? "refusal" : "muted"}>{run.message}</p>}
      {run.state === "running" && (
        <div className="stack" style={{ gap: 6 }}>
          {run.progress !== null && <Progress value={run.progress} label="Progress" />}
          <span className="muted num">{said(run)}</span>
        </div>
      )}
      <RunCurves id={id} isRunning={run.state === "running"} />
      <div className="run-facts">
        <Facts
          rows={[
            ["Kind", words(run.kind)],
            ["Asked by", run.actor ? asker(run.actor) : ""],
            ["Worker", run.worker ? `${run.worker.service} on ${run.worker.host}` : ""],
            ["Began", moment(run.started_at)],
            ["Took", run.duration_s === null ? "" : duration(run.duration_s)],
            [
              "Made",
              run.artefact?.node ? (
                <Link key="made" to={`/workflow?node=${encodeURIComponent(run.artefact.node)}`}>
                  {run.artefact.label}
                </Link>
              ) : (
                ""
              ),
            ],
            ["From", run.inputs.map(({ label }) => label).join(", ")],
          ]}
        />
        {figures.length > 0 && (
          <Facts rows={figures.map(([name, value]) => [figure(name), metric(name, value)])} />
        )}
      </div>
      {Object.keys(run.parameters).length > 0 && (
        <details>
          <summary className="muted">Parameters</summary>
          <Tree value={run.parameters} />
        </details>
      )}
      {run.log_url && mayReadLog && <Log id={id} />}
    </div>
  );
}

/** Every figure a run reported, in a plot of its own scale: losses together, metrics together. */
function RunCurves({ id, isRunning }: { id: string; isRunning: boolean }) {
  const progress = useQuery({
    queryKey: ["runs", "progress", id],
    queryFn: () => get<Schemas["ProgressOut"]>(`/api/runs/${encodeURIComponent(id)}/progress`),
    refetchInterval: isRunning ? 2_000 : false,
  });
  const groups = useMemo(() => {
    const points = progress.data?.points ?? [];
    // Sorted, so that each keeps its colour: maps arrive in any order.
    const names = [...new Set(points.flatMap(({ figures }) => Object.keys(figures)))]
      .filter((name) => !name.includes(":"))
      .sort();
    const lines = (wanted: (name: string) => boolean): Line[] =>
      names.filter(wanted).map((name, index) => {
        const own = points.filter(({ figures }) => figures[name] !== undefined);
        return {
          name: figure(name),
          x: own.map((point, at) => point.step || point.done || at),
          y: own.map(({ figures }) => figures[name]!),
          colour: CURVES[index % CURVES.length]!,
        };
      });
    const isLoss = (name: string): boolean => name.includes("loss");
    const isRate = (name: string): boolean => /(_per_s|_s|rate)$/.test(name);
    return [
      { label: "loss", lines: lines(isLoss) },
      { label: "metrics", lines: lines(isShare) },
      { label: "others", lines: lines((name) => !isLoss(name) && !isRate(name) && !isShare(name)) },
    ].filter((group) => group.lines.some((line) => line.x.length > 1));
  }, [progress.data]);
  if (!groups.length) return null;
  return (
    <div className="curves">
      {groups.map((group) => (
        <section key={group.label} className="panel">
          <div className="panel-body">
            <Plot lines={group.lines} xLabel="step" yLabel={group.label} height={200} />
          </div>
        </section>
      ))}
    </div>
  );
}

const SAID = {
  cancel: "The run is asked to stop",
  rerun: "It is asked for once more",
  reproduce: "It is trained anew from its record; the run says whether the same came out",
};

function RunActions({ run }: { run: Run }) {
  const queries = useQueryClient();
  const [asking, setAsking] = useState(false);
  const act = useMutation({
    mutationFn: (what: keyof typeof SAID) =>
      send<{ command_id?: string }>(
        "POST",
        `/api/runs/${encodeURIComponent(run.id)}/${what}`,
        what === "cancel" ? {} : undefined,
      ),
    onSuccess: (answer, what) => {
      tell(SAID[what]);
      if (what === "rerun") void followAgain(answer.command_id, run);
      setAsking(false);
      void queries.invalidateQueries({ queryKey: ["runs"] });
    },
    onError: (error, what) => {
      if (what !== "cancel") tell(error.message, "bad");
    },
  });
  return (
    <div className="row">
      {run.can_cancel && (
        <Button size="s" tone="danger" icon={Ban} onClick={() => setAsking(true)}>
          Stop
        </Button>
      )}
      {run.can_rerun && (
        <Button
          size="s"
          icon={RotateCcw}
          disabled={act.isPending}
          onClick={() => act.mutate("rerun")}
        >
          Run again
        </Button>
      )}
      {run.can_reproduce && (
        <Button
          size="s"
          icon={TestTubeDiagonal}
          disabled={act.isPending}
          onClick={() => act.mutate("reproduce")}
        >
          Reproduce
        </Button>
      )}
      {asking && (
        <Confirm
          title="Stop this run?"
          yes="Stop it"
          tone="danger"
          busy={act.isPending}
          error={act.error}
          onYes={() => act.mutate("cancel")}
          onClose={() => setAsking(false)}
        >
          <p>
            Whoever does it stops at the next step. What it has stored so far stays, and nothing is
            committed.
          </p>
        </Confirm>
      )}
    </div>
  );
}

function Log({ id }: { id: string }) {
  const log = useQuery({
    queryKey: ["runs", "log", id],
    queryFn: () =>
      get<Schemas["LogOut"]>(`/api/runs/${encodeURIComponent(id)}/log`, { limit: 200 }),
  });
  if (log.isError) return <Refusal error={log.error} />;
  if (!log.data) return null;
  if (!log.data.lines.length) return <p className="faint">No line of the log names this run.</p>;
  return (
    <details>
      <summary className="muted">Log ({log.data.lines.length})</summary>
      <ol className="log-lines">
        {log.data.lines.map((line, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: lines have no id and never move
          <li key={index} className={line.level}>
            <time>{moment(line.at)}</time> <b>{line.service}</b> {line.event}{" "}
            <span className="faint">{JSON.stringify(line.fields)}</span>
          </li>
        ))}
      </ol>
    </details>
  );
}
