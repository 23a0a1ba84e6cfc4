// Points, boxes and polygons in the image's own pixels: origin top left, x to the right, y down.

export type Point = { x: number; y: number };
export type Box = readonly [xMin: number, yMin: number, xMax: number, yMax: number];
export type Size = { width: number; height: number };
/** x0, y0, x1, y1, ... */
export type Polygon = readonly number[];

/** The corners and edges of a box that can be taken hold of, clockwise from the top left. */
export const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"] as const;
export type Handle = (typeof HANDLES)[number];

export const BOX_SIDE_MIN = 1; // px: a box is at least this wide and high

export const clamp = (value: number, least: number, most: number): number =>
  Math.min(Math.max(value, least), most);

export function inside(point: Point, size: Size): Point {
  return { x: clamp(point.x, 0, size.width), y: clamp(point.y, 0, size.height) };
}

/** The box between two corners, in any order. */
export function boxBetween(a: Point, b: Point): Box {
  return [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)];
}

export const isBoxDrawable = ([xMin, yMin, xMax, yMax]: Box): boolean =>
  xMax - xMin >= BOX_SIDE_MIN && yMax - yMin >= BOX_SIDE_MIN;

export const boxArea = ([xMin, yMin, xMax, yMax]: Box): number => (xMax - xMin) * (yMax - yMin);

export function contains([xMin, yMin, xMax, yMax]: Box, { x, y }: Point, margin = 0): boolean {
  return x >= xMin - margin && x <= xMax + margin && y >= yMin - margin && y <= yMax + margin;
}

/** Moves a box as far as the image leaves room: its size stays. */
export function moveBox([xMin, yMin, xMax, yMax]: Box, dx: number, dy: number, size: Size): Box {
  const x = clamp(dx, -xMin, size.width - xMax);
  const y = clamp(dy, -yMin, size.height - yMax);
  return [xMin + x, yMin + y, xMax + x, yMax + y];
}

/** Moves one side or corner; dragged past the other side, the box turns over. */
export function resizeBox(box: Box, handle: Handle, to: Point, size: Size): Box {
  const { x, y } = inside(to, size);
  let [xMin, yMin, xMax, yMax] = box;
  if (handle.includes("w")) xMin = x;
  if (handle.includes("e")) xMax = x;
  if (handle.includes("n")) yMin = y;
  if (handle.includes("s")) yMax = y;
  const turned = boxBetween({ x: xMin, y: yMin }, { x: xMax, y: yMax });
  return [
    turned[0],
    turned[1],
    Math.max(turned[2], turned[0] + BOX_SIDE_MIN),
    Math.max(turned[3], turned[1] + BOX_SIDE_MIN),
  ];
}

export function handlePoint([xMin, yMin, xMax, yMax]: Box, handle: Handle): Point {
  const x = handle.includes("w") ? xMin : handle.includes("e") ? xMax : (xMin + xMax) / 2;
  const y = handle.includes("n") ? yMin : handle.includes("s") ? yMax : (yMin + yMax) / 2;
  return { x, y };
}

export function pointsOf(polygon: Polygon): Point[] {
  const points: Point[] = [];
  for (let i = 0; i + 1 < polygon.length; i += 2) {
    points.push({ x: polygon[i]!, y: polygon[i + 1]! });
  }
  return points;
}

export const polygonOf = (points: readonly Point[]): number[] =>
  points.flatMap(({ x, y }) => [x, y]);

export function boundsOf(polygon: Polygon): Box {
  let [xMin, yMin, xMax, yMax] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { x, y } of pointsOf(polygon)) {
    xMin = Math.min(xMin, x);
    yMin = Math.min(yMin, y);
    xMax = Math.max(xMax, x);
    yMax = Math.max(yMax, y);
  }
  return [xMin, yMin, xMax, yMax];
}

/** Even-odd rule: whether the point is within the polygon. */
export function isWithin(polygon: Polygon, { x, y }: Point): boolean {
  const points = pointsOf(polygon);
  let within = false;
  for (let i = 0, j = points.length - 1; i < points.length; j = i, i += 1) {
    const a = points[i]!;
    const b = points[j]!;
    if (a.y > y !== b.y > y && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x) within = !within;
  }
  return within;
}

/** The area of a polygon by the shoelace formula; 0 for fewer than three points. */
export function polygonArea(polygon: Polygon): number {
  const points = pointsOf(polygon);
  let twice = 0;
  for (let i = 0, j = points.length - 1; i < points.length; j = i, i += 1) {
    twice += points[j]!.x * points[i]!.y - points[i]!.x * points[j]!.y;
  }
  return Math.abs(twice) / 2;
}

export function movePolygon(polygon: Polygon, dx: number, dy: number, size: Size): number[] {
  const bounds = boundsOf(polygon);
  const moved = moveBox(bounds, dx, dy, size);
  const [x, y] = [moved[0] - bounds[0], moved[1] - bounds[1]];
  return polygon.map((value, i) => value + (i % 2 ? y : x));
}

/** Where on a segment a point is nearest, and how far it is. */
export function nearestOnSegment(p: Point, a: Point, b: Point): { at: Point; distance: number } {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = dx * dx + dy * dy;
  const t = length ? clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length, 0, 1) : 0;
  const at = { x: a.x + t * dx, y: a.y + t * dy };
  return { at, distance: Math.hypot(p.x - at.x, p.y - at.y) };
}

/** The edge of a polygon nearest to a point: a new corner goes in behind `index`. */
export function nearestEdge(
  polygon: Polygon,
  p: Point,
): { index: number; at: Point; distance: number } {
  const points = pointsOf(polygon);
  let best = { index: 0, at: p, distance: Infinity };
  points.forEach((a, index) => {
    const found = nearestOnSegment(p, a, points[(index + 1) % points.length]!);
    if (found.distance < best.distance) best = { index, ...found };
  });
  return best;
}

/** Leaves out corners that tell nothing (Douglas and Peucker, closed outline). */
export function simplify(points: readonly Point[], tolerance: number): Point[] {
  if (points.length < 4) return [...points];
  const half = Math.floor(points.length / 2);
  const first = simplifyOpen(points.slice(0, half + 1), tolerance);
  const second = simplifyOpen([...points.slice(half), points[0]!], tolerance);
  return [...first.slice(0, -1), ...second.slice(0, -1)];
}

function simplifyOpen(points: readonly Point[], tolerance: number): Point[] {
  const keep = new Set([0, points.length - 1]);
  const waiting: [number, number][] = [[0, points.length - 1]];
  while (waiting.length) {
    const [from, to] = waiting.pop()!;
    let [worst, at] = [tolerance, -1];
    for (let i = from + 1; i < to; i += 1) {
      const { distance } = nearestOnSegment(points[i]!, points[from]!, points[to]!);
      if (distance > worst) [worst, at] = [distance, i];
    }
    if (at < 0) continue;
    keep.add(at);
    waiting.push([from, at], [at, to]);
  }
  return points.filter((_, i) => keep.has(i));
}

export function iou(a: Box, b: Box): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const both = width * height;
  return both / (boxArea(a) + boxArea(b) - both);
}
