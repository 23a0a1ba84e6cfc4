// Bringing images in: drop files or a folder, or point at a bucket.

import "../styles/items.css";
import "../styles/live.css";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { FolderUp, ImagePlus, Upload } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { Link } from "react-router";
import { get, type Schemas, send } from "../api/client";
import { tell } from "../app/toasts";
import { Drops } from "../datasets/Drops";
import { Button, Field, Progress, Segmented, Select } from "../ui/controls";
import { ago, bytes, number, plural, words } from "../ui/format";
import { Empty, Failure, Loading, Refusal } from "../ui/states";
import { State } from "../workflow/Card";
import { type Chosen, chosenOf, filesOf, labelsIn, type Sent, upload } from "./upload";

type Run = Schemas["RunOut"];

export default function ImportPage() {
  const [way, setWay] = useState<"files" | "bucket">("files");
  const [open, setOpen] = useState<Run | null>(null);
  return (
    <>
      <header className="page-head">
        <h1>Import</h1>
        <span className="grow" />
        <Segmented
          label="From where"
          value={way}
          options={[
            { value: "files", label: "Files" },
            { value: "bucket", label: "Bucket" },
          ]}
          onChange={setWay}
        />
      </header>
      <div className="page-body">
        <div className="import-grid">
          <section className="panel">
            <header>
              <h2>{way === "files" ? "From this computer" : "From a bucket"}</h2>
            </header>
            <div className="panel-body">{way === "files" ? <FromFiles /> : <FromBucket />}</div>
          </section>
          <Imports open={open} onOpen={setOpen} />
        </div>
        {open?.artefact && <LeftOut key={open.id} version={open.artefact} />}
      </div>
    </>
  );
}

/** Comes into view as it is asked for: it stands below the imports. */
function LeftOut({ version }: { version: Schemas["RefOut"] }) {
  const place = useRef<HTMLElement>(null);
  useEffect(() => place.current?.scrollIntoView({ behavior: "smooth", block: "start" }), []);
  return (
    <section ref={place} className="stack" style={{ marginTop: 24 }}>
      <h2>Left out of {version.label}</h2>
      <Drops version={version} />
    </section>
  );
}

function useImport() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (asked: object) => send<Schemas["ImportOut"]>("POST", "/api/imports", asked),
    onSuccess: (made) => {
      tell(`The import into ${made.dataset} begins`);
      void queries.invalidateQueries({ queryKey: ["imports"] });
    },
  });
}

function FromFiles() {
  const [dataset, setDataset] = useState("");
  const [chosen, setChosen] = useState<Chosen[]>([]);
  const [sent, setSent] = useState<Sent | null>(null);
  const [over, setOver] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const stop = useRef<AbortController | null>(null);
  const asked = useImport();
  const size = chosen.reduce((sum, { file }) => sum + file.size, 0);
  const labels = labelsIn(chosen);
  const begin = async (): Promise<void> => {
    setError(null);
    stop.current = new AbortController();
    setSent({ files: 0, bytes: 0, failed: [] });
    try {
      const done = await upload(chosen, setSent, stop.current.signal);
      if (stop.current.signal.aborted) return;
      if (done.sent.files === 0) throw new Error(done.sent.failed[0]?.reason ?? "No file arrived.");
      await asked.mutateAsync({ dataset, upload: done.id, labels_key: labels });
      setChosen([]);
    } catch (failure) {
      setError(failure);
    } finally {
      setSent(null);
    }
  };
  if (sent) {
    return (
      <div className="form">
        <p>
          <strong>{number(sent.files)}</strong> of {plural(chosen.length, "file")} sent,{" "}
          {bytes(sent.bytes)} of {bytes(size)}
        </p>
        <Progress value={sent.bytes / Math.max(1, size)} label="Upload" />
        {sent.failed.length > 0 && (
          <p className="warn-text">
            {plural(sent.failed.length, "file")} could not be sent: {sent.failed.at(-1)?.reason}
          </p>
        )}
        <div>
          <Button onClick={() => stop.current?.abort()}>Stop</Button>
        </div>
      </div>
    );
  }
  return (
    <form
      className="form"
      onSubmit={(event) => {
        event.preventDefault();
        void begin();
      }}
    >
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the buttons inside do the same by keyboard */}
      <div
        className={over ? "drop-zone over" : "drop-zone"}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          void filesOf(event.dataTransfer.items).then(setChosen, setError);
        }}
      >
        <ImagePlus size={28} strokeWidth={1.5} className="muted" aria-hidden />
        {chosen.length ? (
          <p>
            <strong>{plural(chosen.length, "file")}</strong>, {bytes(size)}
            {labels && <span className="muted">, labels from {labels}</span>}
          </p>
        ) : (
          <p>
            <strong>Drop images or a folder here</strong>
            <br />
            <span className="muted">
              JPEG, PNG, WebP, TIFF; labels.csv, or labels.json in COCO's format, is read too
            </span>
          </p>
        )}
        <div className="row">
          <Button icon={Upload} onClick={() => files.current?.click()}>
            Choose files
          </Button>
          <Button icon={FolderUp} onClick={() => folder.current?.click()}>
            Choose a folder
          </Button>
        </div>
        <input
          ref={files}
          type="file"
          multiple
          hidden
          aria-label="Files"
          onChange={(event) => event.target.files && setChosen(chosenOf(event.target.files))}
        />
        <input
          ref={(input) => {
            folder.current = input;
            input?.setAttribute("webkitdirectory", "");
          }}
          type="file"
          multiple
          hidden
          aria-label="Folder"
          onChange={(event) => event.target.files && setChosen(chosenOf(event.target.files))}
        />
      </div>
      <DatasetField value={dataset} onChange={setDataset} />
      <Refusal error={error ?? asked.error} />
      <div>
        <Button
          tone="primary"
          type="submit"
          disabled={!chosen.length || !dataset || asked.isPending}
        >
          Import {chosen.length ? plural(chosen.length, "file") : ""}
        </Button>
      </div>
    </form>
  );
}

function FromBucket() {
  const connections = useQuery({
    queryKey: ["imports", "connections"],
    queryFn: () => get<Schemas["ConnectionsOut"]>("/api/imports/connections"),
  });
  const [form, setForm] = useState({
    dataset: "",
    connection: "",
    bucket: "",
    prefix: "",
    labels_key: "",
    classes: "",
  });
  const asked = useImport();
  const names = connections.data?.connections ?? [];
  const connection = form.connection || names[0] || "";
  const set = (changes: Partial<typeof form>): void => setForm({ ...form, ...changes });
  if (connections.isPending) return <Loading what="Asking for the connections…" />;
  if (connections.isError)
    return (
      <Failure
        what="The connections cannot be shown"
        error={connections.error}
        retry={() => void connections.refetch()}
      />
    );
  if (!names.length) {
    return (
      <Empty title="No connection to a customer's storage">
        An operator names endpoints and keys in the connections file (
        <code>LOOPLINE_CONNECTIONS_FILE</code>); keys never pass through this page.
      </Empty>
    );
  }
  return (
    <form
      className="form"
      onSubmit={(event) => {
        event.preventDefault();
        asked.mutate({
          dataset: form.dataset,
          source: { connection, bucket: form.bucket, prefix: form.prefix },
          labels_key: form.labels_key,
          classes: form.classes
            .split(",")
            .map((one) => one.trim())
            .filter(Boolean),
        });
      }}
    >
      <DatasetField value={form.dataset} onChange={(dataset) => set({ dataset })} />
      <div className="form-row">
        <Select
          label="Connection"
          value={connection}
          options={names}
          onChange={(value) => set({ connection: value })}
        />
        <Field
          label="Bucket"
          required
          value={form.bucket}
          onChange={(event) => set({ bucket: event.target.value })}
        />
      </div>
      <div className="form-row">
        <Field
          label="Prefix"
          placeholder="photos/2026/"
          value={form.prefix}
          onChange={(event) => set({ prefix: event.target.value })}
        />
        <Field
          label="Labels (CSV)"
          placeholder="labels.csv"
          hint="key in the bucket; optional"
          value={form.labels_key}
          onChange={(event) => set({ labels_key: event.target.value })}
        />
      </div>
      <Field
        label="Classes"
        placeholder="coat, shirt, bag"
        hint="in the order that models index them; only for a new dataset"
        value={form.classes}
        onChange={(event) => set({ classes: event.target.value })}
      />
      <Refusal error={asked.error} />
      <div>
        <Button
          tone="primary"
          type="submit"
          disabled={asked.isPending || !form.dataset || !form.bucket}
        >
          Import
        </Button>
      </div>
    </form>
  );
}

function DatasetField({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const datasets = useQuery({
    queryKey: ["datasets"],
    queryFn: () => get<Schemas["DatasetsOut"]>("/api/datasets"),
  });
  return (
    <>
      <Field
        label="Dataset"
        required
        list="datasets"
        placeholder="catalogue"
        hint="an existing one gets its next version; a new name makes a dataset"
        pattern="[a-z0-9][a-z0-9_\-]*"
        value={value}
        onChange={(event) => onChange(event.target.value)}
      />
      <datalist id="datasets">
        {datasets.data?.datasets.map(({ name }) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </>
  );
}

const LEFT_OUT = ["dropped", "rejected"];
const COUNTS = ["items", "added", ...LEFT_OUT];

function Imports({ open, onOpen }: { open: Run | null; onOpen: (run: Run | null) => void }) {
  const imports = useQuery({
    queryKey: ["imports"],
    queryFn: () => get<Schemas["ImportsOut"]>("/api/imports", { limit: 20 }),
    refetchInterval: 2_000,
  });
  const runs = imports.data?.imports ?? [];
  return (
    <section className="panel" aria-label="Imports">
      <header>
        <h2>Imports</h2>
      </header>
      {imports.isError && (
        <Failure
          what="The imports cannot be shown"
          error={imports.error}
          retry={() => void imports.refetch()}
        />
      )}
      {imports.isPending && <Loading what="Reading the imports…" />}
      {imports.isSuccess && runs.length === 0 && (
        <p className="panel-body muted">
          None yet. An import reads, checks and stores images, and makes a dataset's next version.
        </p>
      )}
      <ul>
        {runs.map((run) => {
          const said = COUNTS.filter((name) => run.figures[name] !== undefined).map(
            (name) => `${number(run.figures[name]!)} ${words(name)}`,
          );
          return (
            <li key={run.id} className="run-row" style={{ display: "grid" }}>
              <span className="row between">
                {run.artefact ? (
                  <Link to={`/datasets/${run.artefact.name}/${run.artefact.version}`}>
                    <strong>{run.artefact.label}</strong>
                  </Link>
                ) : (
                  <strong>{run.title}</strong>
                )}
                <State state={run.state} />
              </span>
              {run.state === "running" && (
                <Progress value={run.progress ?? 0} label={`Progress of ${run.title}`} />
              )}
              {run.state === "failed" && <span className="bad-text">{run.message}</span>}
              <span className="row between faint">
                <span>
                  {run.state === "running" && run.total
                    ? `${number(run.done)} of ${number(run.total)} ${run.unit}`
                    : said.join(", ")}
                </span>
                <span>{ago(run.at)}</span>
              </span>
              {run.artefact && LEFT_OUT.some((name) => run.figures[name]) && (
                <span>
                  <Button size="s" onClick={() => onOpen(open?.id === run.id ? null : run)}>
                    {open?.id === run.id ? "Hide what was left out" : "What was left out"}
                  </Button>
                </span>
              )}
            </li>
          );
        })}
      </ul>
    </section>
  );
}
