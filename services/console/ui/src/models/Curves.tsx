// Curves of a report, one plot for each kind, and its calibration.

import { useMemo, useState } from "react";
import type { Schemas } from "../api/client";
import { Segmented } from "../ui/controls";
import { percent } from "../ui/format";
import { type Line, Plot } from "../ui/Plot";

type Report = Schemas["Report"];
type Kind = Schemas["Curve"]["kind"];

const SHARE: [number, number] = [0, 1.02];
const PLOTS: Record<Kind, { title: string; short: string; x: string; y: string }> = {
  precision_recall: { title: "Precision and recall", short: "PR", x: "recall", y: "precision" },
  roc: { title: "ROC", short: "ROC", x: "false positive rate", y: "true positive rate" },
  f1_confidence: { title: "F1 by confidence", short: "F1", x: "confidence", y: "F1" },
  training: { title: "Training", short: "Training", x: "epoch", y: "value" },
};

export function Curves({
  report,
  colourOf,
}: {
  report: Report;
  colourOf: (name: string) => string;
}) {
  const kinds = [...new Set((report.curves ?? []).map(({ kind }) => kind))];
  const [chosen, setChosen] = useState<Kind | null>(null);
  const kind = chosen ?? kinds[0];
  const lines = useMemo<Line[]>(
    () =>
      (report.curves ?? [])
        .filter((curve) => curve.kind === kind)
        .map(({ name, x, y }, index) => ({
          name,
          x,
          y,
          colour:
            name === "all"
              ? "--text"
              : report.classes.includes(name)
                ? colourOf(name)
                : TRAINING[index % TRAINING.length]!,
        })),
    [report, kind, colourOf],
  );
  if (!kind) return null;
  const plot = PLOTS[kind];
  return (
    <section className="panel">
      <header>
        <h2>{plot.title}</h2>
        {kinds.length > 1 && (
          <Segmented
            label="Curve"
            value={kind}
            options={kinds.map((one) => ({ value: one, label: PLOTS[one].short }))}
            onChange={setChosen}
          />
        )}
      </header>
      <div className="panel-body">
        <Plot
          lines={lines}
          xLabel={plot.x}
          yLabel={plot.y}
          height={260}
          {...(kind !== "training" && { yRange: SHARE, xRange: SHARE })}
        />
      </div>
    </section>
  );
}

const TRAINING = [
  "--accent",
  "--good",
  "--warn",
  "--kind-model",
  "--kind-predictions",
  "--kind-flow",
];

export function Calibration({ calibration }: { calibration: Schemas["Calibration"] }) {
  const lines = useMemo<Line[]>(
    () => [
      { name: "perfect", x: [0, 1], y: [0, 1], colour: "--faint", dashed: true },
      {
        name: "accuracy",
        x: calibration.bins.map(({ confidence }) => confidence),
        y: calibration.bins.map(({ accuracy }) => accuracy),
        colour: "--accent",
      },
    ],
    [calibration],
  );
  return (
    <section className="panel">
      <header>
        <h2>Calibration</h2>
        <span className="faint num">
          error {percent(calibration.error)}
          {calibration.error_after !== null &&
            calibration.error_after !== undefined &&
            `, ${percent(calibration.error_after)} after temperature ${calibration.temperature?.toFixed(2)}`}
        </span>
      </header>
      <div className="panel-body">
        <Plot
          lines={lines}
          xLabel="confidence"
          yLabel="accuracy"
          height={260}
          yRange={SHARE}
          xRange={SHARE}
        />
      </div>
    </section>
  );
}
