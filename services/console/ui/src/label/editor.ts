// The state of the labeling page: one image, what is drawn on it, and the tool at hand. The canvas and
// the panels look at it; keys and pointers change it, by the methods here only.

import type { Size } from "./geometry";
import { begin, type History, push, redo, undo } from "./history";
import {
  accept,
  acceptAll,
  add,
  change,
  classify,
  type Doc,
  EMPTY,
  type LabelShape,
  moved,
  newId,
  remove,
  surest,
} from "./model";
import { centered, fitted, panned, type View, zoomed } from "./viewport";

export const TOOLS = ["select", "box", "polygon", "brush", "eraser", "smart", "pan"] as const;
export type Tool = (typeof TOOLS)[number];

export type Open = Size & {
  readonly asset: string;
  readonly image: ImageBitmap | HTMLImageElement | null;
};

export type Light = { readonly brightness: number; readonly contrast: number };
export const USUAL_LIGHT: Light = { brightness: 1, contrast: 1 };

export type EditorState = {
  readonly item: Open | null;
  readonly history: History<Doc>;
  readonly selected: string | null;
  readonly hovered: string | null;
  readonly tool: Tool;
  readonly className: string;
  readonly threshold: number;
  readonly hidden: ReadonlySet<string>;
  readonly locked: ReadonlySet<string>;
  readonly allHidden: boolean;
  readonly brush: number;
  readonly light: Light;
  readonly view: View;
  readonly stage: Size;
  readonly readOnly: boolean;
};

export const BRUSH_MIN = 1;
export const BRUSH_MAX = 400;
const BRUSH_STEP = 1.25;
const DUPLICATE_OFFSET = 8; // image px
const THRESHOLD_STEP = 0.05;

const FIRST: EditorState = {
  item: null,
  history: begin(EMPTY),
  selected: null,
  hovered: null,
  tool: "select",
  className: "",
  threshold: 0,
  hidden: new Set(),
  locked: new Set(),
  allHidden: false,
  brush: 12,
  light: USUAL_LIGHT,
  view: { scale: 1, x: 0, y: 0 },
  stage: { width: 1, height: 1 },
  readOnly: false,
};

export class Editor {
  #state: EditorState = FIRST;
  readonly #listeners = new Set<() => void>();

  get state(): EditorState {
    return this.#state;
  }

  get doc(): Doc {
    return this.#state.history.present;
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  getState = (): EditorState => this.#state;

  set(changes: Partial<EditorState>): void {
    this.#state = { ...this.#state, ...changes };
    for (const listener of this.#listeners) listener();
  }

  // The image --------------------------------------------------------------------------------------

  open(item: Open, doc: Doc, readOnly: boolean): void {
    this.set({
      item,
      history: begin(doc),
      selected: null,
      hovered: null,
      hidden: new Set(),
      locked: new Set(),
      allHidden: false,
      readOnly,
      view: fitted(item, this.#state.stage),
    });
  }

  close(): void {
    this.set({ item: null, history: begin(EMPTY), selected: null, hovered: null });
  }

  resize(stage: Size): void {
    const { item } = this.#state;
    this.set({ stage, ...(item && { view: fitted(item, stage) }) });
  }

  // Steps that can be undone -----------------------------------------------------------------------

  step(next: Doc): void {
    if (this.#state.readOnly) return;
    this.set({ history: push(this.#state.history, next) });
  }

  undo(): void {
    this.#recall(undo(this.#state.history));
  }

  redo(): void {
    this.#recall(redo(this.#state.history));
  }

  #recall(history: History<Doc>): void {
    const { selected } = this.#state;
    const { shapes, predictions } = history.present;
    const stays = [...shapes, ...predictions].some(({ id }) => id === selected);
    this.set({ history, selected: stays ? selected : null });
  }

  add(shape: LabelShape): void {
    this.step(add(this.doc, shape));
    this.set({ selected: shape.id });
  }

  delete(): void {
    const { selected, locked } = this.#state;
    if (!selected || locked.has(selected)) return;
    this.step(remove(this.doc, selected));
    this.set({ selected: null });
  }

  duplicate(): void {
    const { item } = this.#state;
    const shape = this.selectedShape;
    if (!shape || !item || shape.geometry.kind === "image") return;
    const geometry = moved(shape.geometry, DUPLICATE_OFFSET, DUPLICATE_OFFSET, item);
    this.add({
      ...shape,
      id: newId(),
      geometry,
      editedFrom: "",
      confidence: null,
      kept: undefined,
    });
  }

  nudge(dx: number, dy: number): void {
    const { item, locked } = this.#state;
    const shape = this.selectedShape;
    if (!shape || !item || locked.has(shape.id)) return;
    this.step(change(this.doc, shape.id, { geometry: moved(shape.geometry, dx, dy, item) }));
  }

  /** Chooses a class: of what is drawn next, of the selected shape, or of the whole image. */
  choose(className: string, ofImage: boolean): void {
    this.set({ className });
    const shape = this.selectedShape;
    if (shape && shape.geometry.kind !== "image") {
      if (shape.className !== className) this.step(change(this.doc, shape.id, { className }));
    } else if (ofImage) {
      this.step(classify(this.doc, className));
    }
  }

  paste(shapes: readonly LabelShape[]): void {
    const { item } = this.#state;
    if (!item || !shapes.length) return;
    const copies = shapes.map((shape) => ({
      ...shape,
      id: newId(),
      editedFrom: "",
      confidence: null,
      kept: undefined,
    }));
    this.step({ ...this.doc, shapes: [...this.doc.shapes, ...copies] });
  }

  toggleTag(tag: string): void {
    const { tags } = this.doc;
    const next = tags.includes(tag) ? tags.filter((one) => one !== tag) : [...tags, tag];
    this.step({ ...this.doc, tags: next });
  }

  // Predictions ------------------------------------------------------------------------------------

  isShown = (shape: LabelShape): boolean => (shape.confidence ?? 1) >= this.#state.threshold;

  get predictions(): readonly LabelShape[] {
    return this.doc.predictions.filter(this.isShown);
  }

  accept(): void {
    const shape = this.selectedShape ?? surest(this.predictions);
    if (!shape || !this.doc.predictions.includes(shape)) return;
    const next = this.predictions[this.predictions.indexOf(shape) + 1] ?? this.predictions[0];
    this.step(accept(this.doc, shape.id));
    this.set({ selected: next && next !== shape ? next.id : shape.id });
  }

  acceptAll(): void {
    this.step(acceptAll(this.doc, this.isShown));
  }

  dismiss(): void {
    const shape = this.selectedShape;
    if (!shape || !this.doc.predictions.includes(shape)) return;
    const rest = this.predictions.filter((one) => one !== shape);
    const next = rest[Math.min(this.predictions.indexOf(shape), rest.length - 1)];
    this.step(remove(this.doc, shape.id));
    this.set({ selected: next?.id ?? null });
  }

  dismissAll(): void {
    this.step({ ...this.doc, predictions: [] });
  }

  setThreshold(threshold: number): void {
    const rounded = Math.round(Math.min(1, Math.max(0, threshold)) * 100) / 100;
    this.set({ threshold: rounded });
    const shape = this.selectedShape;
    if (shape && this.doc.predictions.includes(shape) && !this.isShown(shape))
      this.set({ selected: null });
  }

  stepThreshold(direction: 1 | -1): void {
    this.setThreshold(this.#state.threshold + direction * THRESHOLD_STEP);
  }

  // Selection --------------------------------------------------------------------------------------

  get selectedShape(): LabelShape | null {
    const { selected } = this.#state;
    const all = [...this.doc.shapes, ...this.doc.predictions];
    return all.find(({ id }) => id === selected) ?? null;
  }

  /** Everything that is drawn, in the order of the list beside the image. */
  get drawn(): readonly LabelShape[] {
    const { allHidden, hidden } = this.#state;
    if (allHidden) return [];
    return [...this.doc.shapes, ...this.predictions].filter(({ id }) => !hidden.has(id));
  }

  /** Selects the next shape. Returns false behind the last one, so that the focus may move on. */
  selectNext(direction: 1 | -1): boolean {
    const shapes = this.drawn.filter(({ geometry }) => geometry.kind !== "image");
    const at = shapes.findIndex(({ id }) => id === this.#state.selected);
    const next = at < 0 ? (direction > 0 ? 0 : shapes.length - 1) : at + direction;
    const shape = shapes[next];
    this.set({ selected: shape?.id ?? null });
    return shape !== undefined;
  }

  toggleHidden(id = this.#state.selected): void {
    if (id) this.set({ hidden: toggled(this.#state.hidden, id) });
  }

  toggleLocked(id = this.#state.selected): void {
    if (id) this.set({ locked: toggled(this.#state.locked, id) });
  }

  // View -------------------------------------------------------------------------------------------

  fit(): void {
    const { item, stage } = this.#state;
    if (item) this.set({ view: fitted(item, stage) });
  }

  actualSize(): void {
    const { item, stage } = this.#state;
    if (item) this.set({ view: centered(1, item, stage) });
  }

  zoom(factor: number, at?: { x: number; y: number }): void {
    const { item, stage, view } = this.#state;
    const middle = { x: stage.width / 2, y: stage.height / 2 };
    if (item) this.set({ view: zoomed(view, factor, at ?? middle, item, stage) });
  }

  pan(dx: number, dy: number): void {
    const { item, stage, view } = this.#state;
    if (item) this.set({ view: panned(view, dx, dy, item, stage) });
  }

  growBrush(direction: 1 | -1): void {
    const grown = this.#state.brush * BRUSH_STEP ** direction;
    const different = direction > 0 ? Math.ceil(grown) : Math.floor(grown);
    this.set({ brush: Math.min(BRUSH_MAX, Math.max(BRUSH_MIN, different)) });
  }
}

function toggled(set: ReadonlySet<string>, id: string): ReadonlySet<string> {
  const next = new Set(set);
  if (!next.delete(id)) next.add(id);
  return next;
}
