// The side panel: everything that is known of one node.

import { number, percent, words } from "./graph.js";

const GROUPS = {
  class: "Classes", split: "Splits", labeled: "Labeled by split", f1: "F1 by class",
  precision: "Precision by class", recall: "Recall by class", support: "Images by class",
};
const NEAR_SHOWN = 10;
const FIRST = ["items", "labeled", "accuracy", "macro_f1", "map50"];
const SHARES = /(^|[:_])(accuracy|precision|recall|f1|agreement|calibration_error|map50|map)(:|$)/i;

/**
 * @param {HTMLElement} place
 * @param {object} node of the graph
 * @param {object} detail of GET /v1/nodes/{id}; {} until it is there
 * @param {object | null} made the node of the run that made it, with its details
 * @param {{inputs: object[], outputs: object[], reports: object[]}} near nodes with the role of their edge
 * @param {(id: string) => void} go
 */
export function showNode(place, node, detail, made, near, go) {
  const all = { ...node, ...detail, kind: node.kind };
  const run = (made && made.details) || {};
  place.replaceChildren(
    heading(node),
    all.summary ? make("p", "summary", all.summary) : "",
    ...figures("Figures", all.figures),
    neighbours("Made from", near.inputs, go),
    neighbours("Used by", near.outputs, go),
    neighbours("Reports", near.reports, go),
    runSection(run, made),
    ...figures("Figures of the run", node.kind === "run" ? {} : made && made.figures),
    tree("Parameters", run.parameters),
    node.kind === "run" ? "" : tree("Details", all.details),
    identity(all),
    tree("Environment", run.environment),
  );
  place.scrollTop = 0;
}

function heading(node) {
  const head = make("header", `heading ${node.kind}`);
  const name = make("h2", "", node.title);
  if (node.badge) name.append(make("span", "version", node.badge));
  head.append(make("span", "chip", node.word), name);
  return head;
}

function section(title, ...content) {
  const kept = content.filter(Boolean); // a table without rows is ""
  if (!kept.length) return "";
  const part = make("section", "");
  part.append(make("h3", "", title), ...kept);
  return part;
}

/** A table of single figures, then bars for each family of them: "class:coat", "class:shirt". */
function figures(title, values) {
  const families = new Map([["", []]]);
  for (const [name, value] of Object.entries(values || {})) {
    const cut = name.lastIndexOf(":");
    const family = name.slice(0, Math.max(cut, 0));
    if (!families.has(family)) families.set(family, []);
    families.get(family).push([name.slice(cut + 1), Number(value)]);
  }
  return [...families].map(([family, rows]) => {
    if (family) return bars(GROUPS[family] || words(family), rows, family);
    rows.sort(([a], [b]) => place(a) - place(b) || a.localeCompare(b));
    return section(title, table(rows.map(([name, value]) => [words(name.replace(/_s$/, "")), figure(name, value)])));
  });
}

const place = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);

function figure(name, value) {
  if (name.endsWith("_s")) return duration(value);
  return SHARES.test(name) && value <= 1 ? percent(value) : number(value);
}

function bars(title, rows, family) {
  const shares = SHARES.test(family) && rows.every(([, value]) => value <= 1);
  const most = shares ? 1 : Math.max(...rows.map(([, value]) => value));
  const list = make("div", "bars");
  for (const [name, value] of rows.sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]))) {
    const bar = make("div", "bar");
    const track = make("span", "track");
    track.append(make("i", ""));
    track.firstChild.style.width = `${(100 * value) / (most || 1)}%`;
    bar.append(make("span", "name", name), track, make("span", "value", shares ? percent(value) : number(value)));
    list.append(bar);
  }
  return section(title, list);
}

function neighbours(title, nodes, go) {
  if (!nodes.length) return "";
  const list = make("ul", "links");
  const add = (some) => list.append(...some.map((one) => neighbour(one, go)));
  add(nodes.slice(0, NEAR_SHOWN));
  const rest = nodes.slice(NEAR_SHOWN);
  if (!rest.length) return section(title, list);
  const more = make("button", "more", `${number(rest.length)} more`);
  more.type = "button";
  more.addEventListener("click", () => {
    add(rest);
    more.remove();
  });
  return section(title, list, more);
}

function neighbour({ node, role }, go) {
  const link = make("button", `link ${node.kind}`);
  link.type = "button";
  link.append(make("i", "dot"), make("span", "what", node.title));
  if (node.badge) link.append(make("span", "version", node.badge));
  link.append(make("span", "role", words(role || node.word)));
  link.addEventListener("click", () => go(node.id));
  const item = make("li", "");
  item.append(link);
  return item;
}

function runSection(run, made) {
  if (!run.id) return "";
  const actor = run.actor || {};
  const agent = run.agent || {};
  return section("Run", table([
    ["step", words(run.kind)],
    ["asked by", [actor.kind, actor.name].filter(Boolean).join(" ")],
    ["done by", [agent.service, agent.host].filter(Boolean).join(" on ")],
    ["started", moment(run.started_at)],
    ["took", took(run, made.figures || {})],
    ["run id", digest(run.id.replace(/^run:/, ""))],
    ["trace", run.trace_id ? digest(run.trace_id) : ""],
  ]));
}

function took(run, figures) {
  if (figures.duration_s !== undefined) return duration(Number(figures.duration_s));
  if (!run.started_at || !run.finished_at) return "";
  return duration((new Date(run.finished_at) - new Date(run.started_at)) / 1000);
}

function identity(node) {
  return section("Identity", table([
    ["digest", node.digest ? digest(node.digest) : ""],
    ["committed", moment(node.committed_at)],
    ["log sequence", node.sequence ? number(node.sequence) : ""],
    ["node", digest(node.id)],
  ]));
}

function tree(title, value) {
  return isEmpty(value) ? "" : section(title, branch(value));
}

function branch(value) {
  if (value === null || typeof value !== "object") return make("span", "leaf", String(value));
  const rows = Object.entries(value).filter(([, inner]) => !isEmpty(inner));
  return table(rows.map(([name, inner]) => [words(name), isDigest(inner) ? digest(inner) : cell(inner)]));
}

function cell(value) {
  if (Array.isArray(value) && value.every((inner) => typeof inner !== "object")) {
    return make("span", "leaf", value.join(", "));
  }
  if (typeof value === "string" && value.includes("\n")) return make("pre", "", value);
  return branch(value);
}

function table(rows) {
  const kept = rows.filter(([, value]) => value !== "" && value !== undefined && value !== null);
  if (!kept.length) return "";
  const list = make("dl", "");
  for (const [name, value] of kept) {
    const term = make("dt", "", name);
    const said = make("dd", "");
    said.append(value);
    if (value instanceof HTMLElement && (value.tagName === "DL" || value.tagName === "PRE")) {
      term.classList.add("wide");
      said.classList.add("wide");
    }
    list.append(term, said);
  }
  return list;
}

function digest(value) {
  const button = make("button", "digest", value.length > 20 ? `${value.slice(0, 16)}…` : value);
  button.type = "button";
  button.title = `${value}\nClick to copy`;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(value);
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1200);
  });
  return button;
}

const isDigest = (value) => typeof value === "string" && /^[0-9a-f]{32,64}$/.test(value);

function isEmpty(value) {
  if (value === null || value === undefined || value === "") return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

function moment(value) {
  if (!value) return "";
  const at = new Date(value);
  return Number.isNaN(at.getTime()) ? String(value) : at.toLocaleString("en-GB", {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
}

function duration(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function make(tag, cls, content) {
  const made = document.createElement(tag);
  if (cls) made.className = cls;
  if (content !== undefined) made.textContent = content;
  return made;
}
