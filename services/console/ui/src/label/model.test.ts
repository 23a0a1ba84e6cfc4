import { describe, expect, it } from "vitest";
import { Mask } from "./mask";
import {
  acceptAll,
  add,
  change,
  classify,
  type Doc,
  EMPTY,
  hit,
  type LabelShape,
  moved,
  news,
  readExisting,
  readShapes,
  recognised,
  remove,
  submitted,
  writeShape,
} from "./model";

const size = { width: 64, height: 48 };
const boxed = (id: string, confidence: number | null = null): LabelShape => ({
  id,
  className: "tree",
  geometry: { kind: "box", box: [1, 2, 11, 12] },
  confidence,
  editedFrom: "",
});
const whole = (id: string, className: string, confidence: number): LabelShape => ({
  id,
  className,
  geometry: { kind: "image" },
  confidence,
  editedFrom: "",
});
const doc = (changes: Partial<Doc>): Doc => ({ ...EMPTY, ...changes });
const all = () => true;

describe("a document", () => {
  it("is submitted as it is seen: predictions above the line count, the others do not", () => {
    const predictions = [boxed("sure", 0.9), boxed("unsure", 0.2)];
    const shown = (shape: LabelShape) => (shape.confidence ?? 1) >= 0.5;
    const said = submitted(doc({ shapes: [boxed("own")], predictions }), shown);
    expect(said.map(({ id }) => id)).toEqual(["own", "sure"]);
    expect(said[1]?.editedFrom).toBe("sure");
  });

  it("makes a changed prediction one's own, and says what it was made from", () => {
    const next = change(doc({ predictions: [boxed("p", 0.9)] }), "p", { className: "bush" });
    expect(next.predictions).toEqual([]);
    expect(next.shapes[0]).toMatchObject({ className: "bush", editedFrom: "p" });
  });

  it("says one thing of the whole image, the surest of what is predicted", () => {
    const predictions = [whole("a", "coat", 0.3), whole("b", "shirt", 0.6)];
    const said = acceptAll(doc({ predictions }), all);
    expect(said.shapes.map(({ className }) => className)).toEqual(["shirt"]);
    expect(said.predictions).toEqual([]);
  });

  it("holds one's own word on the image over the model's", () => {
    const predictions = [whole("a", "coat", 0.9)];
    const said = classify(doc({ predictions }), "shirt");
    expect(submitted(said, all).map(({ className }) => className)).toEqual(["shirt"]);
    expect(said.shapes[0]?.editedFrom).toBe("a");
    expect(classify(said, "coat").shapes).toHaveLength(1);
  });

  it("shares what a step leaves alone, so that undoing costs little", () => {
    const before = doc({ shapes: [boxed("a"), boxed("b")] });
    const after = remove(add(before, boxed("c")), "b");
    expect(after.shapes[0]).toBe(before.shapes[0]);
  });

  it("gives the smallest shape under the pointer", () => {
    const large: LabelShape = { ...boxed("large"), geometry: { kind: "box", box: [0, 0, 60, 40] } };
    expect(hit([large, boxed("small")], { x: 5, y: 5 }, 0)?.id).toBe("small");
    expect(hit([large, boxed("small")], { x: 50, y: 30 }, 0)?.id).toBe("large");
    expect(hit([large], { x: 63, y: 47 }, 0)).toBeNull();
  });
});

describe("shapes on the wire", () => {
  it("come back as they went", () => {
    const mask = new Mask(size);
    mask.stroke({ x: 10, y: 10 }, { x: 30, y: 20 }, 4, 1);
    const shapes = [
      boxed("box"),
      {
        ...boxed("polygon"),
        geometry: { kind: "polygon" as const, points: [1.25, 2, 30, 4, 5, 40] },
      },
      { ...boxed("mask"), geometry: { kind: "mask" as const, mask, bounds: mask.bounds()! } },
    ];
    const back = readShapes(shapes.map(writeShape), size);
    expect(back.map(({ geometry }) => geometry.kind)).toEqual(["box", "polygon", "mask"]);
    expect(back.map(writeShape)).toEqual(shapes.map(writeShape));
  });

  it("leave out a mask of an image of another size", () => {
    expect(readShapes([{ class_name: "tree", mask_rle: "05" }], size)).toEqual([]);
  });

  it("move inside the image only", () => {
    const geometry = moved(boxed("a").geometry, 1_000, 0, size);
    expect(geometry).toEqual({ kind: "box", box: [54, 2, 64, 12] });
  });
});

describe("an image that the dataset has labels for", () => {
  const wires = [
    { id: "r1-0", class_name: "tree", bbox_xyxy: [1.123456789, 2, 11, 12] },
    { id: "r1-1", class_name: "tree", bbox_xyxy: [30, 20, 40, 30] },
  ];
  const start = (): Doc => doc({ shapes: readExisting(wires, size) });

  it("starts from them, and sends back to the last digit what nobody changed", () => {
    expect(start().shapes.map(writeShape)).toEqual(
      wires.map((wire) => ({ ...wire, edited_from: wire.id })),
    );
  });

  it("says what a changed one was made from, and keeps its id", () => {
    const next = change(start(), "r1-0", { className: "bush" });
    expect(next.shapes.map(({ kept }) => Boolean(kept))).toEqual([false, true]);
    expect(writeShape(next.shapes[0]!)).toMatchObject({
      id: "r1-0",
      edited_from: "r1-0",
      class_name: "bush",
      bbox_xyxy: [1.12, 2, 11, 12],
    });
  });

  it("knows them again in a draft, but not those that were changed", () => {
    const drawn = change(start(), "r1-1", { geometry: { kind: "box", box: [30, 20, 41, 30] } });
    const again = readShapes(drawn.shapes.map(writeShape), size);
    const shapes = recognised(again, readExisting(wires, size));
    expect(shapes.map(({ kept }) => kept?.id)).toEqual(["r1-0", undefined]);
    expect(shapes[1]?.editedFrom).toBe("r1-1");
  });

  it("is shown only the predictions that say something else", () => {
    const predicted = [
      { ...boxed("same", 0.9), geometry: { kind: "box", box: [1, 2, 11, 13] } },
      { ...boxed("other", 0.8), geometry: { kind: "box", box: [50, 2, 60, 12] } },
      { ...boxed("bush", 0.7), className: "bush" },
      { ...boxed("r1-1", 0.7), geometry: { kind: "box", box: [0, 40, 5, 45] } },
    ] as LabelShape[];
    const shown = news(predicted, readExisting(wires, size), wires);
    expect(shown.map(({ id }) => id)).toEqual(["other", "bush"]);
    const said = submitted(doc({ ...start(), predictions: shown }), all);
    expect(said.map(({ id }) => id)).toEqual(["r1-0", "r1-1", "other"]);
  });

  it("keeps the image's class until another is chosen, which was made from it", () => {
    const existing = readExisting([{ id: "r1-0", class_name: "coat" }], size);
    const same = classify(doc({ shapes: existing }), "coat");
    expect(same.shapes[0]?.kept?.id).toBe("r1-0");
    const other = classify(same, "shirt");
    expect(other.shapes).toHaveLength(1);
    expect(other.shapes[0]).toMatchObject({ className: "shirt", editedFrom: "r1-0" });
  });
});
