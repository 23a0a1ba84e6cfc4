// The whole graph in a corner, and which part of it is in sight.

import { useReactFlow, useViewport } from "@xyflow/react";
import { useRef } from "react";
import type { Graph } from "./graph";
import { lookOf } from "./kinds";
import type { Layout } from "./layout";

const WIDTH = 220;
const HEIGHT = 130;

export function Overview({ graph, layout }: { graph: Graph; layout: Layout }) {
  const flow = useReactFlow();
  const view = useViewport();
  const place = useRef<SVGSVGElement>(null);
  const scale = Math.min(WIDTH / Math.max(1, layout.width), HEIGHT / Math.max(1, layout.height));
  const stage = place.current?.closest(".workflow-stage");
  const seen = {
    x: (-view.x / view.zoom) * scale,
    y: (-view.y / view.zoom) * scale,
    width: ((stage?.clientWidth ?? 0) / view.zoom) * scale,
    height: ((stage?.clientHeight ?? 0) / view.zoom) * scale,
  };
  return (
    <svg
      ref={place}
      className="overview"
      width={WIDTH}
      height={HEIGHT}
      aria-hidden="true"
      onPointerDown={(event) => {
        const { left, top } = event.currentTarget.getBoundingClientRect();
        const [x, y] = [(event.clientX - left) / scale, (event.clientY - top) / scale];
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
