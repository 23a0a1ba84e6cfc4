import { describe, expect, it } from "vitest";
import { polygonArea, polygonOf } from "./geometry";
import { decode, encode, Mask, outlines } from "./mask";

/** Written by pycocotools 2.0.10. */
const COCO = {
  empty: { width: 5, height: 4, text: "d0", area: 0 },
  full: { width: 5, height: 4, text: "0d0", area: 20 },
  disc: {
    width: 57,
    height: 33,
    text: "ob05i06K4M2N2N2O0O2O000O2O00000001N10001N101N2N2N3L5JT>",
    area: 481,
  },
  noise: { width: 7, height: 6, text: "221O010O0031M00O034NLO0000", area: 21 },
};
const NOISE = "001100001001011101100100110101001101011011";

describe("run lengths", () => {
  it.each(Object.entries(COCO))(
    "of %s are read and written as COCO does",
    (_, { text, area, ...size }) => {
      const mask = decode(text, size);
      expect(mask.area()).toBe(area);
      expect(encode(mask)).toBe(text);
    },
  );

  it("go down the columns", () => {
    expect([...decode(COCO.noise.text, COCO.noise).data].join("")).toBe(NOISE);
  });

  it("come back as they went, for any mask", () => {
    let seed = 7;
    const random = (): number => {
      seed = (seed * 16_807) % 2_147_483_647;
      return seed / 2_147_483_647;
    };
    for (let round = 0; round < 50; round += 1) {
      const size = { width: 1 + Math.floor(60 * random()), height: 1 + Math.floor(60 * random()) };
      const share = random();
      const mask = new Mask(size);
      for (let i = 0; i < mask.data.length; i += 1) mask.data[i] = random() < share ? 1 : 0;
      expect(decode(encode(mask), size).data).toEqual(mask.data);
    }
  });

  it("of another size are refused", () => {
    expect(() => decode(COCO.disc.text, { width: 58, height: 33 })).toThrow(RangeError);
    expect(() => decode(`${COCO.disc.text}P`, COCO.disc)).toThrow(RangeError);
  });
});

describe("painting", () => {
  it("reaches as far as the brush, without gaps on the way", () => {
    const mask = new Mask({ width: 50, height: 30 });
    mask.stroke({ x: 10, y: 15 }, { x: 40, y: 15 }, 5, 1);
    expect(mask.bounds()).toEqual([5, 10, 45, 20]);
    for (let x = 10; x <= 40; x += 1) expect(mask.has({ x, y: 15 })).toBe(true);
    expect(mask.has({ x: 25, y: 20.5 })).toBe(false);
  });

  it("takes away again", () => {
    const mask = new Mask({ width: 20, height: 20 });
    mask.stroke({ x: 10, y: 10 }, { x: 10, y: 10 }, 4, 1);
    mask.stroke({ x: 10, y: 10 }, { x: 10, y: 10 }, 6, 0);
    expect(mask.area()).toBe(0);
    expect(mask.bounds()).toBeNull();
  });

  it("beyond the edge stays inside the image", () => {
    const mask = new Mask({ width: 8, height: 8 });
    mask.stroke({ x: -3, y: 4 }, { x: 20, y: 4 }, 2, 1);
    expect(mask.bounds()).toEqual([0, 2, 8, 6]);
  });

  it("leaves what was copied alone", () => {
    const mask = new Mask({ width: 8, height: 8 });
    const copy = mask.copy();
    copy.stroke({ x: 4, y: 4 }, { x: 4, y: 4 }, 2, 1);
    expect(mask.area()).toBe(0);
  });

  it("moves as one piece, and keeps its area", () => {
    const mask = decode(COCO.disc.text, COCO.disc);
    const moved = mask.moved(-1_000, 2);
    expect(moved.area()).toBe(COCO.disc.area);
    expect(moved.bounds()?.[0]).toBe(0);
  });
});

describe("outlines", () => {
  it("enclose exactly the mask's area", () => {
    for (const { text, area, ...size } of [COCO.disc, COCO.full]) {
      const loops = outlines(decode(text, size));
      expect(loops).toHaveLength(1);
      expect(polygonArea(polygonOf(loops[0]!))).toBe(area);
    }
  });

  it("go around holes too", () => {
    const mask = new Mask({ width: 9, height: 9 }, new Uint8Array(81).fill(1));
    mask.data[40] = 0;
    const areas = outlines(mask).map((loop) => polygonArea(polygonOf(loop)));
    expect(areas.toSorted((a, b) => a - b)).toEqual([1, 81]);
  });

  it("of any noise add up to its area, holes taken away", () => {
    const mask = decode(COCO.noise.text, COCO.noise);
    let signed = 0;
    for (const loop of outlines(mask)) {
      loop.forEach((point, index) => {
        const next = loop[(index + 1) % loop.length]!;
        signed += point.x * next.y - next.x * point.y;
      });
    }
    expect(signed / 2).toBe(mask.area());
  });
});
