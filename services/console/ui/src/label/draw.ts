// Draws shapes over an image. Knows nothing of pages: the dataset grid draws its thumbnails with it too.

import { type Box, boxBetween, HANDLES, handlePoint, type Point, pointsOf } from "./geometry";
import type { Gesture } from "./gestures";
import { type Mask, outlines } from "./mask";
import type { Geometry } from "./model";
import { toScreen, type View } from "./viewport";

export type Look = {
  colour: string;
  selected: boolean;
  hovered: boolean;
  /** Of a prediction that nobody decided on: dashed. */
  undecided: boolean;
  locked: boolean;
  label: string;
};

const HANDLE = 7; // CSS px
const FILL = 0.14;
const FILL_SELECTED = 0.26;
const MASK_ALPHA = 0.45;
const LABEL_HEIGHT = 17;
const DASH = [6, 4];

export function drawShape(
  context: CanvasRenderingContext2D,
  geometry: Geometry,
  view: View,
  look: Look,
): void {
  if (geometry.kind === "image") return;
  context.save();
  context.strokeStyle = look.colour;
  context.fillStyle = look.colour;
  context.lineWidth = look.selected || look.hovered ? 2.5 : 1.75;
  if (look.undecided) context.setLineDash(DASH);
  const alpha = look.selected ? FILL_SELECTED : look.undecided ? FILL / 2 : FILL;
  if (geometry.kind === "mask") {
    drawMask(context, geometry.mask, geometry.bounds, look.colour, view, look.selected);
    if (look.selected || look.undecided) stroke(context, outlinePath(geometry.mask, view));
  } else {
    const path =
      geometry.kind === "box" ? boxPath(geometry.box, view) : polygonPath(geometry.points, view);
    context.globalAlpha = alpha;
    context.fill(path);
    context.globalAlpha = 1;
    stroke(context, path);
  }
  context.restore();
  if (look.selected && !look.locked) drawHandles(context, geometry, view, look.colour);
  if (look.label)
    drawLabel(context, look.label, anchor(geometry, view), look.colour, look.undecided);
}

/** A dark line under the coloured one: shapes stay visible on any image. */
function stroke(context: CanvasRenderingContext2D, path: Path2D): void {
  const { lineWidth, strokeStyle } = context;
  context.lineWidth = lineWidth + 1.5;
  context.strokeStyle = "rgb(0 0 0 / 45%)";
  context.stroke(path);
  context.lineWidth = lineWidth;
  context.strokeStyle = strokeStyle;
  context.stroke(path);
}

function boxPath([xMin, yMin, xMax, yMax]: Box, view: View): Path2D {
  const a = toScreen(view, { x: xMin, y: yMin });
  const b = toScreen(view, { x: xMax, y: yMax });
  const path = new Path2D();
  path.rect(a.x, a.y, b.x - a.x, b.y - a.y);
  return path;
}

function polygonPath(polygon: readonly number[], view: View): Path2D {
  const path = new Path2D();
  trace(path, pointsOf(polygon), view);
  path.closePath();
  return path;
}

function trace(path: Path2D, points: readonly Point[], view: View): void {
  points.forEach((point, index) => {
    const { x, y } = toScreen(view, point);
    if (index === 0) path.moveTo(x, y);
    else path.lineTo(x, y);
  });
}

const outlineCache = new WeakMap<Mask, Point[][]>();

function outlinePath(mask: Mask, view: View): Path2D {
  let loops = outlineCache.get(mask);
  if (!loops) {
    loops = outlines(mask);
    outlineCache.set(mask, loops);
  }
  const path = new Path2D();
  for (const loop of loops) {
    trace(path, loop, view);
    path.closePath();
  }
  return path;
}

// Masks are painted once, in their colour, on a canvas of their bounds.
const maskCache = new WeakMap<Mask, { colour: string; canvas: HTMLCanvasElement }>();

function drawMask(
  context: CanvasRenderingContext2D,
  mask: Mask,
  bounds: Box,
  colour: string,
  view: View,
  selected: boolean,
): void {
  let painted = maskCache.get(mask);
  if (painted?.colour !== colour) {
    painted = { colour, canvas: paintMask(mask, bounds, colour) };
    maskCache.set(mask, painted);
  }
  const { x, y } = toScreen(view, { x: bounds[0], y: bounds[1] });
  context.save();
  context.globalAlpha = selected ? MASK_ALPHA + 0.12 : MASK_ALPHA;
  context.imageSmoothingEnabled = view.scale < 1;
  const { canvas } = painted;
  context.drawImage(canvas, x, y, canvas.width * view.scale, canvas.height * view.scale);
  context.restore();
}

function paintMask(mask: Mask, [left, top, right, bottom]: Box, colour: string): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = right - left;
  canvas.height = bottom - top;
  const context = canvas.getContext("2d")!;
  const [red, green, blue] = rgb(context, colour);
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const solid = (255 << 24) | (blue << 16) | (green << 8) | red; // little endian, as every browser's
  for (let row = 0; row < canvas.height; row += 1) {
    const from = (row + top) * mask.width + left;
    for (let column = 0; column < canvas.width; column += 1) {
      if (mask.data[from + column]) pixels[row * canvas.width + column] = solid;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function rgb(context: CanvasRenderingContext2D, colour: string): [number, number, number] {
  context.fillStyle = colour;
  const hex = String(context.fillStyle);
  const value = Number.parseInt(hex.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

function drawHandles(
  context: CanvasRenderingContext2D,
  geometry: Geometry,
  view: View,
  colour: string,
): void {
  const points =
    geometry.kind === "box"
      ? HANDLES.map((handle) => handlePoint(geometry.box, handle))
      : geometry.kind === "polygon"
        ? pointsOf(geometry.points)
        : [];
  context.save();
  context.fillStyle = "#fff";
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  for (const point of points) {
    const { x, y } = toScreen(view, point);
    context.beginPath();
    if (geometry.kind === "box") context.rect(x - HANDLE / 2, y - HANDLE / 2, HANDLE, HANDLE);
    else context.arc(x, y, HANDLE / 2, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
  context.restore();
}

/** Where a shape's name stands: at its top left. */
function anchor(geometry: Geometry, view: View): Point {
  if (geometry.kind === "box") return toScreen(view, { x: geometry.box[0], y: geometry.box[1] });
  if (geometry.kind === "mask")
    return toScreen(view, { x: geometry.bounds[0], y: geometry.bounds[1] });
  if (geometry.kind === "image") return toScreen(view, { x: 0, y: 0 });
  const points = pointsOf(geometry.points);
  return toScreen(
    view,
    points.reduce((top, point) => (point.y < top.y ? point : top)),
  );
}

function drawLabel(
  context: CanvasRenderingContext2D,
  text: string,
  { x, y }: Point,
  colour: string,
  undecided: boolean,
): void {
  context.save();
  context.font = "500 11px Inter, sans-serif";
  const width = context.measureText(text).width + 10;
  const top = Math.max(0, y - LABEL_HEIGHT - 1);
  context.globalAlpha = undecided ? 0.85 : 1;
  context.fillStyle = colour;
  context.beginPath();
  context.roundRect(x - 1, top, width, LABEL_HEIGHT, 4);
  context.fill();
  context.globalAlpha = 1;
  context.fillStyle = "#0b0d11";
  context.textBaseline = "middle";
  context.fillText(text, x + 4, top + LABEL_HEIGHT / 2 + 0.5);
  context.restore();
}

/** What is being drawn at this moment. */
export function drawGesture(
  context: CanvasRenderingContext2D,
  gesture: Gesture,
  view: View,
  colour: string,
): void {
  context.save();
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = 2;
  if (gesture.kind === "box" || gesture.kind === "smart") {
    if (gesture.kind === "smart") context.setLineDash(DASH);
    const path = boxPath(boxBetween(gesture.from, gesture.to), view);
    context.globalAlpha = FILL;
    context.fill(path);
    context.globalAlpha = 1;
    stroke(context, path);
  }
  if (gesture.kind === "polygon") {
    const path = new Path2D();
    trace(path, [...gesture.points, gesture.to], view);
    stroke(context, path);
    gesture.points.forEach((point, index) => {
      const { x, y } = toScreen(view, point);
      context.beginPath();
      context.arc(x, y, index === 0 ? 5 : 3.5, 0, 2 * Math.PI);
      context.fillStyle = index === 0 ? "#fff" : colour;
      context.fill();
      context.stroke();
    });
  }
  context.restore();
}

/** Lines through the pointer, edge to edge: where a box would begin. */
export function drawCross(
  context: CanvasRenderingContext2D,
  { x, y }: Point,
  width: number,
  height: number,
): void {
  context.save();
  for (const [style, offset] of [
    ["rgb(0 0 0 / 45%)", 1],
    ["rgb(255 255 255 / 60%)", 0],
  ] as const) {
    context.strokeStyle = style;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(0, y + offset);
    context.lineTo(width, y + offset);
    context.moveTo(x + offset, 0);
    context.lineTo(x + offset, height);
    context.stroke();
  }
  context.restore();
}

export function drawBrush(
  context: CanvasRenderingContext2D,
  { x, y }: Point,
  radius: number,
  colour: string,
): void {
  context.save();
  context.lineWidth = 1.5;
  for (const [style, grown] of [
    ["rgb(0 0 0 / 60%)", 1],
    [colour, 0],
  ] as const) {
    context.strokeStyle = style;
    context.beginPath();
    context.arc(x, y, radius + grown, 0, 2 * Math.PI);
    context.stroke();
  }
  context.restore();
}

/** The mask that is under the brush, drawn straight from its bytes: only the part that is touched. */
export class BrushLayer {
  #canvas: HTMLCanvasElement | null = null;
  #of: Mask | null = null;

  draw(
    context: CanvasRenderingContext2D,
    mask: Mask,
    touched: Box,
    radius: number,
    colour: string,
    view: View,
  ): void {
    if (this.#of !== mask || !this.#canvas) {
      this.#of = mask;
      this.#canvas = paintMask(mask, [0, 0, mask.width, mask.height], colour);
    }
    const box: Box = [
      Math.max(0, Math.floor(touched[0] - radius - 1)),
      Math.max(0, Math.floor(touched[1] - radius - 1)),
      Math.min(mask.width, Math.ceil(touched[2] + radius + 1)),
      Math.min(mask.height, Math.ceil(touched[3] + radius + 1)),
    ];
    if (box[2] > box[0] && box[3] > box[1]) {
      const own = this.#canvas.getContext("2d")!;
      own.clearRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
      own.drawImage(paintMask(mask, box, colour), box[0], box[1]);
    }
    context.save();
    context.globalAlpha = MASK_ALPHA + 0.12;
    context.imageSmoothingEnabled = view.scale < 1;
    context.drawImage(
      this.#canvas,
      view.x,
      view.y,
      mask.width * view.scale,
      mask.height * view.scale,
    );
    context.restore();
  }

  forget(): void {
    this.#canvas = null;
    this.#of = null;
  }
}
