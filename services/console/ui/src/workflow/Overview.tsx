// The whole graph in a corner, and which part of it is in sight.

import { useReactFlow, useStore, useViewport } from "@xyflow/react";
import type { Graph } from "./graph";
import { lookOf } from "./kinds";
import type { Layout } from "./layout";

const WIDTH = 220;
const HEIGHT = 130;
const MARGIN = 8;

export function Overview({ graph, layout }: { graph: Graph; layout: Layout }) {
  const flow = useReactFlow();
  const view = useViewport();
  const stage = useStore(({ width, height }) => `${width} ${height}`);
  const [width = 0, height = 0] = stage.split(" ").map(Number);
  const scale = Math.min(
    (WIDTH - 2 * MARGIN) / Math.max(1, layout.width),
    (HEIGHT - 2 * MARGIN) / Math.max(1, layout.height),
  );
  const seen = {
    x: (-view.x / view.zoom) * scale,
    y: (-view.y / view.zoom) * scale,
    width: (width / view.zoom) * scale,
    height: (height / view.zoom) * scale,
  };
  return (
    <svg
      className="overview"
      width={WIDTH}
      height={layout.height * scale + 2 * MARGIN}
      viewBox={`${-MARGIN} ${-MARGIN} ${WIDTH} ${layout.height * scale + 2 * MARGIN}`}
      aria-hidden="true"
      onPointerDown={(event) => {
        const { left, top } = event.currentTarget.getBoundingClientRect();
        const x = (event.clientX - left - MARGIN) / scale;
        const y = (event.clientY - top - MARGIN) / scale;
        void flow.setCenter(x, y, { zoom: view.zoom, duration: 200 });
      }}
    >
      {[...graph.cards.values()].map((card) => {
        const { x, y } = layout.positions.get(card.id)!;
        return (
          <rect
            key={card.id}
            x={x * scale}
            y={y * scale}
            width={Math.max(1.5, card.width * scale)}
            height={Math.max(1.5, card.height * scale)}
            fill={`var(--kind-${lookOf(card.kind).colour})`}
            opacity="0.8"
          />
        );
      })}
      <rect className="seen" {...seen} />
    </svg>
  );
}
