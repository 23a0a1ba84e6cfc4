// A line plot on uPlot, in the theme's colours.

import "uplot/dist/uPlot.min.css";
import "../styles/plot.css";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import { colour, useTheme } from "../app/theme";
import { metric } from "./format";

export type Line = {
  name: string;
  x: readonly number[];
  y: readonly (number | null)[];
  colour: string;
  dashed?: boolean;
};

export function Plot({
  lines,
  xLabel,
  yLabel,
  yRange,
  xRange,
  height = 220,
  legend = true,
}: {
  lines: readonly Line[];
  xLabel: string;
  yLabel: string;
  yRange?: [number, number];
  xRange?: [number, number];
  height?: number;
  legend?: boolean;
}) {
  const place = useRef<HTMLDivElement>(null);
  const theme = useTheme();
  useEffect(() => {
    const box = place.current;
    if (!box) return;
    void theme; // its colours are read below
    const plot = new uPlot(
      {
        width: box.clientWidth,
        height,
        legend: { show: legend },
        cursor: { points: { size: 6 } },
        scales: {
          x: { time: false, ...(xRange && { range: xRange }) },
          y: yRange ? { range: yRange } : {},
        },
        axes: [axis(xLabel), axis(yLabel)],
        series: [
          {
            label: xLabel,
            value: (_, value) => (value === null ? "" : String(Math.round(value * 1000) / 1000)),
          },
          ...lines.map((line) => ({
            label: line.name,
            stroke: colour(line.colour) || line.colour,
            width: 1.75,
            ...(line.dashed && { dash: [5, 4] }),
            spanGaps: true,
            value: (_: uPlot, value: number | null) =>
              value === null ? "" : metric(line.name, value),
            points: { show: line.x.length < 40 },
          })),
        ],
      },
      join(lines),
      box,
    );
    const watcher = new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height }));
    watcher.observe(box);
    return () => {
      watcher.disconnect();
      plot.destroy();
    };
  }, [lines, xLabel, yLabel, yRange, xRange, height, legend, theme]);
  return <div ref={place} className="plot" role="img" aria-label={`${yLabel} over ${xLabel}`} />;
}

function axis(label: string): uPlot.Axis {
  return {
    label,
    labelSize: 22,
    labelFont: "11px Inter",
    font: "11px Inter",
    size: 44,
    stroke: colour("--muted"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { stroke: colour("--line"), width: 1, size: 4 },
  };
}

/** Lines with x values of their own, over the x values of all of them. */
function join(lines: readonly Line[]): uPlot.AlignedData {
  const xs = [...new Set(lines.flatMap(({ x }) => x))].sort((a, b) => a - b);
  const at = new Map(xs.map((x, index) => [x, index]));
  const columns = lines.map((line) => {
    const column: (number | null | undefined)[] = new Array(xs.length).fill(undefined);
    line.x.forEach((x, index) => {
      column[at.get(x)!] = line.y[index] ?? null;
    });
    return column;
  });
  return [xs, ...columns] as uPlot.AlignedData;
}
