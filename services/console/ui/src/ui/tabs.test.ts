import { expect, test } from "vitest";
import { tabOf } from "./tabs";

const TABS = [{ id: "runs" }, { id: "dead" }] as const;

test.each([
  ["?tab=dead", "dead"],
  ["?tab=deaf", "runs"],
  ["", "runs"],
])("the address %s shows %s", (address, shown) => {
  expect(tabOf(new URLSearchParams(address), TABS, "runs")).toBe(shown);
});
