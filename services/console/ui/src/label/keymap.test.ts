import { describe, expect, it } from "vitest";
import { ACTIONS, CLASS_KEYS, chord, keymap, keyOf, mayBind, rebind, spoken } from "./keymap";

const pressed = (
  key: string,
  held: Partial<Record<"ctrlKey" | "metaKey" | "altKey" | "shiftKey", boolean>> = {},
) => chord({ key, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...held });

describe("keys", () => {
  it("say the same whatever is held on the way to a sign", () => {
    expect(pressed("?", { shiftKey: true })).toBe("?");
    expect(pressed("+", { shiftKey: true })).toBe("+");
    expect(pressed("A", { shiftKey: true })).toBe("Shift+a");
    expect(pressed("Z", { metaKey: true, shiftKey: true })).toBe("Ctrl+Shift+z");
    expect(pressed("ArrowLeft", { altKey: true })).toBe("Alt+ArrowLeft");
  });

  it("each do one thing, and none is a class's", () => {
    const keys = ACTIONS.map(({ key }) => key);
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys.filter((key) => CLASS_KEYS.includes(key))).toEqual([]);
    expect(keymap({}).get("Enter")).toBe("submit");
  });

  it("swap with whoever had them", () => {
    const changes = rebind({}, "tool_box", "p");
    expect(keyOf("tool_box", changes)).toBe("p");
    expect(keyOf("tool_polygon", changes)).toBe("b");
    expect(keymap(changes).size).toBe(ACTIONS.length);
  });

  it("are as usual again when given back", () => {
    const there = rebind({}, "tool_box", "p");
    expect(rebind(there, "tool_box", "b")).toEqual({});
  });

  it("cannot be a digit or a modifier alone", () => {
    expect(mayBind("3")).toBe(false);
    expect(mayBind("Ctrl+Control")).toBe(false);
    expect(mayBind("Ctrl+3")).toBe(true);
  });

  it("read well", () => {
    expect(spoken("Ctrl+Shift+z")).toBe("Ctrl ⇧ Z");
    expect(spoken("+")).toBe("+");
  });
});
