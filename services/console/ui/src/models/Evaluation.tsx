// One evaluation: its figures, what was taken for what, curves, calibration, the worst images.

import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { Link } from "react-router";
import { get, type Schemas } from "../api/client";
import { ItemCard, ItemViewer, Picture } from "../items/ItemCard";
import { colours } from "../label/colours";
import { Dialog } from "../ui/dialog";
import { metric, number, percent, plural, title, words } from "../ui/format";
import { wholeImage } from "../ui/Overlay";
import { Failure, Loading } from "../ui/states";
import { Confusion } from "./Confusion";
import { Calibration, Curves } from "./Curves";
import type { Version } from "./ModelPage";

type Summary = Schemas["EvaluationOut"];
type Report = Schemas["Report"];
type ColourOf = (name: string) => string;

const MAIN = ["f1", "ap", "iou"];

export function Evaluation({
  name,
  version,
  evaluation,
}: {
  name: string;
  version: Version;
  evaluation: Summary;
}) {
  const base = `/api/models/${name}/versions/${version.version}/evaluations/${evaluation.id}`;
  const found = useQuery({
    queryKey: ["models", name, "evaluation", version.version, evaluation.id],
    queryFn: () => get<Schemas["ReportOut"]>(base),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const colourOf = useMemo(() => colours(version.classes), [version.classes]);
  const [cell, setCell] = useState<[truth: string, predicted: string] | null>(null);
  if (found.isError) return <Failure what="This evaluation cannot be shown" error={found.error} />;
  if (!found.data) return <Loading what="Reading the evaluation…" />;
  const { report } = found.data;
  return (
    <>
      <Headline report={report} evaluation={evaluation} />
      {report.notes?.map((note) => (
        <p key={note} className="muted">
          {note}
        </p>
      ))}
      <div className="columns">
        {report.confusion && (
          <section className="panel">
            <header>
              <h2>What was taken for what</h2>
              <span className="faint">
                {report.confusion.unit !== "images" && `counted in ${report.confusion.unit}; `}
                click a cell for its images
              </span>
            </header>
            <div className="panel-body">
              <Confusion confusion={report.confusion} onOpen={(...chosen) => setCell(chosen)} />
            </div>
          </section>
        )}
        <PerClass report={report} />
        <Curves report={report} colourOf={colourOf} />
        {report.calibration && <Calibration calibration={report.calibration} />}
        {(report.errors?.length ?? 0) > 0 && <Errors report={report} />}
      </div>
      {(report.worst?.length ?? 0) > 0 && <Worst report={report} colourOf={colourOf} />}
      {(report.slices?.length ?? 0) > 0 && <Slices report={report} />}
      {cell && (
        <Cell
          base={base}
          truth={cell[0]}
          predicted={cell[1]}
          dataset={evaluation.dataset}
          split={evaluation.split}
          colourOf={colourOf}
          onClose={() => setCell(null)}
        />
      )}
    </>
  );
}

function Headline({ report, evaluation }: { report: Report; evaluation: Summary }) {
  return (
    <div className="headline">
      {report.headline.map((name, index) => (
        <div key={name} className={index === 0 ? "figure main" : "figure"}>
          <strong>
            {report.metrics[name] === undefined ? "" : metric(name, report.metrics[name])}
          </strong>
          <span>{words(name)}</span>
        </div>
      ))}
      {report.speed && (
        <div className="figure">
          <strong>{report.speed.p50_ms.toFixed(1)} ms</strong>
          <span>median on {words(report.speed.device)}</span>
        </div>
      )}
      <div className="figure">
        <strong>{number(report.count)}</strong>
        <span>
          images of {evaluation.dataset?.label || report.dataset} {evaluation.split}
        </span>
      </div>
    </div>
  );
}

function PerClass({ report }: { report: Report }) {
  const names = Object.keys(report.per_class[0]?.metrics ?? {}).slice(0, 5);
  const [by, setBy] = useState(MAIN.find((name) => names.includes(name)) ?? names.at(-1) ?? "");
  const rows = report.per_class.toSorted((a, b) => (a.metrics[by] ?? 0) - (b.metrics[by] ?? 0));
  return (
    <section className="panel">
      <header>
        <h2>By class</h2>
        <span className="faint">the weakest first</span>
      </header>
      <div className="scroll">
        <table className="table">
          <thead>
            <tr>
              <th>Class</th>
              <th className="right">Count</th>
              {names.map((name) => (
                <th key={name} className="right" aria-sort={by === name ? "ascending" : "none"}>
                  <button type="button" className="sort" onClick={() => setBy(name)}>
                    {title(name)}
                    {by === name && " ↑"}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map(({ class_name, count, metrics }) => (
              <tr key={class_name}>
                <td>{class_name}</td>
                <td className="right muted">{number(count)}</td>
                {names.map((name) => (
                  <td key={name} className="right">
                    {metrics[name] === undefined ? "" : metric(name, metrics[name])}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Errors({ report }: { report: Report }) {
  return (
    <section className="panel">
      <header>
        <h2>Kinds of errors</h2>
        <span className="faint">what AP50 would gain without them</span>
      </header>
      <table className="table">
        <tbody>
          {report.errors?.map(({ kind, count, cost }) => (
            <tr key={kind}>
              <td>{words(kind)}</td>
              <td className="right">{number(count)}</td>
              <td className="right">+{percent(cost)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Worst({ report, colourOf }: { report: Report; colourOf: ColourOf }) {
  return (
    <section className="stack" style={{ gap: 12 }}>
      <h2>The worst images</h2>
      <div className="items">
        {report.worst?.map((view) => {
          const truth = wholeImage(view.truth ?? []);
          const said = wholeImage(view.predicted ?? []);
          const shapes = [...(view.truth ?? []), ...(view.predicted ?? [])];
          return (
            <div key={view.asset} className="item" title={view.reason}>
              <div className="item-picture">
                <Picture
                  item={{
                    asset: view.asset,
                    width_px: view.width_px,
                    height_px: view.height_px,
                    shapes: [],
                  }}
                  shapes={shapes}
                  colourOf={colourOf}
                  markOf={(shape) => {
                    const { verdict } = shape as { verdict?: string };
                    return verdict === "wrong" || verdict === "missed"
                      ? "removed"
                      : verdict === "right"
                        ? "added"
                        : "";
                  }}
                />
              </div>
              <div className="item-foot">
                {truth ? (
                  <span className="what">
                    {truth} <span className="wrong">≠ {said}</span>
                  </span>
                ) : (
                  <span className="what">{view.reason}</span>
                )}
              </div>
            </div>
          );
        })}
      </div>
    </section>
  );
}

function Slices({ report }: { report: Report }) {
  return (
    <section className="panel">
      <header>
        <h2>By kind of image</h2>
      </header>
      <table className="table">
        <thead>
          <tr>
            <th>Slice</th>
            <th className="right">Images</th>
            {report.headline.map((name) => (
              <th key={name} className="right">
                {title(name)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {report.slices?.map(({ by, value, count, metrics }) => (
            <tr key={`${by}${value}`}>
              <td>
                <span className="faint">{by}</span> {value}
              </td>
              <td className="right">{number(count)}</td>
              {report.headline.map((name) => (
                <td key={name} className="right">
                  {metrics[name] === undefined ? "" : metric(name, metrics[name])}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Cell({
  base,
  truth,
  predicted,
  dataset,
  split,
  colourOf,
  onClose,
}: {
  base: string;
  truth: string;
  predicted: string;
  dataset: Summary["dataset"];
  split: string;
  colourOf: ColourOf;
  onClose: () => void;
}) {
  const [open, setOpen] = useState<number | null>(null);
  const cell = useQuery({
    queryKey: ["models", "cell", base, truth, predicted],
    queryFn: () => get<Schemas["CellOut"]>(`${base}/cell`, { truth, predicted, limit: 60 }),
  });
  const items = cell.data?.items ?? [];
  return (
    <Dialog
      wide
      title={
        truth === predicted ? `${truth}, taken for what it is` : `${truth}, taken for ${predicted}`
      }
      onClose={onClose}
    >
      {cell.isPending && <Loading what="Looking for the images…" />}
      {cell.isError && <Failure what="The images cannot be shown" error={cell.error} />}
      {cell.data && (
        <>
          <p className="muted">
            {cell.data.is_whole
              ? `${plural(cell.data.total, "image")} in this cell, the worst first.`
              : `The report keeps the worst images of all, ${number(cell.data.total)} of them here.`}{" "}
            {dataset && (
              <Link
                to={`/datasets/${dataset.name}/${dataset.version}?split=${split}&class_name=${truth}`}
              >
                Every {truth} of the {split} split
              </Link>
            )}
          </p>
          <div className="items scroll tall">
            {items.map((item, index) => (
              <ItemCard
                key={item.asset}
                item={item}
                colourOf={colourOf}
                onOpen={() => setOpen(index)}
              />
            ))}
          </div>
        </>
      )}
      {open !== null && items[open] && (
        <ItemViewer
          item={items[open]}
          colourOf={colourOf}
          onClose={() => setOpen(null)}
          onMove={(by) => setOpen(Math.min(items.length - 1, Math.max(0, open + by)))}
        />
      )}
    </Dialog>
  );
}
