// One card of the graph.

import { Handle, type Node, type NodeProps, Position } from "@xyflow/react";
import { memo } from "react";
import { Chip, Progress } from "../ui/controls";
import { ago, words } from "../ui/format";
import type { Card as CardData } from "./graph";
import { lookOf } from "./kinds";

export type CardNode = Node<
  { card: CardData; lit: boolean; found: boolean; picked: boolean },
  "card"
>;

const SPOKEN_STATES = new Set([
  "queued",
  "running",
  "failed",
  "cancelled",
  "in_progress",
  "on_review",
]);

export const Card = memo(function Card({ data }: NodeProps<CardNode>) {
  const { card, lit, found, picked } = data;
  const look = lookOf(card.kind);
  const classes = [
    "card",
    `of-${look.colour}`,
    card.kind,
    lit ? "" : "dim",
    found ? "found" : "",
    picked ? "selected" : "",
    card.members.length ? "stacked" : "",
  ];
  return (
    <div className={classes.filter(Boolean).join(" ")}>
      <Handle type="target" position={Position.Left} isConnectable={false} />
      {card.kind === "run" ? <RunFace card={card} /> : <Face card={card} />}
      <Handle type="source" position={Position.Right} isConnectable={false} />
    </div>
  );
});

function Face({ card }: { card: CardData }) {
  const look = lookOf(card.kind);
  const Icon = look.icon;
  return (
    <>
      <div className="card-top">
        <Icon size={13} aria-hidden />
        {look.word}
        {SPOKEN_STATES.has(card.state) && <State state={card.state} />}
        <span className="push">
          {card.aliases.length > 0
            ? card.aliases.map((alias) => (
                <Chip key={alias} tone="good">
                  {alias}
                </Chip>
              ))
            : SPOKEN_STATES.has(card.state)
              ? null
              : ago(card.at)}
        </span>
      </div>
      <div className="card-title">
        <strong>{card.title}</strong>
        {card.badge && <span>{card.badge}</span>}
      </div>
      <div className="card-line">{card.line}</div>
      {card.progress !== null && (
        <Progress value={card.progress} label={`Progress of ${card.title}`} />
      )}
      {(card.histogram.length > 0 || card.thumbnails.length > 0) && <Strip card={card} />}
    </>
  );
}

function RunFace({ card }: { card: CardData }) {
  const Icon = lookOf("run").icon;
  return (
    <div className="card-top">
      <Icon size={12} aria-hidden />
      <strong>{card.title}</strong> {card.badge}
      {SPOKEN_STATES.has(card.state) && <State state={card.state} />}
      <span className="push">{card.line.length < 10 ? card.line : ""}</span>
    </div>
  );
}

export function State({ state }: { state: string }) {
  const tones = {
    failed: "bad",
    cancelled: "neutral",
    running: "accent",
    in_progress: "accent",
  } as const;
  const tone =
    state in tones
      ? tones[state as keyof typeof tones]
      : state === "completed" || state === "accepted"
        ? "good"
        : state === "on_review" || state === "submitted"
          ? "warn"
          : "neutral";
  return <Chip tone={tone}>{words(state)}</Chip>;
}

/** A few of its images, and how its classes are spread. */
function Strip({ card }: { card: CardData }) {
  const most = Math.max(1, ...card.histogram.map(([, count]) => count));
  return (
    <div className="card-strip">
      {card.thumbnails.length > 0 && (
        <span className="card-thumbs">
          {card.thumbnails.slice(0, card.histogram.length ? 3 : 5).map((digest) => (
            <img
              key={digest}
              src={`/api/assets/${digest}/thumbnail?size=64`}
              alt=""
              loading="lazy"
            />
          ))}
        </span>
      )}
      {card.histogram.length > 0 && (
        <span className="card-bars" role="img" aria-label={`${card.histogram.length} classes`}>
          {card.histogram.map(([name, count]) => (
            <i
              key={name}
              title={`${name}: ${count}`}
              style={{ height: `${(100 * count) / most}%` }}
            />
          ))}
        </span>
      )}
    </div>
  );
}
