// One edge of the graph: a calm curve through the way points of the layout.

import { BaseEdge, type Edge, type EdgeProps } from "@xyflow/react";
import { memo } from "react";
import type { WayPoint } from "./layout";

export type WireEdge = Edge<
  { points: WayPoint[]; returning: boolean; state: "" | "lit" | "dim" },
  "wire"
>;

export const Wire = memo(function Wire({
  id,
  sourceX,
  sourceY,
  targetX,
  targetY,
  data,
}: EdgeProps<WireEdge>) {
  const path = data?.returning
    ? returnPath(sourceX, sourceY, targetX, targetY)
    : wirePath(sourceX, sourceY, targetX, targetY, data?.points ?? []);
  const classes = ["wire", data?.state ?? "", data?.returning ? "returning" : ""].join(" ");
  return <BaseEdge id={id} path={path} className={classes} interactionWidth={0} />;
});

export function wirePath(
  x0: number,
  y0: number,
  x1: number,
  y1: number,
  points: readonly WayPoint[],
): string {
  let path = `M${x0},${y0}`;
  let [x, y] = [x0, y0];
  for (const point of points) {
    path += curve(x, y, point.x, point.y);
    path += `L${point.end},${point.y}`;
    [x, y] = [point.end, point.y];
  }
  return path + curve(x, y, x1, y1);
}

function curve(x0: number, y0: number, x1: number, y1: number): string {
  const bend = Math.max(24, (x1 - x0) / 2);
  return `C${x0 + bend},${y0} ${x1 - bend},${y1} ${x1},${y1}`;
}

/** Around below: from the right side of the later card to the left side of the earlier one. */
export function returnPath(x0: number, y0: number, x1: number, y1: number): string {
  const below = Math.max(y0, y1) + 90;
  return `M${x0},${y0}C${x0 + 60},${y0} ${x0 + 60},${below} ${x0},${below}L${x1},${below}C${x1 - 60},${below} ${x1 - 60},${y1} ${x1},${y1}`;
}
