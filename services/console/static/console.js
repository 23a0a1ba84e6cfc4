// The page: asks for the graph, keeps it fresh, and ties canvas, panel, search and address together.

import { Canvas } from "./canvas.js";
import { readGraph, relatives, withKinds, number } from "./graph.js";
import { KINDS, wordOf } from "./kinds.js";
import { showNode } from "./panel.js";

const REFRESH_MS = 2000;
const REFRESH_MAX_MS = 15000;
const NODES_MAX = 10000; // before the service folds crowds of labels
const HIDDEN_AT_FIRST = ["run", "report"]; // a version's run is told in its panel
const at = (id) => document.getElementById(id);

const page = {
  graph: { nodes: new Map(), edges: [] },
  shown: { nodes: new Map(), edges: [] },
  hidden: new Set(HIDDEN_AT_FIRST),
  tag: "",
  selected: null,
  failures: 0,
};
const canvas = new Canvas(at("canvas"), select);

async function refresh() {
  try {
    const answer = await fetch(`api/v1/graph?limit=${NODES_MAX}`, {
      headers: page.tag ? { "if-none-match": page.tag } : {}, cache: "no-store",
    });
    if (answer.status !== 304 && !answer.ok) throw new Error(await reasonOf(answer));
    page.failures = 0;
    if (answer.status === 200) {
      page.tag = answer.headers.get("etag") || "";
      page.graph = readGraph(await answer.json());
      draw();
    }
    say("live", liveText());
    show("empty", page.graph.nodes.size === 0);
  } catch (error) {
    page.failures += 1;
    say("lost", "not live: trying again");
    at("status").title = at("reason").textContent = error.message;
    show("empty", false);
  }
  show("unreachable", page.failures > 0 && page.graph.nodes.size === 0);
  show("loading", false);
}

function liveText() {
  const count = page.graph.nodes.size;
  if (!count) return "live";
  const part = page.graph.isPart ? " (the newest)" : "";
  return `${number(count)} nodes${part} · live`;
}

async function reasonOf(answer) {
  try {
    const body = await answer.json();
    return body.detail || body.error || `HTTP ${answer.status}`;
  } catch {
    return `HTTP ${answer.status}`;
  }
}

async function keepFresh() {
  for (;;) {
    if (document.visibilityState === "visible") await refresh();
    const wait = Math.min(REFRESH_MS * 2 ** page.failures, REFRESH_MAX_MS);
    await new Promise((resolve) => { setTimeout(resolve, wait); });
  }
}

function draw() {
  page.shown = withKinds(page.graph, page.hidden);
  canvas.draw(page.shown);
  drawFilters();
  find(at("search").value);
  const wanted = addressed();
  if (wanted && page.selected !== wanted && page.graph.nodes.has(wanted)) select(wanted, true);
  else if (page.selected) relight();
}

function drawFilters() {
  const counts = new Map();
  for (const node of page.graph.nodes.values()) counts.set(node.kind, (counts.get(node.kind) || 0) + 1);
  at("filters").replaceChildren(...KINDS.filter((kind) => counts.has(kind)).map((kind) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = `filter ${kind}`;
    button.setAttribute("aria-pressed", String(!page.hidden.has(kind)));
    button.append(Object.assign(document.createElement("i"), { className: "dot" }), `${wordOf(kind)} ${counts.get(kind)}`);
    button.addEventListener("click", () => {
      if (!page.hidden.delete(kind)) page.hidden.add(kind);
      draw();
    });
    return button;
  }));
}

function select(id, bringIntoSight = false) {
  page.selected = id && page.graph.nodes.has(id) ? id : null;
  const hash = page.selected ? `#node=${encodeURIComponent(page.selected)}` : "";
  if (location.hash !== hash) history.replaceState(null, "", hash || location.pathname + location.search);
  document.body.classList.toggle("with-panel", Boolean(page.selected));
  relight();
  if (!page.selected) return;
  if (!page.shown.nodes.has(page.selected)) reveal(page.graph.nodes.get(page.selected).kind);
  showPanel();
  if (bringIntoSight) requestAnimationFrame(() => canvas.center(page.selected));
}

function reveal(kind) {
  page.hidden.delete(kind);
  draw();
}

function relight() {
  const id = page.selected;
  canvas.select(id, id ? relatives(page.shown, id) : null);
}

async function showPanel() {
  const node = page.graph.nodes.get(page.selected);
  const near = {
    inputs: around(node, "target", "source"),
    outputs: around(node, "source", "target").filter((one) => one.node.kind !== "report"),
    reports: reportsOf(node),
  };
  const show = (detail, run) => {
    if (page.selected !== node.id) return;
    showNode(at("detail"), node, detail, run, near, (id) => select(id, !canvas.isInSight(id)));
  };
  show({}, null);
  if (node.folded) return;
  const [detail, run] = await Promise.all([ask(node.id), node.run ? ask(node.run.id) : null]);
  show(detail || {}, node.kind === "run" ? detail : run);
}

async function ask(id) {
  const answer = await fetch(`api/v1/nodes/${encodeURIComponent(id)}`).catch(() => null);
  return answer && answer.ok ? answer.json() : null;
}

/** The neighbours of a node; a version's are those of the run that made it. */
function around(node, mine, others) {
  const seen = new Set();
  const graph = node.kind === "run" ? page.graph : withKinds(page.graph, new Set(["run"]));
  return graph.edges
    .filter((edge) => edge[mine] === node.id && !seen.has(edge[others]) && seen.add(edge[others]))
    .map((edge) => ({ node: graph.nodes.get(edge[others]), role: edge.role }))
    .sort((a, b) => (a.node.sequence || 0) - (b.node.sequence || 0));
}

function find(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return canvas.find(null);
  const found = new Set();
  for (const node of page.shown.nodes.values()) {
    const said = [node.title, node.badge, node.word, node.line, node.summary, node.digest, node.id];
    if (said.join(" ").toLowerCase().includes(wanted)) found.add(node.id);
  }
  canvas.find(found);
  return found;
}

/** The files that the run of a version made beside it. */
function reportsOf(node) {
  const run = node.kind === "run" ? node.id : node.run && node.run.id;
  return page.graph.edges
    .filter((edge) => edge.source === run && page.graph.nodes.get(edge.target).kind === "report")
    .map((edge) => ({ node: page.graph.nodes.get(edge.target), role: "report" }));
}

function addressed() {
  return new URLSearchParams(location.hash.slice(1)).get("node");
}

function say(state, text) {
  at("status").title = "";
  at("status").className = state;
  at("status-text").textContent = text;
}

function show(id, shown) {
  at(id).hidden = !shown;
}

function listen() {
  at("search").addEventListener("input", (event) => find(event.target.value));
  at("search").addEventListener("keydown", (event) => {
    const found = event.key === "Enter" && find(event.target.value);
    if (found && found.size) select([...found][0], true);
  });
  at("fit").addEventListener("click", () => canvas.fit());
  at("closer").addEventListener("click", () => canvas.zoomBy(1.3));
  at("farther").addEventListener("click", () => canvas.zoomBy(1 / 1.3));
  at("close").addEventListener("click", () => select(null));
  window.addEventListener("hashchange", () => select(addressed(), true));
  window.addEventListener("keydown", (event) => {
    if (event.target instanceof HTMLInputElement) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const actions = {
      Escape: () => select(null), f: () => canvas.fit(), "+": () => canvas.zoomBy(1.3),
      "-": () => canvas.zoomBy(1 / 1.3), "/": () => at("search").focus(),
    };
    if (actions[event.key] && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      actions[event.key]();
    }
  });
  document.addEventListener("visibilitychange", refresh);
}

listen();
keepFresh();
