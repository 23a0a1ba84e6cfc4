// Places nodes in layers from left to right: a node stands right of everything it was made from.
// Layers by longest path, order within a layer by barycentre sweeps, then each node is pulled towards
// its neighbours as far as its layer leaves room. Long edges pass through invisible way points, so that
// they go around cards instead of across them; those of one card share them.

const CARD = { width: 204, height: 68 };
const PILL = { width: 132, height: 34 }; // a run: what happened between two versions
const COLUMN_GAP = 52;
const ROW_GAP = 26;
const WAY_POINT_HEIGHT = 10;
const SWEEPS = 12;
const PULLS = 10;
const WAY_POINTS_MAX = 6000;

export const sizeOf = (node) => (node.kind === "run" ? PILL : CARD);

/**
 * @param {{id: string, kind: string, sequence: number}[]} nodes
 * @param {{source: string, target: string}[]} edges both ends in nodes
 * @returns {{positions: Map<string, {x: number, y: number}>, routes: Map<object, object[]>,
 *   width: number, height: number}} top-left corners; way points {x, end, y} of each edge
 */
export function layOut(nodes, edges) {
  const cells = new Map(nodes.map((node) => [node.id, newCell(node.id, node.sequence || 0, sizeOf(node))]));
  const links = withoutCycles(cells, edges);
  assignLayers(cells, links);
  const routes = addWayPoints(cells, links);
  const layers = intoLayers(cells);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) sortLayers(layers, sweep % 2 === 0);
  pack(layers);
  for (let pull = 0; pull < PULLS; pull += 1) pullTogether(layers, pull % 2 === 0);
  return measure(cells, routes, edges);
}

function newCell(id, sequence, { width, height }) {
  return { id, sequence, width, height, layer: 0, y: 0, rank: 0, before: [], after: [] };
}

function withoutCycles(cells, edges) {
  // The log has no cycles; a guard keeps a wrong answer from hanging the page.
  const links = [];
  for (const edge of edges) {
    const source = cells.get(edge.source);
    const target = cells.get(edge.target);
    if (source && target && source !== target) links.push({ source, target, edge });
  }
  const state = new Map();
  const outgoing = new Map();
  for (const link of links) {
    if (!outgoing.has(link.source)) outgoing.set(link.source, []);
    outgoing.get(link.source).push(link);
  }
  const back = new Set();
  for (const root of cells.values()) {
    if (state.has(root)) continue;
    const stack = [[root, 0]];
    state.set(root, "open");
    while (stack.length) {
      const top = stack[stack.length - 1];
      const next = (outgoing.get(top[0]) || [])[top[1]];
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
  return links.filter((link) => !back.has(link));
}

function assignLayers(cells, links) {
  const waiting = new Map([...cells.values()].map((cell) => [cell, 0]));
  const after = new Map();
  for (const { source, target } of links) {
    waiting.set(target, waiting.get(target) + 1);
    if (!after.has(source)) after.set(source, []);
    after.get(source).push(target);
  }
  const ready = [...waiting].filter(([, count]) => count === 0).map(([cell]) => cell);
  while (ready.length) {
    const cell = ready.shift();
    for (const next of after.get(cell) || []) {
      next.layer = Math.max(next.layer, cell.layer + 1);
      waiting.set(next, waiting.get(next) - 1);
      if (waiting.get(next) === 0) ready.push(next);
    }
  }
  // A root stands just left of the first thing made from it, not at the far left.
  const incoming = new Set(links.map((link) => link.target));
  for (const [cell, targets] of after) {
    if (!incoming.has(cell)) cell.layer = Math.min(...targets.map((next) => next.layer)) - 1;
  }
}

function addWayPoints(cells, links) {
  const isLong = ({ source, target, edge }) => target.layer - source.layer > 1 && edge.role !== "flow";
  const long = links.filter(isLong);
  const leaving = countBy(long, (link) => link.source);
  const arriving = countBy(long, (link) => link.target);
  const bundles = new Map();
  const routes = new Map();
  for (const link of links) {
    const { source, target, edge } = link;
    // A flow leads to nearly everything: its edges show when they are asked for, and take no room.
    if (edge.role !== "flow" && !isLong(link)) connect(source, target);
    if (!isLong(link) || cells.size > WAY_POINTS_MAX) {
      routes.set(edge, []);
      continue;
    }
    // Edges that leave, or reach, the same card run together as far as they can.
    const trunk = leaving.get(source) >= arriving.get(target) ? source : target;
    if (!bundles.has(trunk)) bundles.set(trunk, new Map());
    routes.set(edge, along(bundles.get(trunk), source, target, cells));
  }
  return routes;
}

function along(bundle, source, target, cells) {
  const points = [];
  let previous = source;
  for (let layer = source.layer + 1; layer < target.layer; layer += 1) {
    if (!bundle.has(layer)) {
      const point = newCell("", target.sequence, { width: 0, height: WAY_POINT_HEIGHT });
      point.layer = layer;
      point.isWayPoint = true;
      bundle.set(layer, point);
      cells.set(point, point);
    }
    const point = bundle.get(layer);
    connect(previous, point);
    points.push(point);
    previous = point;
  }
  connect(previous, target);
  return points;
}

function countBy(links, key) {
  const counts = new Map();
  for (const link of links) counts.set(key(link), (counts.get(key(link)) || 0) + 1);
  return counts;
}

function connect(source, target) {
  if (source.after.includes(target)) return;
  source.after.push(target);
  target.before.push(source);
}

function intoLayers(cells) {
  const layers = [];
  const first = [...cells.values()].reduce((least, cell) => Math.min(least, cell.layer), 0);
  for (const cell of cells.values()) {
    (layers[cell.layer - first] ||= []).push(cell);
  }
  for (let index = 0; index < layers.length; index += 1) layers[index] ||= [];
  for (const layer of layers) {
    layer.sort((a, b) => a.sequence - b.sequence);
    layer.forEach((cell, index) => { cell.rank = index; });
  }
  return layers;
}

function sortLayers(layers, forward) {
  const order = forward ? layers : [...layers].reverse();
  for (const layer of order) {
    for (const cell of layer) {
      const near = forward ? cell.before : cell.after;
      cell.weight = near.length ? mean(near.map((other) => other.rank)) : cell.rank;
    }
    layer.sort((a, b) => a.weight - b.weight || a.sequence - b.sequence);
    layer.forEach((cell, index) => { cell.rank = index; });
  }
}

function pack(layers) {
  for (const layer of layers) {
    let y = 0;
    for (const cell of layer) {
      cell.y = y;
      y += cell.height + ROW_GAP;
    }
    const shift = y / 2;
    for (const cell of layer) cell.y -= shift;
  }
}

function pullTogether(layers, forward) {
  const order = forward ? layers : [...layers].reverse();
  for (const layer of order) {
    const wanted = layer.map((cell) => {
      const near = [...cell.before, ...cell.after];
      return near.length ? median(near.map(middle)) - cell.height / 2 : cell.y;
    });
    settle(layer, wanted);
  }
}

function settle(layer, wanted) {
  // Neighbours that would overlap move as one block to the mean of what they want.
  const blocks = [];
  layer.forEach((cell, index) => {
    let block = { cells: [cell], offsets: [0], sum: wanted[index], size: cell.height + ROW_GAP };
    let previous = blocks[blocks.length - 1];
    while (previous && top(previous) + previous.size > top(block)) {
      blocks.pop();
      block = joined(previous, block);
      previous = blocks[blocks.length - 1];
    }
    blocks.push(block);
  });
  for (const block of blocks) {
    block.cells.forEach((cell, index) => { cell.y = top(block) + block.offsets[index]; });
  }
}

function joined(a, b) {
  return {
    cells: [...a.cells, ...b.cells],
    offsets: [...a.offsets, ...b.offsets.map((offset) => offset + a.size)],
    sum: a.sum + b.sum - a.size * b.cells.length,
    size: a.size + b.size,
  };
}

const top = (block) => block.sum / block.cells.length;
const middle = (cell) => cell.y + cell.height / 2;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

function measure(cells, routes, edges) {
  const all = [...cells.values()];
  const columns = placeColumns(all);
  const topmost = all.reduce((least, cell) => Math.min(least, cell.y), Infinity);
  const positions = new Map();
  let height = 0;
  for (const cell of all) {
    cell.y -= topmost;
    height = Math.max(height, cell.y + cell.height);
    const { x, width } = columns.get(cell.layer);
    if (!cell.isWayPoint) positions.set(cell.id, { x: x + (width - cell.width) / 2, y: cell.y });
  }
  const placed = new Map(edges.map((edge) => [edge, (routes.get(edge) || []).map((cell) => {
    const { x, width } = columns.get(cell.layer);
    return { x, end: x + width, y: middle(cell) };
  })]));
  const last = [...columns.values()].reduce((end, { x, width }) => Math.max(end, x + width), 0);
  return { positions, routes: placed, width: last, height };
}

function placeColumns(all) {
  const widths = new Map();
  for (const cell of all) widths.set(cell.layer, Math.max(widths.get(cell.layer) || 0, cell.width));
  const columns = new Map();
  let x = 0;
  for (const layer of [...widths.keys()].sort((a, b) => a - b)) {
    const width = widths.get(layer);
    columns.set(layer, { x, width });
    x += width + COLUMN_GAP;
  }
  return columns;
}
