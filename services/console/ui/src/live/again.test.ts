import { expect, test } from "vitest";
import type { Schemas } from "../api/client";
import { becameOf } from "./again";

type Run = Schemas["RunOut"];
const run = (fields: Partial<Run>) =>
  ({ id: "k", kind: "train", state: "completed", message: "", artefact: null, ...fields }) as Run;
const made = { label: "shop v1" } as Run["artefact"];

test("equal work that is done is said to be so", () => {
  expect(becameOf(run({}), run({ artefact: made }))).toContain("shop v1 is what it makes");
});

test("what was stopped has begun, and other work is another run", () => {
  expect(becameOf(run({ state: "running" }), run({ state: "cancelled" }))).toBe("Train has begun");
  expect(becameOf(run({ id: "l", artefact: made }), run({}))).toBe("Train is done: shop v1");
  expect(becameOf(run({ state: "failed", message: "no bucket" }), run({}))).toBe("no bucket");
});
