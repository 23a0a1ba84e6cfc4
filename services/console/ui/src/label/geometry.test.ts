import { describe, expect, it } from "vitest";
import {
  type Box,
  boundsOf,
  HANDLES,
  handlePoint,
  iou,
  isWithin,
  moveBox,
  movePolygon,
  nearestEdge,
  polygonArea,
  polygonOf,
  resizeBox,
  simplify,
} from "./geometry";

const size = { width: 100, height: 80 };
const box: Box = [10, 20, 30, 50];

describe("boxes", () => {
  it("move as far as the image leaves room, and keep their size", () => {
    expect(moveBox(box, 5, -5, size)).toEqual([15, 15, 35, 45]);
    expect(moveBox(box, -99, 99, size)).toEqual([0, 50, 20, 80]);
  });

  it("turn over when a corner is dragged past the other", () => {
    expect(resizeBox(box, "nw", { x: 60, y: 70 }, size)).toEqual([30, 50, 60, 70]);
  });

  it.each(HANDLES)("follow the pointer at their %s handle and stay inside the image", (handle) => {
    const at = handlePoint(box, handle);
    expect(resizeBox(box, handle, at, size)).toEqual(box);
    const far = resizeBox(box, handle, { x: 1e6, y: 1e6 }, size);
    expect(far[2]).toBeLessThanOrEqual(size.width + 1);
    expect(far[3]).toBeLessThanOrEqual(size.height + 1);
    expect(far[2]).toBeGreaterThan(far[0]);
    expect(far[3]).toBeGreaterThan(far[1]);
  });

  it("overlap by intersection over union", () => {
    expect(iou([0, 0, 10, 10], [5, 0, 15, 10])).toBeCloseTo(1 / 3);
    expect(iou([0, 0, 10, 10], [10, 0, 20, 10])).toBe(0);
  });
});

describe("polygons", () => {
  const triangle = [0, 0, 10, 0, 0, 10];

  it("have the area of the shoelace formula, whichever way round", () => {
    expect(polygonArea(triangle)).toBe(50);
    expect(polygonArea([0, 0, 0, 10, 10, 0])).toBe(50);
  });

  it("hold the points inside them and no others", () => {
    expect(isWithin(triangle, { x: 2, y: 2 })).toBe(true);
    expect(isWithin(triangle, { x: 8, y: 8 })).toBe(false);
  });

  it("move as one piece, up to the edge of the image", () => {
    expect(movePolygon(triangle, -5, 75, size)).toEqual([0, 70, 10, 70, 0, 80]);
    expect(boundsOf(movePolygon(triangle, 1e6, 1e6, size))).toEqual([90, 70, 100, 80]);
  });

  it("take a new corner in on the edge that is nearest", () => {
    expect(nearestEdge(triangle, { x: 5, y: -1 })).toMatchObject({ index: 0, at: { x: 5, y: 0 } });
    expect(nearestEdge(triangle, { x: -1, y: 4 })).toMatchObject({ index: 2, distance: 1 });
  });

  it("lose the corners that tell nothing, and only those", () => {
    const square = Array.from({ length: 40 }, (_, i) => {
      const along = (i % 10) * 10;
      const side = Math.floor(i / 10);
      return side === 0
        ? { x: along, y: 0 }
        : side === 1
          ? { x: 100, y: along }
          : side === 2
            ? { x: 100 - along, y: 100 }
            : { x: 0, y: 100 - along };
    });
    const simple = simplify(square, 0.5);
    expect(simple).toHaveLength(4);
    expect(polygonArea(polygonOf(simple))).toBe(10_000);
  });
});
