// What is on an image while it is labeled: shapes of one's own, predictions not yet decided on, tags.
// Values never change: a step makes new ones that share what stayed.

import {
  type Box,
  boundsOf,
  boxArea,
  contains,
  iou,
  isWithin,
  moveBox,
  movePolygon,
  type Point,
  polygonArea,
  type Size,
} from "./geometry";
import { decode, encode, type Mask } from "./mask";

export type Geometry =
  | { kind: "image" }
  | { kind: "box"; box: Box }
  | { kind: "polygon"; points: readonly number[] }
  | { kind: "mask"; mask: Mask; bounds: Box };

export type LabelShape = {
  readonly id: string;
  readonly className: string;
  readonly geometry: Geometry;
  readonly confidence: number | null;
  /** The prediction, or the dataset's shape, that it was or was made from. */
  readonly editedFrom: string;
  /** As the dataset version says it, for as long as nobody changes it. */
  readonly kept?: WireShape | undefined;
};

export type Doc = {
  readonly shapes: readonly LabelShape[];
  /** What the model says and nobody has decided on. */
  readonly predictions: readonly LabelShape[];
  readonly tags: readonly string[];
};

/** From which overlap on two drawn shapes of a class are one thing. */
const SAME_IOU = 0.5;

export const EMPTY: Doc = { shapes: [], predictions: [], tags: [] };

/** A shape as the API says it. */
export type WireShape = {
  id?: string;
  class_name: string;
  bbox_xyxy?: readonly number[] | null;
  polygon?: readonly number[] | null;
  mask_rle?: string | null;
  confidence?: number | null;
  edited_from?: string;
};

export const newId = (): string => crypto.randomUUID().replaceAll("-", "").slice(0, 16);

export function maskGeometry(mask: Mask): Geometry | null {
  const bounds = mask.bounds();
  return bounds && { kind: "mask", mask, bounds };
}

export function readShape(wire: WireShape, size: Size): LabelShape | null {
  const geometry = readGeometry(wire, size);
  return (
    geometry && {
      id: wire.id || newId(),
      className: wire.class_name,
      geometry,
      confidence: wire.confidence ?? null,
      editedFrom: wire.edited_from ?? "",
    }
  );
}

function readGeometry(wire: WireShape, size: Size): Geometry | null {
  if (wire.mask_rle) {
    try {
      return maskGeometry(decode(wire.mask_rle, size));
    } catch {
      return null; // of another image: better not shown than shown wrong
    }
  }
  if (wire.polygon) return { kind: "polygon", points: wire.polygon };
  if (wire.bbox_xyxy) return { kind: "box", box: wire.bbox_xyxy as unknown as Box };
  return { kind: "image" };
}

export function readShapes(wires: readonly WireShape[], size: Size): LabelShape[] {
  return wires.map((wire) => readShape(wire, size)).filter((shape) => shape !== null);
}

export function writeShape({ id, className, geometry, editedFrom, kept }: LabelShape): WireShape {
  if (kept) return written(kept);
  const said: WireShape = { id, class_name: className };
  if (editedFrom) said.edited_from = editedFrom;
  if (geometry.kind === "box") said.bbox_xyxy = geometry.box.map(rounded);
  if (geometry.kind === "polygon") said.polygon = geometry.points.map(rounded);
  if (geometry.kind === "mask") said.mask_rle = encode(geometry.mask);
  return said;
}

/** What nobody changed goes back to the last digit, so that it is known again. */
const written = ({ id, class_name, bbox_xyxy, polygon, mask_rle }: WireShape): WireShape => ({
  ...(id && { id, edited_from: id }),
  class_name,
  ...(bbox_xyxy && { bbox_xyxy }),
  ...(polygon && { polygon }),
  ...(mask_rle && { mask_rle }),
});

/** What the dataset version says, to start from. */
export function readExisting(wires: readonly WireShape[], size: Size): LabelShape[] {
  return wires.flatMap((wire) => {
    const shape = readShape(wire, size);
    return shape ? [{ ...shape, confidence: null, editedFrom: shape.id, kept: wire }] : [];
  });
}

/** Shapes that come back from a draft or the server: those nobody changed are the dataset's still. */
export function recognised(
  shapes: readonly LabelShape[],
  existing: readonly LabelShape[],
): LabelShape[] {
  const said = (shape: LabelShape): string =>
    JSON.stringify(writeShape({ ...shape, editedFrom: "" }));
  const known = new Map(existing.map((one) => [said({ ...one, kept: undefined }), one]));
  return shapes.map((shape) => known.get(said(shape)) ?? shape);
}

/** Predictions that say something new: not what is there already, or was made from them. */
export function news(
  predictions: readonly LabelShape[],
  existing: readonly LabelShape[],
  wires: readonly WireShape[],
): LabelShape[] {
  const decided = new Set(wires.flatMap(({ id, edited_from }) => [id, edited_from]));
  return predictions.filter(
    (one) => !decided.has(one.id) && !existing.some((other) => isSameThing(one, other)),
  );
}

const isSameThing = (a: LabelShape, b: LabelShape): boolean =>
  a.className === b.className && isAtOnePlace(a, b);

function isAtOnePlace(a: LabelShape, b: LabelShape): boolean {
  if (a.geometry.kind === "image" || b.geometry.kind === "image") {
    return a.geometry.kind === b.geometry.kind;
  }
  return iou(boundsOfDrawn(a), boundsOfDrawn(b)) >= SAME_IOU;
}

const boundsOfDrawn = (shape: LabelShape): Box => boundsOfShape(shape, { width: 0, height: 0 });

/** A hundredth of a pixel is finer than any hand. */
const rounded = (value: number): number => Math.round(value * 100) / 100;

export function boundsOfShape({ geometry }: LabelShape, size: Size): Box {
  switch (geometry.kind) {
    case "image":
      return [0, 0, size.width, size.height];
    case "box":
      return geometry.box;
    case "polygon":
      return boundsOf(geometry.points);
    case "mask":
      return geometry.bounds;
  }
}

export function areaOf({ geometry }: LabelShape): number {
  switch (geometry.kind) {
    case "image":
      return Number.POSITIVE_INFINITY;
    case "box":
      return boxArea(geometry.box);
    case "polygon":
      return polygonArea(geometry.points);
    case "mask":
      return boxArea(geometry.bounds);
  }
}

export function isHit({ geometry }: LabelShape, point: Point, margin: number): boolean {
  switch (geometry.kind) {
    case "image":
      return false;
    case "box":
      return contains(geometry.box, point, margin);
    case "polygon":
      return isWithin(geometry.points, point);
    case "mask":
      return geometry.mask.has(point);
  }
}

/** The shape under a point: the smallest, since a large one can be taken hold of elsewhere. */
export function hit(
  shapes: readonly LabelShape[],
  point: Point,
  margin: number,
): LabelShape | null {
  const found = shapes.filter((shape) => isHit(shape, point, margin));
  return found.toSorted((a, b) => areaOf(a) - areaOf(b))[0] ?? null;
}

export function moved(geometry: Geometry, dx: number, dy: number, size: Size): Geometry {
  switch (geometry.kind) {
    case "image":
      return geometry;
    case "box":
      return { kind: "box", box: moveBox(geometry.box, dx, dy, size) };
    case "polygon":
      return { kind: "polygon", points: movePolygon(geometry.points, dx, dy, size) };
    case "mask":
      return maskGeometry(geometry.mask.moved(dx, dy)) ?? geometry;
  }
}

// Steps ---------------------------------------------------------------------------------------------

export const add = (doc: Doc, shape: LabelShape): Doc => ({
  ...doc,
  shapes: [...doc.shapes, shape],
});

export const remove = (doc: Doc, id: string): Doc => ({
  ...doc,
  shapes: doc.shapes.filter((shape) => shape.id !== id),
  predictions: doc.predictions.filter((shape) => shape.id !== id),
});

/** Changes a shape; a prediction that is changed becomes one's own. */
export function change(
  doc: Doc,
  id: string,
  to: Partial<Pick<LabelShape, "className" | "geometry">>,
): Doc {
  const adopted = accept(doc, id);
  return {
    ...adopted,
    shapes: adopted.shapes.map((shape) =>
      shape.id === id ? { ...shape, ...to, kept: undefined } : shape,
    ),
  };
}

/** Makes a prediction one's own, as it is. */
export function accept(doc: Doc, id: string): Doc {
  const prediction = doc.predictions.find((shape) => shape.id === id);
  if (!prediction) return doc;
  return {
    ...doc,
    shapes: [...withoutImageLabel(doc.shapes, prediction), adopted(prediction)],
    predictions: doc.predictions.filter((shape) => shape.id !== id),
  };
}

/**
 * Accepts what is shown; of several words on the whole image only the surest, and none over one's own.
 * What contradicts the dataset at its place waits to be accepted by itself.
 */
export function acceptAll(doc: Doc, isShown: (shape: LabelShape) => boolean): Doc {
  const shown = doc.predictions.filter(isShown);
  const isSaid = doc.shapes.some(({ geometry }) => geometry.kind === "image");
  const ofImage = surest(shown.filter(({ geometry }) => geometry.kind === "image"));
  const accepted = shown.filter(
    (shape) =>
      (shape.geometry.kind !== "image" || (!isSaid && shape === ofImage)) &&
      !doc.shapes.some((own) => own.kept && isAtOnePlace(own, shape)),
  );
  const next = accepted.reduce((soFar, { id }) => accept(soFar, id), doc);
  return {
    ...next,
    predictions: next.predictions.filter(({ geometry }) => geometry.kind !== "image"),
  };
}

const adopted = (prediction: LabelShape): LabelShape => ({
  ...prediction,
  editedFrom: prediction.id,
});

/** An image is of one class: a new whole-image label takes the place of the one before. */
const withoutImageLabel = (
  shapes: readonly LabelShape[],
  next: LabelShape,
): readonly LabelShape[] =>
  next.geometry.kind === "image"
    ? shapes.filter((shape) => shape.geometry.kind !== "image")
    : shapes;

/** Says what the whole image is; the model's word on that is decided with it. */
export function classify(doc: Doc, className: string): Doc {
  const said = doc.predictions.filter((shape) => shape.geometry.kind === "image");
  const same = said.find((shape) => shape.className === className);
  const before = doc.shapes.find((shape) => shape.geometry.kind === "image");
  if (before?.className === className) return doc;
  const label: LabelShape = {
    id: newId(),
    className,
    geometry: { kind: "image" },
    confidence: null,
    editedFrom: (same ?? surest(said))?.id ?? before?.editedFrom ?? "",
  };
  return {
    ...doc,
    shapes: [...withoutImageLabel(doc.shapes, label), label],
    predictions: doc.predictions.filter((shape) => shape.geometry.kind !== "image"),
  };
}

export function surest(shapes: readonly LabelShape[]): LabelShape | null {
  return shapes.toSorted((a, b) => (b.confidence ?? 0) - (a.confidence ?? 0))[0] ?? null;
}

/**
 * What is submitted: what is seen. Predictions that are shown count as accepted, those that were
 * dismissed or are below the slider do not.
 */
export function submitted(
  doc: Doc,
  isShown: (shape: LabelShape) => boolean,
): readonly LabelShape[] {
  return acceptAll(doc, isShown).shapes;
}
