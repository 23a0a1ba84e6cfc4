// One model: its versions compared, one version's evaluation, its deployments.

import "../styles/items.css";
import "../styles/models.css";
import { useQuery } from "@tanstack/react-query";
import { Download, Rocket, Ruler } from "lucide-react";
import { useState } from "react";
import { Link, useParams, useSearchParams } from "react-router";
import { get, type Schemas } from "../api/client";
import { useMay } from "../app/session";
import { Actions, ActionsHead } from "../ui/actions";
import { Button, Chip, Select } from "../ui/controls";
import { Facts, Tree } from "../ui/data";
import { ago, bytes, duration, metric, title, words } from "../ui/format";
import { Empty, Failure, Loading } from "../ui/states";
import { tabOf } from "../ui/tabs";
import { Compare } from "./Compare";
import { Deployments, Promote } from "./Deployments";
import { Evaluation } from "./Evaluation";
import { Measure } from "./Measure";

export type Version = Schemas["ModelVersionOut"];
const TABS = [
  { id: "versions", label: "Versions" },
  { id: "evaluation", label: "Evaluation" },
  { id: "compare", label: "Compare" },
  { id: "aliases", label: "Deployments" },
] as const;
const FIGURES_MAX = 4;

export default function ModelPage() {
  const { name = "" } = useParams();
  const versions = useQuery({
    queryKey: ["models", name, "versions"],
    queryFn: () => get<Schemas["ModelVersionsOut"]>(`/api/models/${name}/versions`),
  });
  if (versions.isPending) return <Loading what="Reading the model…" />;
  if (!versions.data) {
    return (
      <Failure
        what={`The model ${name} cannot be shown`}
        error={versions.error}
        retry={() => void versions.refetch()}
      />
    );
  }
  return <Model name={name} versions={versions.data.versions} />;
}

function Model({ name, versions }: { name: string; versions: readonly Version[] }) {
  const { version: asked } = useParams();
  const [address] = useSearchParams();
  const version = versions.find((one) => String(one.version) === asked) ?? versions[0]!;
  const tab = tabOf(address, TABS, asked ? "evaluation" : "versions");
  const [moving, setMoving] = useState<Version | null>(null);
  const mayOperate = useMay("operate");
  return (
    <>
      <header className="page-head">
        <nav className="crumbs" aria-label="Where you are">
          <Link to="/models">Models</Link>
          <span className="sep">/</span>
          <h1>{name}</h1>
        </nav>
        {asked && <span className="muted">v{version.version}</span>}
        {version.aliases.map(({ alias }) => (
          <Chip key={alias} tone="good">
            {alias}
          </Chip>
        ))}
        <span className="grow" />
        <Link className="button" to={`/workflow?node=${encodeURIComponent(version.node)}`}>
          In the workflow
        </Link>
        {mayOperate && (
          <Button
            tone={version.aliases.length ? "plain" : "primary"}
            icon={Rocket}
            onClick={() => setMoving(version)}
          >
            Promote v{version.version}
          </Button>
        )}
      </header>
      <nav className="tabs" aria-label="Views of the model">
        {TABS.filter(({ id }) => id !== "compare" || versions.length > 1).map(({ id, label }) => (
          <Link
            key={id}
            to={`/models/${name}${asked || id === "evaluation" ? `/${version.version}` : ""}?tab=${id}`}
            aria-current={tab === id ? "page" : undefined}
          >
            {label}
          </Link>
        ))}
      </nav>
      {tab === "versions" && (
        <Versions versions={versions} onMove={mayOperate ? setMoving : null} />
      )}
      {tab === "evaluation" && <OneVersion version={version} versions={versions} />}
      {tab === "compare" && <Compare name={name} versions={versions} />}
      {tab === "aliases" && <Deployments name={name} />}
      {moving && <Promote name={name} version={moving.version} onClose={() => setMoving(null)} />}
    </>
  );
}

/** The figures worth a column: of those that most versions have, the main one first. */
function columns(versions: readonly Version[]): string[] {
  const main = versions[0]?.main_metric;
  const names = Object.keys(versions[0]?.metrics ?? {}).filter(
    (one) => !one.includes(":") && one !== main,
  );
  return [...(main ? [main] : []), ...names].slice(0, FIGURES_MAX);
}

function Versions({
  versions,
  onMove,
}: {
  versions: readonly Version[];
  onMove: ((version: Version) => void) | null;
}) {
  const figures = columns(versions);
  const best = Math.max(...versions.map((one) => one.main_value ?? Number.NEGATIVE_INFINITY));
  return (
    <div className="page-body">
      <div className="panel">
        <table className="table">
          <thead>
            <tr>
              <th>Version</th>
              {figures.map((figure) => (
                <th key={figure} className="right">
                  {title(figure)}
                </th>
              ))}
              <th>Trained on</th>
              <th>Recipe</th>
              <th className="right">Took</th>
              <th className="right">ONNX</th>
              <th>When</th>
              <ActionsHead />
            </tr>
          </thead>
          <tbody>
            {versions.map((version) => (
              <tr key={version.version}>
                <td>
                  <div className="row">
                    <Link to={`/models/${version.name}/${version.version}?tab=evaluation`}>
                      <strong>v{version.version}</strong>
                    </Link>
                    {version.aliases.map(({ alias, reason }) => (
                      <Chip key={alias} tone="good" title={reason}>
                        {alias}
                      </Chip>
                    ))}
                  </div>
                </td>
                {figures.map((figure) => {
                  const value =
                    figure === version.main_metric ? version.main_value : version.metrics[figure];
                  const isBest =
                    figure === version.main_metric && value === best && versions.length > 1;
                  return (
                    <td key={figure} className={isBest ? "right best" : "right"}>
                      {value === undefined || value === null ? "" : metric(figure, value)}
                    </td>
                  );
                })}
                <td>
                  {version.trained_on && (
                    <Link
                      className="nowrap"
                      to={`/datasets/${version.trained_on.name}/${version.trained_on.version}`}
                    >
                      {version.trained_on.name} v{version.trained_on.version}
                    </Link>
                  )}
                </td>
                <td className="muted">{version.recipe}</td>
                <td className="right muted">
                  {version.duration_s === null ? "" : duration(version.duration_s)}
                </td>
                <td className="right muted">
                  {version.size_bytes ? bytes(version.size_bytes) : ""}
                </td>
                <td className="when">{ago(version.committed_at)}</td>
                <td>
                  {onMove && (
                    <Actions>
                      <Button size="s" onClick={() => onMove(version)}>
                        Promote
                      </Button>
                    </Actions>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function OneVersion({ version, versions }: { version: Version; versions: readonly Version[] }) {
  const [address, setAddress] = useSearchParams();
  const chosen = address.get("evaluation");
  const evaluation = version.evaluations.find(({ id }) => id === chosen) ?? version.evaluations[0];
  const mayOperate = useMay("operate");
  const [measuring, setMeasuring] = useState(false);
  const { name } = version;
  return (
    <div className="page-body stack">
      <div className="row wrap" style={{ gap: 12 }}>
        {versions.length > 1 && <VersionLinks version={version} versions={versions} />}
        {version.evaluations.length > 1 && (
          <Select
            bare
            label="Evaluation"
            value={evaluation?.id ?? ""}
            options={version.evaluations.map((one) => ({
              value: one.id,
              label: `${one.dataset?.label || one.dataset?.name || ""} ${one.split}, ${ago(one.evaluated_at)}`,
            }))}
            onChange={(id) => setAddress({ tab: "evaluation", evaluation: id }, { replace: true })}
          />
        )}
        <span className="grow" />
        {evaluation?.page_url && (
          <a className="button" href={evaluation.page_url} target="_blank" rel="noreferrer">
            Report as a page
          </a>
        )}
        {mayOperate && (
          <Button icon={Ruler} onClick={() => setMeasuring(true)}>
            Measure
          </Button>
        )}
      </div>
      {measuring && <Measure version={version} onClose={() => setMeasuring(false)} />}
      {evaluation ? (
        <Evaluation key={evaluation.id} name={name} version={version} evaluation={evaluation} />
      ) : (
        <Empty icon={Ruler} title="This version was not measured">
          Its figures, the confusion of its classes and its worst images appear here once it was.
          {mayOperate && " Measure it on any images that have labels."}
        </Empty>
      )}
      <div className="columns">
        <section className="panel">
          <header>
            <h2>Training</h2>
          </header>
          <div className="panel-body stack">
            <Facts
              rows={[
                ["Recipe", version.recipe],
                ["Task", words(version.task)],
                [
                  "Dataset",
                  version.trained_on
                    ? `${version.trained_on.name} v${version.trained_on.version}`
                    : "",
                ],
                ["Took", version.duration_s === null ? "" : duration(version.duration_s)],
                ["By", version.actor?.name ?? ""],
              ]}
            />
            <Tree value={version.parameters} />
          </div>
        </section>
        <section className="panel">
          <header>
            <h2>Files</h2>
          </header>
          <ul className="panel-body">
            {version.files.map(({ name: file, url, size_bytes }) => (
              <li key={url} className="row between" style={{ minHeight: 32 }}>
                <a href={url} download className="row">
                  <Download size={14} aria-hidden /> {file}
                </a>
                <span className="faint num">{size_bytes ? bytes(size_bytes) : ""}</span>
              </li>
            ))}
          </ul>
        </section>
      </div>
    </div>
  );
}

function VersionLinks({ version, versions }: { version: Version; versions: readonly Version[] }) {
  return (
    <nav className="segmented" aria-label="Versions">
      {versions
        .slice(0, 8)
        .toReversed()
        .map((one) => (
          <Link
            key={one.version}
            to={`/models/${one.name}/${one.version}?tab=evaluation`}
            aria-current={one === version ? "page" : undefined}
          >
            v{one.version}
          </Link>
        ))}
    </nav>
  );
}
