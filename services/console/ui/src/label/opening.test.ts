import { describe, expect, it } from "vitest";
import { type Form, faultOfName, localOf, momentOf, needsList, requestOf, ruleOf } from "./opening";

const FORM: Form = {
  job: "coats",
  dataset: "shop",
  version: 2,
  which: "unlabeled",
  classes: "coat\nbag\n",
  shapes: [],
  instructions: " ",
  labelers: [],
  reviewers: [],
  review: false,
  labelersPerItem: 1,
  deadline: "",
  priority: 0,
  help: "",
  confidence: 0.3,
  hidden: 0,
};

describe("a new job", () => {
  it("needs a name and a dataset alone", () => {
    expect(requestOf(FORM, {}, ["coat", "bag"], [], [])).toMatchObject({
      job: "coats",
      dataset: "shop@v2",
      where: "!item.labeled",
      items: [],
      classes: [],
      instructions: "",
      deadline: null,
      predictions: "",
      confidence_min: 0,
    });
  });

  it("says which classes it has where they are others", () => {
    const asked = requestOf({ ...FORM, classes: " sock \n\ncoat" }, {}, ["coat"], [], []);
    expect(asked.classes).toEqual(["sock", "coat"]);
  });

  it("lists images without those that are hidden among them", () => {
    const asked = requestOf(
      { ...FORM, which: "filter" },
      { labeled: "true" },
      [],
      ["a", "b"],
      ["b"],
    );
    expect(asked).toMatchObject({ items: ["a"], where: "", ground_truth: ["b"] });
  });

  it("shows committed predictions from a confidence on; a model is asked later", () => {
    const shown = requestOf({ ...FORM, help: "predictions:shop-1@v2" }, {}, [], [], []);
    expect(shown).toMatchObject({ predictions: "shop-1@v2", confidence_min: 0.3 });
    const later = requestOf({ ...FORM, help: "model:shop@champion" }, {}, [], [], []);
    expect(later.predictions).toBe("");
  });

  it("chooses by a rule what a rule can say", () => {
    expect(ruleOf("all", {})).toBe("");
    expect(ruleOf("split:none", {})).toBe('item.split == ""');
    const filter = { split: "train", labeled: "false", tag: 'a "b"', source: "s3://x" };
    expect(needsList(filter)).toBe(false);
    expect(ruleOf("filter", filter)).toBe(
      '!item.labeled && item.split == "train" && "a \\"b\\"" in item.tags && ' +
        'item.source.contains("s3://x")',
    );
    expect(needsList({ disagreement_min: "0.1" })).toBe(true);
  });

  it("has a name that none has", () => {
    expect(faultOfName("coats-2", ["coats"])).toBe("");
    expect(faultOfName("", [])).toBe("");
    expect(faultOfName("coats", ["coats"])).toMatch("of this name");
    for (const name of ["Coats", "-a", "a b", "a".repeat(64)]) {
      expect(faultOfName(name, [])).toMatch("1 to 63");
    }
  });

  it("keeps a deadline to the minute", () => {
    expect(momentOf("")).toBeNull();
    expect(momentOf(localOf("2026-03-04T05:06:00.000Z"))).toBe("2026-03-04T05:06:00.000Z");
  });
});
