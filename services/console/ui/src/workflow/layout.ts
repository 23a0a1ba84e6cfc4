// Places cards in layers from left to right: a card stands right of everything it was made from.
// Layers by longest path, order within a layer by barycentre sweeps, then each card is pulled towards
// its neighbours as far as its layer leaves room. Long edges pass through invisible way points, so that
// they go around cards instead of across them; those of one card share them.

import type { CardEdge } from "./graph";

const COLUMN_GAP = 56;
const ROW_GAP = 24;
const WAY_POINT_HEIGHT = 12;
const SWEEPS = 12;
const PULLS = 10;
const WAY_POINTS_MAX = 6000;
const SLACK_LAYERS_MAX = 400;

export type Sized = { id: string; at: string; width: number; height: number };
export type WayPoint = { x: number; end: number; y: number };
export type Layout = {
  /** Top left corners. */
  positions: Map<string, { x: number; y: number }>;
  routes: Map<string, WayPoint[]>;
  /** Edges that run against the others: a loop of the flywheel that collapsing made visible. */
  returning: Set<string>;
  width: number;
  height: number;
};

type Cell = {
  id: string;
  at: string;
  width: number;
  height: number;
  layer: number;
  y: number;
  rank: number;
  weight: number;
  isWayPoint: boolean;
  before: Cell[];
  after: Cell[];
};
type Link = { source: Cell; target: Cell; edge: CardEdge };

export function layOut(cards: readonly Sized[], edges: readonly CardEdge[]): Layout {
  const cells = new Map(cards.map((card) => [card.id, newCell(card)]));
  const { links, returning } = withoutCycles(cells, edges);
  assignLayers([...cells.values()], links);
  const all = [...cells.values()];
  const routes = addWayPoints(all, links);
  const layers = intoLayers(all);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) sortLayers(layers, sweep % 2 === 0);
  pack(layers);
  const pulls = layers.length > SLACK_LAYERS_MAX ? 4 : PULLS;
  for (let pull = 0; pull < pulls; pull += 1) pullTogether(layers, pull % 2 === 0);
  return measure(all, routes, returning);
}

function newCell({ id, at, width, height }: Sized, isWayPoint = false): Cell {
  return {
    id,
    at,
    width,
    height,
    isWayPoint,
    layer: 0,
    y: 0,
    rank: 0,
    weight: 0,
    before: [],
    after: [],
  };
}

/** Edges from the older to the newer card stay; those that would close a circle return. */
function withoutCycles(cells: Map<string, Cell>, edges: readonly CardEdge[]) {
  const all: Link[] = [];
  for (const edge of edges) {
    const source = cells.get(edge.source);
    const target = cells.get(edge.target);
    if (source && target && source !== target) all.push({ source, target, edge });
  }
  const outgoing = Map.groupBy(all, (link) => link.source);
  const state = new Map<Cell, "open" | "done">();
  const back = new Set<Link>();
  const roots = [...cells.values()].sort((a, b) => byTime(a, b));
  for (const root of roots) {
    if (state.has(root)) continue;
    const stack: [Cell, number][] = [[root, 0]];
    state.set(root, "open");
    while (stack.length) {
      const top = stack.at(-1)!;
      const next = outgoing.get(top[0])?.[top[1]];
      if (!next) {
        state.set(top[0], "done");
        stack.pop();
        continue;
      }
      top[1] += 1;
      if (state.get(next.target) === "open") back.add(next);
      else if (!state.has(next.target)) {
        state.set(next.target, "open");
        stack.push([next.target, 0]);
      }
    }
  }
  const links = all.filter((link) => !back.has(link));
  return { links, returning: new Set([...back].map((link) => link.edge.id)) };
}

function assignLayers(cells: readonly Cell[], links: readonly Link[]): void {
  const waiting = new Map(cells.map((cell) => [cell, 0]));
  const after = new Map<Cell, Cell[]>();
  for (const { source, target } of links) {
    waiting.set(target, waiting.get(target)! + 1);
    const targets = after.get(source);
    if (targets) targets.push(target);
    else after.set(source, [target]);
  }
  const ready = cells.filter((cell) => waiting.get(cell) === 0);
  for (let at = 0; at < ready.length; at += 1) {
    const cell = ready[at]!;
    for (const next of after.get(cell) ?? []) {
      next.layer = Math.max(next.layer, cell.layer + 1);
      const left = waiting.get(next)! - 1;
      waiting.set(next, left);
      if (left === 0) ready.push(next);
    }
  }
  // A root stands just left of the first thing made from it, not at the far left.
  const incoming = new Set(links.map((link) => link.target));
  for (const [cell, targets] of after) {
    if (!incoming.has(cell)) cell.layer = Math.min(...targets.map((next) => next.layer)) - 1;
  }
}

function addWayPoints(cells: Cell[], links: readonly Link[]): Map<string, Cell[]> {
  const isLong = ({ source, target }: Link): boolean => target.layer - source.layer > 1;
  // A flow leads to nearly everything: its edges show when they are asked for, and take no room.
  const takesRoom = ({ edge }: Link): boolean => edge.role !== "flow";
  const long = links.filter((link) => isLong(link) && takesRoom(link));
  const leaving = countBy(long, (link) => link.source);
  const arriving = countBy(long, (link) => link.target);
  const bundles = new Map<Cell, Map<number, Cell>>();
  const routes = new Map<string, Cell[]>();
  for (const link of links) {
    const { source, target, edge } = link;
    if (!takesRoom(link)) continue;
    if (!isLong(link)) {
      connect(source, target);
      continue;
    }
    if (cells.length > WAY_POINTS_MAX) continue;
    // Edges that leave, or reach, the same card run together as far as they can.
    const trunk = leaving.get(source)! >= arriving.get(target)! ? source : target;
    let bundle = bundles.get(trunk);
    if (!bundle) {
      bundle = new Map();
      bundles.set(trunk, bundle);
    }
    routes.set(edge.id, along(bundle, source, target, cells));
  }
  return routes;
}

function along(bundle: Map<number, Cell>, source: Cell, target: Cell, cells: Cell[]): Cell[] {
  const points: Cell[] = [];
  let previous = source;
  for (let layer = source.layer + 1; layer < target.layer; layer += 1) {
    let point = bundle.get(layer);
    if (!point) {
      point = newCell({ id: "", at: target.at, width: 0, height: WAY_POINT_HEIGHT }, true);
      point.layer = layer;
      bundle.set(layer, point);
      cells.push(point);
    }
    connect(previous, point);
    points.push(point);
    previous = point;
  }
  connect(previous, target);
  return points;
}

function countBy(links: readonly Link[], key: (link: Link) => Cell): Map<Cell, number> {
  const counts = new Map<Cell, number>();
  for (const link of links) counts.set(key(link), (counts.get(key(link)) ?? 0) + 1);
  return counts;
}

function connect(source: Cell, target: Cell): void {
  if (source.after.includes(target)) return;
  source.after.push(target);
  target.before.push(source);
}

function intoLayers(cells: readonly Cell[]): Cell[][] {
  const first = cells.reduce((least, cell) => Math.min(least, cell.layer), 0);
  const layers: Cell[][] = [];
  const last = cells.reduce((most, cell) => Math.max(most, cell.layer), first);
  for (let layer = first; layer <= last; layer += 1) layers.push([]);
  for (const cell of cells) layers[cell.layer - first]!.push(cell);
  for (const layer of layers) {
    layer.sort((a, b) => byTime(a, b));
    layer.forEach((cell, rank) => {
      cell.rank = rank;
    });
  }
  return layers;
}

function sortLayers(layers: readonly Cell[][], forward: boolean): void {
  for (const layer of forward ? layers : layers.toReversed()) {
    for (const cell of layer) {
      const near = forward ? cell.before : cell.after;
      cell.weight = near.length ? mean(near.map((other) => other.rank)) : cell.rank;
    }
    layer.sort((a, b) => a.weight - b.weight || byTime(a, b));
    layer.forEach((cell, rank) => {
      cell.rank = rank;
    });
  }
}

function pack(layers: readonly Cell[][]): void {
  for (const layer of layers) {
    let y = 0;
    for (const cell of layer) {
      cell.y = y;
      y += cell.height + ROW_GAP;
    }
    for (const cell of layer) cell.y -= y / 2;
  }
}

function pullTogether(layers: readonly Cell[][], forward: boolean): void {
  for (const layer of forward ? layers : layers.toReversed()) {
    const wanted = layer.map((cell) => {
      const near = [...cell.before, ...cell.after];
      return near.length ? median(near.map(middle)) - cell.height / 2 : cell.y;
    });
    settle(layer, wanted);
  }
}

type Block = { cells: Cell[]; offsets: number[]; sum: number; size: number };

/** Neighbours that would overlap move as one block to the mean of what they want. */
function settle(layer: readonly Cell[], wanted: readonly number[]): void {
  const blocks: Block[] = [];
  layer.forEach((cell, index) => {
    let block: Block = {
      cells: [cell],
      offsets: [0],
      sum: wanted[index]!,
      size: cell.height + ROW_GAP,
    };
    let previous = blocks.at(-1);
    while (previous && top(previous) + previous.size > top(block)) {
      blocks.pop();
      block = joined(previous, block);
      previous = blocks.at(-1);
    }
    blocks.push(block);
  });
  for (const block of blocks) {
    block.cells.forEach((cell, index) => {
      cell.y = top(block) + block.offsets[index]!;
    });
  }
}

function joined(a: Block, b: Block): Block {
  return {
    cells: [...a.cells, ...b.cells],
    offsets: [...a.offsets, ...b.offsets.map((offset) => offset + a.size)],
    sum: a.sum + b.sum - a.size * b.cells.length,
    size: a.size + b.size,
  };
}

const top = (block: Block): number => block.sum / block.cells.length;
const byTime = (a: Cell, b: Cell): number => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0);
const middle = (cell: Cell): number => cell.y + cell.height / 2;
const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

function measure(cells: Cell[], routes: Map<string, Cell[]>, returning: Set<string>): Layout {
  const columns = placeColumns(cells);
  const topmost = cells.reduce((least, cell) => Math.min(least, cell.y), Infinity);
  const positions = new Map<string, { x: number; y: number }>();
  let height = 0;
  for (const cell of cells) {
    cell.y -= topmost;
    height = Math.max(height, cell.y + cell.height);
    const { x, width } = columns.get(cell.layer)!;
    if (!cell.isWayPoint) positions.set(cell.id, { x: x + (width - cell.width) / 2, y: cell.y });
  }
  const placed = new Map(
    [...routes].map(([id, points]) => [
      id,
      points.map((cell) => {
        const { x, width } = columns.get(cell.layer)!;
        return { x, end: x + width, y: middle(cell) };
      }),
    ]),
  );
  const width = [...columns.values()].reduce((end, { x, width: w }) => Math.max(end, x + w), 0);
  return { positions, routes: placed, returning, width, height };
}

function placeColumns(cells: readonly Cell[]): Map<number, { x: number; width: number }> {
  const widths = new Map<number, number>();
  for (const { layer, width } of cells) widths.set(layer, Math.max(widths.get(layer) ?? 0, width));
  const columns = new Map<number, { x: number; width: number }>();
  let x = 0;
  for (const layer of [...widths.keys()].sort((a, b) => a - b)) {
    const width = widths.get(layer)!;
    columns.set(layer, { x, width });
    x += width + COLUMN_GAP;
  }
  return columns;
}
