// What a pointer does with each tool, from the first press to the last release: each gesture keeps what
// is being drawn and becomes one step that can be undone.

import type { Editor } from "./editor";
import {
  type Box,
  boxBetween,
  HANDLES,
  type Handle,
  handlePoint,
  inside,
  isBoxDrawable,
  nearestEdge,
  type Point,
  pointsOf,
  polygonOf,
  resizeBox,
} from "./geometry";
import { Mask } from "./mask";
import { change, type Geometry, hit, type LabelShape, maskGeometry, moved, newId } from "./model";

export type Gesture =
  | { kind: "box" | "smart"; from: Point; to: Point }
  | { kind: "polygon"; points: readonly Point[]; to: Point }
  | { kind: "brush"; shape: LabelShape | null; mask: Mask; last: Point; value: 0 | 1; touched: Box }
  | { kind: "move"; shape: LabelShape; from: Point; geometry: Geometry }
  | { kind: "resize"; shape: LabelShape; handle: Handle; geometry: Geometry }
  | { kind: "vertex"; shape: LabelShape; index: number; geometry: Geometry }
  | { kind: "pan"; last: Point };

export type Press = {
  /** In the image's pixels. */
  at: Point;
  /** In CSS pixels of the stage. */
  screen: Point;
  pans: boolean;
  double: boolean;
  alt: boolean;
};

const GRIP = 8; // CSS px around a handle that still take hold of it
const CLOSE = 10; // CSS px around the first corner that close a polygon

export class Gestures {
  current: Gesture | null = null;
  readonly #editor: Editor;
  readonly #onSmart: (box: Box) => void;
  readonly #changed: () => void;

  constructor(editor: Editor, onSmart: (box: Box) => void, changed: () => void) {
    this.#editor = editor;
    this.#onSmart = onSmart;
    this.#changed = changed;
  }

  get isDrawing(): boolean {
    return this.current !== null && this.current.kind !== "pan";
  }

  press(press: Press): void {
    const { tool, item, readOnly } = this.#editor.state;
    if (!item) return;
    if (press.pans || tool === "pan") this.#start({ kind: "pan", last: press.screen });
    else if (readOnly) this.#pick(press);
    else if (tool === "polygon") this.#corner(press);
    else if (tool === "brush" || tool === "eraser")
      this.#paint(press, (tool === "brush") !== press.alt ? 1 : 0);
    else if (tool === "box" || tool === "smart") this.#grab(press, tool);
    else this.#takeHold(press);
  }

  move(at: Point, screen: Point): void {
    const { item } = this.#editor.state;
    const gesture = this.current;
    if (!item || !gesture) return;
    if (gesture.kind === "pan") {
      this.#editor.pan(screen.x - gesture.last.x, screen.y - gesture.last.y);
      gesture.last = screen;
      return;
    }
    if (gesture.kind === "brush") this.#stroke(gesture, at);
    else if (gesture.kind === "move") {
      const by = [at.x - gesture.from.x, at.y - gesture.from.y] as const;
      gesture.geometry = moved(gesture.shape.geometry, ...by, item);
    } else if (gesture.kind === "resize") {
      const { geometry } = gesture.shape;
      if (geometry.kind === "box") {
        gesture.geometry = { kind: "box", box: resizeBox(geometry.box, gesture.handle, at, item) };
      }
    } else if (gesture.kind === "vertex") this.#dragCorner(gesture, inside(at, item));
    else gesture.to = inside(at, item);
    this.#changed();
  }

  release(): void {
    const gesture = this.current;
    if (!gesture || gesture.kind === "polygon") return;
    this.current = null;
    if (gesture.kind === "box" || gesture.kind === "smart") this.#endBox(gesture);
    else if (gesture.kind === "brush") this.#endBrush(gesture);
    else if ("geometry" in gesture && gesture.geometry !== gesture.shape.geometry) {
      this.#editor.step(change(this.#editor.doc, gesture.shape.id, { geometry: gesture.geometry }));
    }
    this.#changed();
  }

  /** Leaves what is being drawn. Returns whether there was anything. */
  cancel(): boolean {
    const was = this.isDrawing;
    this.current = null;
    this.#changed();
    return was;
  }

  /** Closes the polygon that is being drawn. Returns whether there was one. */
  finish(): boolean {
    if (this.current?.kind !== "polygon") return false;
    const { points } = this.current;
    this.current = null;
    if (points.length >= 3) this.#add({ kind: "polygon", points: polygonOf(points) });
    this.#changed();
    return true;
  }

  /** Takes the last corner back. Returns whether a polygon is being drawn. */
  undoCorner(): boolean {
    if (this.current?.kind !== "polygon") return false;
    const points = this.current.points.slice(0, -1);
    this.current = points.length ? { ...this.current, points } : null;
    this.#changed();
    return true;
  }

  #start(gesture: Gesture): void {
    this.current = gesture;
    this.#changed();
  }

  #pick({ at }: Press): void {
    const found = hit(this.#editor.drawn, at, this.#reach(2));
    this.#editor.set({ selected: found?.id ?? null });
  }

  #takeHold(press: Press): void {
    if (this.#takeGrip(press)) return;
    this.#pick(press);
    const shape = this.#editor.selectedShape;
    if (!shape || this.#editor.state.locked.has(shape.id) || shape.geometry.kind === "image")
      return;
    this.#start({ kind: "move", shape, from: press.at, geometry: shape.geometry });
  }

  /** With the box tool, the selected shape's handles can still be dragged. */
  #grab(press: Press, tool: "box" | "smart"): void {
    const { item } = this.#editor.state;
    if (tool === "box" && this.#takeGrip(press)) return;
    const from = inside(press.at, item!);
    this.#start({ kind: tool, from, to: from });
  }

  #takeGrip({ at, double, alt }: Press): boolean {
    const shape = this.#editor.selectedShape;
    if (!shape || this.#editor.state.locked.has(shape.id)) return false;
    const { geometry } = shape;
    const reach = this.#reach(GRIP);
    if (geometry.kind === "box") {
      const handle = HANDLES.find((one) => near(handlePoint(geometry.box, one), at, reach));
      if (handle) this.#start({ kind: "resize", shape, handle, geometry });
      return handle !== undefined;
    }
    if (geometry.kind !== "polygon") return false;
    const points = pointsOf(geometry.points);
    const index = points.findIndex((point) => near(point, at, reach));
    if (index >= 0 && alt) {
      if (points.length > 3)
        this.#replace(
          shape,
          points.filter((_, i) => i !== index),
        );
      return true;
    }
    if (index >= 0) this.#start({ kind: "vertex", shape, index, geometry });
    else if (double) {
      const edge = nearestEdge(geometry.points, at);
      if (edge.distance > reach) return false;
      this.#replace(shape, points.toSpliced(edge.index + 1, 0, edge.at));
    }
    return index >= 0 || double;
  }

  #replace(shape: LabelShape, points: readonly Point[]): void {
    const geometry: Geometry = { kind: "polygon", points: polygonOf(points) };
    this.#editor.step(change(this.#editor.doc, shape.id, { geometry }));
  }

  #dragCorner(gesture: Gesture & { kind: "vertex" }, to: Point): void {
    const { geometry } = gesture.shape;
    if (geometry.kind !== "polygon") return;
    const points = [...geometry.points];
    points[2 * gesture.index] = to.x;
    points[2 * gesture.index + 1] = to.y;
    gesture.geometry = { kind: "polygon", points };
  }

  #corner({ at, double }: Press): void {
    const { item } = this.#editor.state;
    const point = inside(at, item!);
    if (this.current?.kind !== "polygon") {
      if (
        this.#editor.selectedShape?.geometry.kind === "polygon" &&
        this.#takeGrip({ at, double, alt: false, screen: at, pans: false })
      )
        return;
      this.#editor.set({ selected: null });
      this.#start({ kind: "polygon", points: [point], to: point });
      return;
    }
    const { points } = this.current;
    const closes = points.length >= 3 && (double || near(points[0]!, point, this.#reach(CLOSE)));
    if (closes) this.finish();
    else this.#start({ kind: "polygon", points: [...points, point], to: point });
  }

  #paint({ at }: Press, value: 0 | 1): void {
    const { item, locked } = this.#editor.state;
    const selected = this.#editor.selectedShape;
    const own = selected?.geometry.kind === "mask" && !locked.has(selected.id) ? selected : null;
    if (!own && value === 0) return;
    const mask = own?.geometry.kind === "mask" ? own.geometry.mask.copy() : new Mask(item!);
    this.#start({
      kind: "brush",
      shape: own,
      mask,
      last: at,
      value,
      touched: [at.x, at.y, at.x, at.y],
    });
    this.#stroke(this.current as Gesture & { kind: "brush" }, at);
  }

  #stroke(gesture: Gesture & { kind: "brush" }, to: Point): void {
    const radius = this.#editor.state.brush / 2;
    gesture.mask.stroke(gesture.last, to, Math.max(0.5, radius), gesture.value);
    gesture.touched = [
      Math.min(gesture.touched[0], gesture.last.x, to.x),
      Math.min(gesture.touched[1], gesture.last.y, to.y),
      Math.max(gesture.touched[2], gesture.last.x, to.x),
      Math.max(gesture.touched[3], gesture.last.y, to.y),
    ];
    gesture.last = to;
    this.#changed();
  }

  #endBrush({ shape, mask }: Gesture & { kind: "brush" }): void {
    const geometry = maskGeometry(mask);
    if (!shape) {
      if (geometry) this.#add(geometry);
    } else if (geometry) {
      this.#editor.step(change(this.#editor.doc, shape.id, { geometry }));
    } else {
      this.#editor.delete(); // nothing is left of it
    }
  }

  #endBox({ kind, from, to }: Gesture & { kind: "box" | "smart" }): void {
    const box = boxBetween(from, to);
    if (kind === "smart") this.#onSmart(box);
    else if (isBoxDrawable(box)) this.#add({ kind: "box", box });
    else this.#pick({ at: from, screen: from, pans: false, double: false, alt: false });
  }

  #add(geometry: Geometry): void {
    const { className } = this.#editor.state;
    this.#editor.add({ id: newId(), className, geometry, confidence: null, editedFrom: "" });
  }

  /** CSS pixels, in the image's. */
  #reach(pixels: number): number {
    return pixels / this.#editor.state.view.scale;
  }
}

const near = (a: Point, b: Point, reach: number): boolean =>
  Math.hypot(a.x - b.x, a.y - b.y) <= reach;
