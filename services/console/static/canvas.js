// Draws the graph as SVG and moves the view: wheel or pinch zooms at the pointer, dragging pans.

import { layOut, sizeOf } from "./layout.js";
import { signOf } from "./kinds.js";

const SVG = "http://www.w3.org/2000/svg";
const ZOOM_MIN = 0.04;
const ZOOM_MAX = 2;
const FIT_MARGIN = 40;
const READABLE_ZOOM = 0.5;
const FIT_ZOOM_MAX = 1;
const TITLE_LENGTH = 18;
const LINE_LENGTH = 25;
const PILL_LENGTH = 13;
const SMALL_ZOOM = 0.3; // below it, only colours and signs are drawn
const DRAG_THRESHOLD = 4;

export class Canvas {
  /** @param {SVGSVGElement} svg @param {(id: string | null) => void} onSelect */
  constructor(svg, onSelect) {
    this.svg = svg;
    this.onSelect = onSelect;
    this.world = element("g", {}, svg);
    this.edgeLayer = element("g", { class: "edges" }, this.world);
    this.cardLayer = element("g", { class: "cards" }, this.world);
    this.view = { x: 0, y: 0, zoom: 1 };
    this.cards = new Map();
    this.lines = [];
    this.placed = null;
    this.pristine = true; // the view was never moved by hand: keep everything in sight
    this.listen();
  }

  /** Draw `graph`; what was not there before is marked as new. */
  draw(graph) {
    const known = new Set(this.cards.keys());
    const anchor = this.anchor();
    this.graph = graph;
    this.placed = layOut([...graph.nodes.values()], graph.edges);
    this.edgeLayer.replaceChildren();
    this.cardLayer.replaceChildren();
    this.lines = graph.edges.map((edge) => this.drawEdge(edge));
    this.cards = new Map([...graph.nodes.values()].map((node) => [node.id, this.drawCard(node)]));
    if (known.size) {
      for (const [id, card] of this.cards) card.classList.toggle("new", !known.has(id));
    }
    this.restore(anchor);
  }

  drawEdge(edge) {
    const from = this.placed.positions.get(edge.source);
    const to = this.placed.positions.get(edge.target);
    const source = sizeOf(this.graph.nodes.get(edge.source));
    const target = sizeOf(this.graph.nodes.get(edge.target));
    const points = [
      { x: from.x + source.width, y: from.y + source.height / 2 },
      ...this.placed.routes.get(edge).flatMap(({ x, end, y }) => [{ x, y }, { x: end, y }]),
      { x: to.x, y: to.y + target.height / 2 },
    ];
    const line = element("path", { d: curve(points), class: `edge ${edge.role}` }, this.edgeLayer);
    const title = element("title", {}, line);
    title.textContent = (edge.role || "input").replace(/_/g, " ");
    return { edge, line };
  }

  drawCard(node) {
    const { x, y } = this.placed.positions.get(node.id);
    const card = element("g", {
      class: `card ${node.kind}`, transform: `translate(${x} ${y})`,
      tabindex: 0, role: "button", "aria-label": `${node.word} ${node.title} ${node.badge}. ${node.line}`,
    }, this.cardLayer);
    card.dataset.id = node.id;
    element("title", {}, card).textContent = [node.title, node.badge, node.summary].filter(Boolean).join(" ");
    if (node.kind === "run") drawPill(card, node);
    else drawPlate(card, node);
    return card;
  }

  /** Light up `id` and what `related` holds; null lights everything. */
  select(id, related) {
    this.selected = id;
    this.svg.classList.toggle("selecting", Boolean(id));
    for (const [other, card] of this.cards) {
      card.classList.toggle("selected", other === id);
      card.classList.toggle("lit", Boolean(related && related.has(other)));
    }
    for (const { edge, line } of this.lines) {
      const isNear = edge.role !== "flow" || edge.source === id || edge.target === id;
      const lit = Boolean(related && isNear && related.has(edge.source) && related.has(edge.target));
      line.classList.toggle("lit", lit);
      if (lit) line.parentNode.appendChild(line);
    }
  }

  /** Show only the cards in `found` at full strength; null for all. */
  find(found) {
    this.svg.classList.toggle("finding", Boolean(found));
    for (const [id, card] of this.cards) card.classList.toggle("found", Boolean(found && found.has(id)));
  }

  /** The first view: all of it where that can be read, else the newest part. */
  home() {
    this.fit();
    if (this.cards.size && this.view.zoom < READABLE_ZOOM) this.showNewest();
    this.pristine = true;
  }

  showNewest() {
    const newest = [...this.graph.nodes.values()].reduce((a, b) => (b.sequence > a.sequence ? b : a));
    const place = this.placed.positions.get(newest.id);
    const { width, height } = this.size();
    this.look({
      zoom: READABLE_ZOOM,
      x: width - FIT_MARGIN - (place.x + sizeOf(newest).width) * READABLE_ZOOM,
      y: height / 2 - place.y * READABLE_ZOOM,
    });
  }

  fit() {
    if (!this.placed || !this.cards.size) return;
    const { width, height } = this.size();
    const across = (width - 2 * FIT_MARGIN) / this.placed.width;
    const down = (height - 2 * FIT_MARGIN) / this.placed.height;
    const zoom = Math.max(ZOOM_MIN, Math.min(across, down, FIT_ZOOM_MAX));
    this.look({
      zoom,
      x: (width - this.placed.width * zoom) / 2,
      y: (height - this.placed.height * zoom) / 2,
    });
    this.pristine = false;
  }

  zoomBy(factor) {
    const { width, height } = this.size();
    this.zoomAt(width / 2, height / 2, factor);
  }

  /** Bring a card into the middle, near enough to read. */
  center(id) {
    const place = this.placed && this.placed.positions.get(id);
    if (!place) return;
    const { width, height } = this.size();
    const card = sizeOf(this.graph.nodes.get(id));
    const zoom = Math.max(this.view.zoom, 0.8);
    this.look({
      zoom,
      x: width / 2 - (place.x + card.width / 2) * zoom,
      y: height / 2 - (place.y + card.height / 2) * zoom,
    });
    this.pristine = false;
  }

  isInSight(id) {
    const place = this.placed && this.placed.positions.get(id);
    if (!place) return false;
    const { width, height } = this.size();
    const { zoom } = this.view;
    const card = sizeOf(this.graph.nodes.get(id));
    const x = place.x * zoom + this.view.x;
    const y = place.y * zoom + this.view.y;
    return x > 0 && y > 0 && x + card.width * zoom < width && y + card.height * zoom < height;
  }

  size() {
    return this.svg.getBoundingClientRect();
  }

  anchor() {
    const place = this.placed && this.selected && this.placed.positions.get(this.selected);
    return place ? { id: this.selected, ...place } : null;
  }

  restore(anchor) {
    const now = anchor && this.placed.positions.get(anchor.id);
    if (this.pristine) this.home();
    else if (now) {
      this.look({
        ...this.view,
        x: this.view.x + (anchor.x - now.x) * this.view.zoom,
        y: this.view.y + (anchor.y - now.y) * this.view.zoom,
      });
    }
  }

  look(view) {
    this.view = view;
    this.world.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.zoom})`);
    this.svg.classList.toggle("small", view.zoom < SMALL_ZOOM);
  }

  zoomAt(x, y, factor) {
    const zoom = Math.min(ZOOM_MAX, Math.max(ZOOM_MIN, this.view.zoom * factor));
    const scale = zoom / this.view.zoom;
    this.look({ zoom, x: x - (x - this.view.x) * scale, y: y - (y - this.view.y) * scale });
    this.pristine = false;
  }

  listen() {
    const { svg } = this;
    let drag = null;
    svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = this.size();
      const speed = event.ctrlKey ? 0.01 : 0.0015;
      this.zoomAt(event.clientX - box.left, event.clientY - box.top, Math.exp(-event.deltaY * speed));
    }, { passive: false });
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      drag = { x: event.clientX, y: event.clientY, view: { ...this.view }, moved: false, on: idAt(event.target) };
    });
    window.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const dx = event.clientX - drag.x;
      const dy = event.clientY - drag.y;
      drag.moved ||= Math.hypot(dx, dy) > DRAG_THRESHOLD;
      if (!drag.moved) return;
      this.pristine = false;
      svg.classList.add("dragging");
      this.look({ ...drag.view, x: drag.view.x + dx, y: drag.view.y + dy });
    });
    window.addEventListener("pointerup", () => {
      if (drag && !drag.moved) this.onSelect(drag.on);
      svg.classList.remove("dragging");
      drag = null;
    });
    svg.addEventListener("keydown", (event) => {
      const id = idAt(event.target);
      if (id && (event.key === "Enter" || event.key === " ")) {
        event.preventDefault();
        this.onSelect(id);
      }
    });
    new ResizeObserver(() => { if (this.pristine) this.home(); }).observe(svg);
  }
}

function drawPlate(card, node) {
  const { width, height } = sizeOf(node);
  if (node.folded) element("rect", { class: "behind", x: 5, y: 5, width, height, rx: 10 }, card);
  element("rect", { class: "plate", width, height, rx: 10 }, card);
  element("rect", { class: "tile", x: 10, y: 14, width: 40, height: 40, rx: 8 }, card);
  element("path", { class: "sign", d: signOf(node.kind), transform: "translate(18 22)" }, card);
  text(card, 60, 20, "kind", node.word);
  text(card, 60, 39, "title", middleCut(node.title, TITLE_LENGTH));
  text(card, 60, 56, "line", shortened(node.line, LINE_LENGTH));
  if (node.badge) text(card, width - 12, 20, "badge", node.badge);
}

function drawPill(card, node) {
  const { width, height } = sizeOf(node);
  element("rect", { class: "plate", width, height, rx: height / 2 }, card);
  element("path", { class: "sign", d: signOf("run"), transform: "translate(10 8) scale(.75)" }, card);
  text(card, 32, 21, "title", shortened(node.title, PILL_LENGTH));
}

function idAt(target) {
  const card = target.closest && target.closest(".card");
  return card ? card.dataset.id : null;
}

function curve(points) {
  let path = `M${points[0].x} ${points[0].y}`;
  for (let index = 1; index < points.length; index += 1) {
    const from = points[index - 1];
    const to = points[index];
    const bend = (to.x - from.x) / 2;
    path += from.y === to.y
      ? `L${to.x} ${to.y}`
      : `C${from.x + bend} ${from.y} ${to.x - bend} ${to.y} ${to.x} ${to.y}`;
  }
  return path;
}

function shortened(value, length) {
  return value.length > length ? `${value.slice(0, length - 1).trimEnd()}…` : value;
}

/** Names differ at their ends: "catalogue-relabel-8" keeps its number. */
function middleCut(value, length) {
  if (value.length <= length) return value;
  const end = Math.floor(length / 3);
  return `${value.slice(0, length - end - 1)}…${value.slice(-end)}`;
}

function text(parent, x, y, cls, value) {
  element("text", { x, y, class: cls }, parent).textContent = value;
}

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.appendChild(made);
  return made;
}
