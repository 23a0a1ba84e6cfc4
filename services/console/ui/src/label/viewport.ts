// Where the image is on the screen: a scale and an offset, in CSS pixels.

import { clamp, type Point, type Size } from "./geometry";

export type View = { readonly scale: number; readonly x: number; readonly y: number };

export const SCALE_MAX = 64;
const SCALE_MIN_OF_FIT = 0.25;
const FIT_MARGIN = 0.94;
export const FIT_SCALE_MAX = 14; // a thumbnail is not blown up to the whole stage
const KEPT_IN_SIGHT = 48; // CSS px of the image stay in sight, wherever one pans

export const toScreen = (view: View, { x, y }: Point): Point => ({
  x: x * view.scale + view.x,
  y: y * view.scale + view.y,
});

export const toImage = (view: View, { x, y }: Point): Point => ({
  x: (x - view.x) / view.scale,
  y: (y - view.y) / view.scale,
});

export function fitted(image: Size, stage: Size): View {
  const scale = FIT_MARGIN * Math.min(stage.width / image.width, stage.height / image.height);
  return centered(Math.min(scale, FIT_SCALE_MAX), image, stage);
}

export function centered(scale: number, image: Size, stage: Size): View {
  return {
    scale,
    x: (stage.width - image.width * scale) / 2,
    y: (stage.height - image.height * scale) / 2,
  };
}

/** Zooms so that what is under `at` (on the screen) stays there. */
export function zoomed(view: View, factor: number, at: Point, image: Size, stage: Size): View {
  const least = fitted(image, stage).scale * SCALE_MIN_OF_FIT;
  const scale = clamp(view.scale * factor, least, SCALE_MAX);
  const still = toImage(view, at);
  return within({ scale, x: at.x - still.x * scale, y: at.y - still.y * scale }, image, stage);
}

export function panned(view: View, dx: number, dy: number, image: Size, stage: Size): View {
  return within({ ...view, x: view.x + dx, y: view.y + dy }, image, stage);
}

function within({ scale, x, y }: View, image: Size, stage: Size): View {
  const margin = KEPT_IN_SIGHT;
  return {
    scale,
    x: clamp(x, margin - image.width * scale, stage.width - margin),
    y: clamp(y, margin - image.height * scale, stage.height - margin),
  };
}
