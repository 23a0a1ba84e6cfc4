import { describe, expect, it } from "vitest";
import { begin, canRedo, canUndo, push, redo, replace, STEPS_MAX, undo } from "./history";

describe("history", () => {
  it("goes back and forth through every step", () => {
    let history = begin(0);
    for (const step of [1, 2, 3]) history = push(history, step);
    const back = undo(undo(history));
    expect(back.present).toBe(1);
    expect(redo(redo(back))).toEqual(history);
  });

  it("forgets what was undone once something else is done", () => {
    const history = push(undo(push(begin("a"), "b")), "c");
    expect(history.present).toBe("c");
    expect(canRedo(history)).toBe(false);
  });

  it("counts no step that changes nothing", () => {
    const history = begin("a");
    expect(push(history, "a")).toBe(history);
    expect(canUndo(history)).toBe(false);
    expect(undo(history)).toBe(history);
  });

  it("lets a drag replace its own step", () => {
    const history = replace(replace(push(begin(0), 1), 2), 3);
    expect(undo(history).present).toBe(0);
  });

  it("is bounded", () => {
    let history = begin(0);
    for (let step = 1; step <= STEPS_MAX + 50; step += 1) history = push(history, step);
    expect(history.past).toHaveLength(STEPS_MAX);
  });
});
