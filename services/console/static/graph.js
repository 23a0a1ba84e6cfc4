// What the lineage service says, made ready to draw: kinds, titles and lines that fit, neighbours.

import { kindOf, wordOf } from "./kinds.js";

/**
 * @param {{nodes: object[], edges: object[]}} answer of GET /v1/graph
 * @returns {{nodes: Map<string, object>, edges: object[], isPart: boolean}}
 */
export function readGraph(answer) {
  const nodes = new Map();
  const folded = answer.folded || {};
  for (const raw of answer.nodes || []) nodes.set(raw.id, readNode(raw, folded[raw.id] || raw.folded || 0));
  const edges = (answer.edges || []).filter((edge) => nodes.has(edge.source) && nodes.has(edge.target));
  return { nodes, edges, isPart: (answer.total || 0) > (answer.nodes || []).length + behind(folded) };
}

/** How many nodes stand behind folded ones: each a submission and its run. */
const behind = (folded) => Object.values(folded).reduce((sum, count) => sum + 2 * count, 0);

function readNode(raw, folded) {
  const kind = kindOf(raw.kind);
  return {
    ...raw,
    kind,
    folded,
    word: kind === "run" ? "Run" : wordOf(kind),
    title: titleOf(raw, kind),
    badge: raw.version ? `v${raw.version}` : "",
    line: lineOf(raw, kind),
  };
}

function titleOf(raw, kind) {
  const name = String(raw.name || raw.label || raw.id);
  if (kind === "run") return words(name);
  if (kind === "alias") return name.split("/").pop();
  if (kind === "report") return words(raw.label || name);
  if (kind === "source" || kind === "bucket") return place(name);
  if (kind === "predictions") return name.replace(/-([0-9a-f]{6})[0-9a-f]{10}$/, " $1");
  if (kind === "labels" && name.includes("/")) return `${name.split("/")[0]} ${name.split("/").pop().slice(0, 8)}`;
  return name;
}

/** "s3://customer/photos/2024/" reads "photos/2024". */
function place(uri) {
  const [, , , ...path] = uri.split("/");
  return path.filter(Boolean).join("/") || uri;
}

/** "RUN_KIND_TRAIN" reads "train". */
export function words(text) {
  return String(text || "").replace(/^[A-Z]+(_[A-Z]+)*_KIND_/, "").replace(/_/g, " ").toLowerCase();
}

/** The one figure worth a card's second line. */
function lineOf(raw, kind) {
  const figures = raw.figures || {};
  const count = (name, unit) => (figures[name] === undefined ? "" : `${number(figures[name])} ${unit}`);
  const share = (name, word) => (figures[name] === undefined ? "" : `${word} ${percent(figures[name])}`);
  const parts = {
    dataset: [count("items", "items")],
    model: [share("accuracy", "accuracy"), share("map50", "mAP50"), share("macro_f1", "F1")],
    predictions: [count("predictions", "images")],
    labeling_job: [raw.state ? words(raw.state) : "", count("items", "items")],
    delivery: [count("delivered", "delivered")],
    labels: [count("submissions", "submissions")],
    alias: [String(raw.label || "").replace(/\/.*->/, "")],
    run: [took(raw)],
    source: [String(raw.name || "").split("/").slice(0, 3).join("/")],
    bucket: [String(raw.name || "").split("/").slice(0, 3).join("/")],
  };
  if (kind === "dataset" && figures.labeled !== undefined && figures.items !== undefined) {
    return `${number(figures.labeled)} of ${number(figures.items)} labeled`;
  }
  const said = (parts[kind] || []).find(Boolean);
  return said || String(raw.summary || "");
}

function took(raw) {
  const run = raw.run || {};
  const seconds = (raw.figures || {}).duration_s ?? (new Date(run.finished_at) - new Date(run.started_at)) / 1000;
  return Number.isFinite(seconds) ? `${Number(seconds).toFixed(1)} s` : "";
}

/** Everything that `id` was made from, and everything made from it, itself included. */
export function relatives(graph, id) {
  return new Set([...reach(graph, id, "target", "source"), ...reach(graph, id, "source", "target")]);
}

function reach(graph, id, from, to) {
  const next = new Map();
  for (const edge of graph.edges) {
    if (!next.has(edge[from])) next.set(edge[from], []);
    next.get(edge[from]).push(edge[to]);
  }
  const seen = new Set([id]);
  const waiting = [id];
  while (waiting.length) {
    for (const other of next.get(waiting.pop()) || []) {
      if (!seen.has(other)) {
        seen.add(other);
        waiting.push(other);
      }
    }
  }
  return seen;
}

/** The part of the graph whose kinds are shown; paths through hidden nodes stay, as one edge. */
export function withKinds(graph, hidden) {
  if (!hidden.size) return graph;
  const nodes = new Map([...graph.nodes].filter(([, node]) => !hidden.has(node.kind)));
  const after = new Map();
  for (const edge of graph.edges) {
    if (!after.has(edge.source)) after.set(edge.source, []);
    after.get(edge.source).push(edge);
  }
  const edges = [];
  for (const id of nodes.keys()) {
    const seen = new Set();
    const waiting = [...(after.get(id) || [])].map((edge) => [edge, edge.role]);
    while (waiting.length) {
      const [edge, role] = waiting.pop();
      if (seen.has(edge.target)) continue;
      seen.add(edge.target);
      if (nodes.has(edge.target)) edges.push({ source: id, target: edge.target, role });
      else waiting.push(...(after.get(edge.target) || []).map((further) => [further, role]));
    }
  }
  return { nodes, edges };
}

export function number(value) {
  if (!Number.isFinite(Number(value))) return String(value);
  const exact = Number(value);
  if (Number.isInteger(exact)) return exact.toLocaleString("en");
  return exact.toLocaleString("en", { maximumSignificantDigits: 4 });
}

export function percent(share) {
  return `${(100 * Number(share)).toLocaleString("en", { maximumFractionDigits: 1 })} %`;
}
