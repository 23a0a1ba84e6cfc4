import { expect, test } from "vitest";
import { figure, metric, number } from "./format";

test("a rate is no duration", () => {
  expect(metric("images_per_s", 83)).toBe("83/s");
  expect(metric("evaluation_s", 83)).toBe("1 min 23 s");
});

test("a figure of a class keeps the class's name as it is", () => {
  expect(figure("auc:t-shirt")).toBe("AUC of t-shirt");
  expect(figure("macro_f1")).toBe("macro F1");
  expect(figure("images_per_s")).toBe("images");
});

test("what is tiny is told by its power", () => {
  expect([number(0.0000016), number(0.25), number(0)]).toEqual(["1.6e−6", "0.25", "0"]);
});
