import { expect, test } from "vitest";
import { metric } from "./format";

test("a rate is no duration", () => {
  expect(metric("images_per_s", 83)).toBe("83/s");
  expect(metric("evaluation_s", 83)).toBe("1 min 23 s");
});
