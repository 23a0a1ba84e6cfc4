// Shapes over an image of any size: an SVG in the image's own pixels.

import { memo } from "react";
import { decode, outlines } from "../label/mask";

export type Drawable = {
  id?: string;
  class_name: string;
  bbox_xyxy?: readonly number[] | null;
  polygon?: readonly number[] | null;
  mask_rle?: string | null;
  confidence?: number | null;
};
export type Mark = "added" | "removed" | "changed" | "predicted" | "";

type Props = {
  width: number;
  height: number;
  shapes: readonly Drawable[];
  colourOf: (className: string) => string;
  markOf?: (shape: Drawable) => Mark;
};

export const Overlay = memo(function Overlay({ width, height, shapes, colourOf, markOf }: Props) {
  const drawn = shapes.filter((shape) => shape.bbox_xyxy || shape.polygon || shape.mask_rle);
  if (!drawn.length) return null;
  return (
    <svg
      className="overlay"
      viewBox={`0 0 ${width} ${height}`}
      preserveAspectRatio="xMidYMid meet"
      aria-hidden="true"
    >
      {drawn.map((shape, index) => (
        <path
          key={shape.id ?? index}
          className={`overlay-shape ${markOf?.(shape) ?? ""}`}
          d={pathOf(shape, width, height)}
          stroke={colourOf(shape.class_name)}
          fill={colourOf(shape.class_name)}
        />
      ))}
    </svg>
  );
});

const masks = new Map<string, string>();
const MASKS_MAX = 2_000;

function pathOf(shape: Drawable, width: number, height: number): string {
  if (shape.bbox_xyxy) {
    const [x0, y0, x1, y1] = shape.bbox_xyxy;
    return `M${x0} ${y0}H${x1}V${y1}H${x0}Z`;
  }
  if (shape.polygon) {
    const points: string[] = [];
    for (let i = 0; i + 1 < shape.polygon.length; i += 2)
      points.push(`${shape.polygon[i]} ${shape.polygon[i + 1]}`);
    return `M${points.join("L")}Z`;
  }
  return maskPath(shape.mask_rle ?? "", width, height);
}

function maskPath(rle: string, width: number, height: number): string {
  const key = `${width}x${height}:${rle}`;
  let path = masks.get(key);
  if (path === undefined) {
    try {
      const loops = outlines(decode(rle, { width, height }));
      path = loops.map((loop) => `M${loop.map(({ x, y }) => `${x} ${y}`).join("L")}Z`).join("");
    } catch {
      path = "";
    }
    if (masks.size > MASKS_MAX) masks.clear();
    masks.set(key, path);
  }
  return path;
}

/** What is said of the whole image, in one line. */
export function wholeImage(shapes: readonly Drawable[]): string {
  return shapes
    .filter((shape) => !shape.bbox_xyxy && !shape.polygon && !shape.mask_rle)
    .map(({ class_name }) => class_name)
    .join(", ");
}
