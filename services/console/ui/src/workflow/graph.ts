// The graph as it is drawn: from what the server says of every version to cards that fit, with kinds
// left out, versions collapsed and one node's ancestry in focus. Pure: a worker and tests run it too.

import type { components } from "../api/schema";
import { duration, metric, number, plural, words } from "../ui/format";
import { type Kind, kindOf, sizeOf } from "./kinds";

export type Raw = components["schemas"]["NodeOut"];
export type RawEdge = components["schemas"]["EdgeOut"];
export type RawGraph = { nodes: Raw[]; edges: RawEdge[] };

export type CardEdge = { id: string; source: string; target: string; role: string };
export type Card = {
  id: string;
  kind: Kind;
  title: string;
  badge: string;
  line: string;
  name: string;
  version: number;
  /** What it is a version of. */
  group: string;
  datasets: readonly string[];
  at: string;
  aliases: string[];
  histogram: [name: string, count: number][];
  thumbnails: string[];
  progress: number | null;
  state: string;
  /** What stands behind a collapsed card, oldest first; empty for a card of one node. */
  members: string[];
  /** Everything that a search looks at. */
  text: string;
  width: number;
  height: number;
};
export type Graph = { cards: Map<string, Card>; edges: CardEdge[] };

const HISTOGRAM_MAX = 12;

export function readGraph(answer: RawGraph): Graph {
  const cards = new Map(answer.nodes.map((raw) => [raw.id, cardOf(raw)]));
  return { cards, edges: edgesAmong(cards, answer.edges) };
}

/** Puts what changed over what was there. */
export function patched(
  graph: RawGraph,
  change: RawGraph & { removed: readonly string[] },
): RawGraph {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const edges = new Map(graph.edges.map((edge) => [`${edge.source}→${edge.target}`, edge]));
  for (const id of change.removed) nodes.delete(id);
  for (const node of change.nodes) nodes.set(node.id, node);
  for (const edge of change.edges) edges.set(`${edge.source}→${edge.target}`, edge);
  const all = [...edges.values()];
  return {
    nodes: [...nodes.values()],
    edges: all.filter(({ source, target }) => nodes.has(source) && nodes.has(target)),
  };
}

function edgesAmong(cards: Map<string, Card>, edges: readonly RawEdge[]): CardEdge[] {
  const seen = new Map<string, CardEdge>();
  for (const { source, target, role } of edges) {
    const id = `${source}→${target}`;
    if (source === target || seen.has(id) || !cards.has(source) || !cards.has(target)) continue;
    seen.set(id, { id, source, target, role });
  }
  return [...seen.values()];
}

function cardOf(raw: Raw): Card {
  const kind = kindOf(raw.kind);
  const histogram = histogramOf(raw.histogram);
  const shown = titleOf(raw, kind);
  const line = lineOf(raw);
  const aliases = raw.aliases.map(({ alias }) => alias);
  const text = [shown, raw.name, `v${raw.version}`, kind, line, raw.summary, raw.id, ...aliases];
  return {
    id: raw.id,
    kind,
    title: shown,
    badge: raw.version && VERSIONED.has(kind) ? `v${raw.version}` : "",
    line,
    name: raw.name,
    version: raw.version,
    group: raw.group,
    datasets: raw.datasets,
    at: raw.at,
    aliases,
    histogram,
    thumbnails: raw.thumbnails,
    progress: raw.progress,
    state: raw.state,
    members: [],
    text: text.join(" ").toLowerCase(),
    ...sizeOf(kind, histogram.length > 0 || raw.thumbnails.length > 0),
  };
}

const VERSIONED: ReadonlySet<Kind> = new Set([
  "dataset",
  "model",
  "predictions",
  "flow",
  "delivery",
]);

function histogramOf(histogram: Record<string, number>): [string, number][] {
  return Object.entries(histogram)
    .sort((a, b) => b[1] - a[1])
    .slice(0, HISTOGRAM_MAX);
}

function titleOf(raw: Raw, kind: Kind): string {
  const name = raw.name || raw.label || raw.id;
  if (kind === "run") return words(raw.run_kind || name);
  if (kind === "source" || kind === "bucket") return placeOf(name);
  if (kind === "predictions") return name.replace(/-([0-9a-f]{6})[0-9a-f]{10}$/, " $1");
  return name;
}

/** "s3://customer/photos/2024/" reads "photos/2024". */
function placeOf(uri: string): string {
  const [, , , ...path] = uri.split("/");
  return path.filter(Boolean).join("/") || uri;
}

function lineOf(raw: Raw): string {
  if (raw.kind === "run") return raw.duration_s === null ? "" : duration(raw.duration_s);
  if (raw.kind === "source" || raw.kind === "bucket") {
    return raw.figures.length ? figuresLine(raw) : raw.name.split("/").slice(0, 3).join("/");
  }
  if (raw.kind === "deployment") {
    const target = raw.label.split(/->|→/).at(-1)!.trim();
    return raw.state === "serving" ? `serves ${target}` : `served ${target}`;
  }
  return figuresLine(raw) || raw.summary;
}

const COUNTS = new Set([
  "items",
  "images",
  "predictions",
  "inferred",
  "delivered",
  "relabeled",
  "labeled",
  "submissions",
  "submitted",
]);

function figuresLine({ figures }: Raw): string {
  const predictions = figures.find(({ name }) => name === "predictions")?.value;
  return figures
    .filter(({ name, value }) => name !== "inferred" || value !== predictions) // says it twice
    .slice(0, 2)
    .map(({ name, value, label }) =>
      COUNTS.has(name) || COUNTS.has(label)
        ? `${number(value)} ${label}`
        : `${label} ${metric(name, value)}`,
    )
    .join(" · ");
}

// What is shown -------------------------------------------------------------------------------------

export type Shown = {
  hidden: ReadonlySet<Kind>;
  /** Newest versions of an artefact that stand alone; the older ones become one card. */
  keep: number;
  /** Collapsed cards that were opened. */
  open: ReadonlySet<string>;
  focus: { id: string; way: Way } | null;
  /** Name of a dataset: only what is connected to it. */
  dataset: string;
  /** Only what was committed since (ISO 8601), and what that came from directly. */
  since: string;
};
export type Way = "upstream" | "downstream" | "both";

export const HIDDEN_AT_FIRST: readonly Kind[] = ["run", "evaluation"];
export const KEEP_ALL = Number.POSITIVE_INFINITY;

/** The part of the graph to draw. */
export function show(graph: Graph, shown: Shown): Graph {
  let part = graph;
  if (shown.focus) part = within(part, reach(part, [shown.focus.id], shown.focus.way));
  if (shown.dataset) {
    const about = [...part.cards.values()].filter((card) => card.datasets.includes(shown.dataset));
    part = within(part, new Set(about.map((card) => card.id)));
  }
  if (shown.since) part = within(part, recent(part, shown.since));
  return collapse(withoutKinds(part, shown.hidden, shown.focus?.id), shown.keep, shown.open);
}

function within({ cards, edges }: Graph, ids: ReadonlySet<string>): Graph {
  return {
    cards: new Map([...cards].filter(([id]) => ids.has(id))),
    edges: edges.filter(({ source, target }) => ids.has(source) && ids.has(target)),
  };
}

function recent({ cards, edges }: Graph, since: string): Set<string> {
  const ids = new Set(
    [...cards.values()].filter((card) => card.at >= since).map((card) => card.id),
  );
  for (const { source, target } of edges) if (ids.has(target) && !ids.has(source)) ids.add(source);
  return ids;
}

/** Everything that `ids` were made from, or that was made from them, or both; they included. */
export function reach({ edges }: Graph, ids: readonly string[], way: Way): Set<string> {
  const found = new Set(ids);
  if (way !== "downstream") walk(edges, ids, "target", "source", found);
  if (way !== "upstream") walk(edges, ids, "source", "target", found);
  return found;
}

function walk(
  edges: readonly CardEdge[],
  ids: readonly string[],
  from: "source" | "target",
  to: "source" | "target",
  found: Set<string>,
): void {
  const next = Map.groupBy(edges, (edge) => edge[from]);
  const seen = new Set(ids);
  const waiting = [...ids];
  while (waiting.length) {
    for (const edge of next.get(waiting.pop()!) ?? []) {
      if (seen.has(edge[to])) continue;
      seen.add(edge[to]);
      found.add(edge[to]);
      waiting.push(edge[to]);
    }
  }
}

/** Leaves kinds out; paths through what is left out stay, as one edge. */
export function withoutKinds(graph: Graph, hidden: ReadonlySet<Kind>, keep?: string): Graph {
  if (!hidden.size) return graph;
  const cards = new Map(
    [...graph.cards].filter(([id, card]) => id === keep || !hidden.has(card.kind)),
  );
  const after = Map.groupBy(graph.edges, (edge) => edge.source);
  const edges: CardEdge[] = [];
  for (const source of cards.keys()) {
    const seen = new Set<string>();
    const waiting = (after.get(source) ?? []).map((edge) => ({ edge, role: edge.role }));
    while (waiting.length) {
      const { edge, role } = waiting.pop()!;
      if (seen.has(edge.target)) continue;
      seen.add(edge.target);
      if (cards.has(edge.target)) {
        edges.push({ id: `${source}→${edge.target}`, source, target: edge.target, role });
      } else {
        waiting.push(...(after.get(edge.target) ?? []).map((further) => ({ edge: further, role })));
      }
    }
  }
  return { cards, edges };
}

const COLLAPSED_FROM = 2; // a card that stands for one version would hide it for nothing

/** Puts the older versions of an artefact, and repeated runs of a kind, behind one card each. */
export function collapse(graph: Graph, keep: number, open: ReadonlySet<string>): Graph {
  if (keep === KEEP_ALL) return graph;
  const cards = new Map(graph.cards);
  const standIn = new Map<string, string>();
  const families = Map.groupBy(graph.cards.values(), (card) => card.group || card.id);
  for (const [family, versions] of families) {
    const id = `older:${family}`;
    versions.sort((a, b) => a.version - b.version || a.at.localeCompare(b.at));
    const older = versions.slice(0, Math.max(0, versions.length - keep));
    if (older.length < COLLAPSED_FROM || open.has(id)) continue;
    for (const card of older) {
      standIn.set(card.id, id);
      cards.delete(card.id);
    }
    cards.set(id, collapsedCard(id, older));
  }
  const edges: RawEdge[] = graph.edges.map(({ source, target, role }) => ({
    source: standIn.get(source) ?? source,
    target: standIn.get(target) ?? target,
    role,
  }));
  return { cards, edges: edgesAmong(cards, edges) };
}

function collapsedCard(id: string, older: Card[]): Card {
  const [first, last] = [older[0]!, older.at(-1)!];
  const isRun = last.kind === "run";
  return {
    ...last,
    id,
    badge: isRun ? `×${older.length}` : first.version ? `v${first.version}–v${last.version}` : "",
    line: isRun ? plural(older.length, "run") : plural(older.length, "earlier version"),
    aliases: older.flatMap((card) => card.aliases),
    histogram: [],
    thumbnails: [],
    progress: null,
    state: "",
    members: older.map((card) => card.id),
    text: older.map((card) => card.text).join(" "),
    ...sizeOf(last.kind, false),
  };
}

/** The card that a node is drawn as: its own, or the one that stands for it. */
export function cardOfNode(graph: Graph, id: string): Card | undefined {
  const own = graph.cards.get(id);
  if (own) return own;
  for (const card of graph.cards.values()) if (card.members.includes(id)) return card;
  return undefined;
}

/** How many newest versions to show at first: few where there are many. */
export function keepFor(count: number): number {
  if (count <= 40) return KEEP_ALL;
  return count <= 160 ? 3 : 1;
}
