// Masks: one byte a pixel while they are painted, COCO's compressed run lengths when they travel.
// COCO counts run down the columns; the first count is of pixels that are not in the mask.

import type { Box, Point, Size } from "./geometry";

export class Mask {
  readonly width: number;
  readonly height: number;
  /** Row by row, 1 in the mask. */
  readonly data: Uint8Array;

  constructor({ width, height }: Size, data?: Uint8Array) {
    this.width = width;
    this.height = height;
    this.data = data ?? new Uint8Array(width * height);
  }

  copy(): Mask {
    return new Mask(this, this.data.slice());
  }

  has({ x, y }: Point): boolean {
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column < 0 || row < 0 || column >= this.width || row >= this.height) return false;
    return this.data[row * this.width + column] === 1;
  }

  /** Sets every pixel whose middle is within `radius` of the way from `a` to `b`. */
  stroke(a: Point, b: Point, radius: number, value: 0 | 1): void {
    const [dx, dy] = [b.x - a.x, b.y - a.y];
    const length = dx * dx + dy * dy;
    const top = Math.max(0, Math.floor(Math.min(a.y, b.y) - radius));
    const bottom = Math.min(this.height - 1, Math.ceil(Math.max(a.y, b.y) + radius));
    const left = Math.max(0, Math.floor(Math.min(a.x, b.x) - radius));
    const right = Math.min(this.width - 1, Math.ceil(Math.max(a.x, b.x) + radius));
    const reach = radius * radius;
    for (let row = top; row <= bottom; row += 1) {
      for (let column = left; column <= right; column += 1) {
        const [x, y] = [column + 0.5 - a.x, row + 0.5 - a.y];
        const t = length ? Math.min(1, Math.max(0, (x * dx + y * dy) / length)) : 0;
        const [ex, ey] = [x - t * dx, y - t * dy];
        if (ex * ex + ey * ey <= reach) this.data[row * this.width + column] = value;
      }
    }
  }

  area(): number {
    let count = 0;
    for (const value of this.data) count += value;
    return count;
  }

  /** The smallest box around it; null for an empty mask. */
  bounds(): Box | null {
    let [left, top, right, bottom] = [this.width, this.height, -1, -1];
    for (let row = 0; row < this.height; row += 1) {
      const start = row * this.width;
      for (let column = 0; column < this.width; column += 1) {
        if (!this.data[start + column]) continue;
        if (column < left) left = column;
        if (column > right) right = column;
        if (row < top) top = row;
        bottom = row;
      }
    }
    return right < 0 ? null : [left, top, right + 1, bottom + 1];
  }

  /** Moves it as far as the image leaves room. */
  moved(dx: number, dy: number): Mask {
    const bounds = this.bounds();
    const result = new Mask(this);
    if (!bounds) return result;
    const x = Math.round(Math.min(Math.max(dx, -bounds[0]), this.width - bounds[2]));
    const y = Math.round(Math.min(Math.max(dy, -bounds[1]), this.height - bounds[3]));
    for (let row = bounds[1]; row < bounds[3]; row += 1) {
      const from = row * this.width;
      result.data.set(
        this.data.subarray(from + bounds[0], from + bounds[2]),
        (row + y) * this.width + bounds[0] + x,
      );
    }
    return result;
  }
}

/** Writes COCO's compressed run lengths, as pycocotools does. */
export function encode(mask: Mask): string {
  return compress(countsOf(mask));
}

function countsOf({ width, height, data }: Mask): number[] {
  const counts: number[] = [];
  let [current, run] = [0, 0];
  for (let column = 0; column < width; column += 1) {
    for (let at = column; at < width * height; at += width) {
      if (data[at] === current) {
        run += 1;
      } else {
        counts.push(run);
        current = data[at]!;
        run = 1;
      }
    }
  }
  counts.push(run);
  return counts;
}

const DIGIT_BITS = 5;
const MORE = 0x20;
const FIRST_CHARACTER = 48;

function compress(counts: readonly number[]): string {
  let text = "";
  counts.forEach((count, i) => {
    let value = i > 2 ? count - counts[i - 2]! : count;
    for (;;) {
      let digit = value & 0x1f;
      value >>= DIGIT_BITS;
      const more = digit & 0x10 ? value !== -1 : value !== 0;
      if (more) digit |= MORE;
      text += String.fromCharCode(digit + FIRST_CHARACTER);
      if (!more) break;
    }
  });
  return text;
}

/** Reads COCO's compressed run lengths.
 *
 * @throws RangeError if they are not of an image of this size.
 */
export function decode(text: string, size: Size): Mask {
  const mask = new Mask(size);
  const { width, height, data } = mask;
  const pixels = width * height;
  let [at, value] = [0, 0];
  for (const count of decompress(text)) {
    if (count < 0 || at + count > pixels) throw new RangeError("a mask of another size");
    if (value) {
      for (let i = at; i < at + count; i += 1)
        data[(i % height) * width + Math.floor(i / height)] = 1;
    }
    at += count;
    value ^= 1;
  }
  if (at !== pixels) throw new RangeError("a mask of another size");
  return mask;
}

function decompress(text: string): number[] {
  const counts: number[] = [];
  let at = 0;
  while (at < text.length) {
    let [value, shift, more] = [0, 0, true];
    while (more) {
      const digit = text.charCodeAt(at) - FIRST_CHARACTER;
      if (Number.isNaN(digit)) throw new RangeError("a mask that ends too early");
      value |= (digit & 0x1f) << shift;
      more = (digit & MORE) !== 0;
      at += 1;
      shift += DIGIT_BITS;
      if (!more && digit & 0x10 && shift < 32) value |= -1 << shift;
    }
    counts.push(counts.length > 2 ? value + counts[counts.length - 2]! : value);
  }
  return counts;
}

/** The outline of every part of the mask, as closed loops along pixel edges (holes included). */
export function outlines(mask: Mask): Point[][] {
  const { width, height, data } = mask;
  const bounds = mask.bounds();
  if (!bounds) return [];
  const on = (column: number, row: number): boolean =>
    column >= 0 && row >= 0 && column < width && row < height && data[row * width + column] === 1;
  // Edges with the mask on their right hand side, by where they start.
  const next = new Map<number, number[]>();
  const stride = width + 1;
  const add = (x0: number, y0: number, x1: number, y1: number): void => {
    const from = y0 * stride + x0;
    const ends = next.get(from);
    if (ends) ends.push(y1 * stride + x1);
    else next.set(from, [y1 * stride + x1]);
  };
  for (let row = bounds[1]; row < bounds[3]; row += 1) {
    for (let column = bounds[0]; column < bounds[2]; column += 1) {
      if (!on(column, row)) continue;
      if (!on(column, row - 1)) add(column, row, column + 1, row);
      if (!on(column + 1, row)) add(column + 1, row, column + 1, row + 1);
      if (!on(column, row + 1)) add(column + 1, row + 1, column, row + 1);
      if (!on(column - 1, row)) add(column, row + 1, column, row);
    }
  }
  return [...loops(next, stride)];
}

function* loops(next: Map<number, number[]>, stride: number): Generator<Point[]> {
  for (const [start, ends] of next) {
    while (ends.length) {
      const loop: Point[] = [];
      let at = start;
      let heading = 0;
      do {
        const ways = next.get(at)!;
        const to = ways.length > 1 ? ways.splice(turn(ways, at, heading), 1)[0]! : ways.pop()!;
        if (to - at !== heading) loop.push({ x: at % stride, y: Math.floor(at / stride) });
        heading = to - at;
        at = to;
      } while (at !== start);
      yield loop;
    }
  }
}

/** Where two parts touch at a corner, stay with the part one came along: turn, don't go straight. */
function turn(ways: readonly number[], at: number, heading: number): number {
  const index = ways.findIndex((to) => to - at !== heading && to - at !== -heading);
  return Math.max(0, index);
}
