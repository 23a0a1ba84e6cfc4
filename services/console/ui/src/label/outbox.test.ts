import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Refused } from "../api/errors";
import { type Letter, Outbox } from "./outbox";

const shelf = () => {
  const kept = new Map<string, string>();
  return {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
  };
};
const letter = (id: string, path = `/items/${id}`): Letter => ({
  id,
  job: "trees",
  asset: id,
  method: "POST",
  path,
  body: { id },
});
const settled = () => vi.advanceTimersByTimeAsync(0);

describe("the outbox", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("sends what it is given, and keeps nothing of it", async () => {
    const sent: unknown[] = [];
    const place = shelf();
    const outbox = new Outbox(async (_, __, body) => sent.push(body), place);
    outbox.post(letter("a"));
    await settled();
    expect(sent).toEqual([{ id: "a" }]);
    expect(outbox.getState().waiting).toEqual([]);
    expect(place.getItem("loopline.outbox")).toBe("[]");
  });

  it("keeps trying while the server does not answer, in the browser's storage meanwhile", async () => {
    let up = false;
    const sent: unknown[] = [];
    const place = shelf();
    const outbox = new Outbox(async (_, __, body) => {
      if (!up) throw new TypeError("Failed to fetch");
      sent.push(body);
    }, place);
    for (const id of ["a", "b", "c", "d", "e", "f"]) outbox.post(letter(id));
    await vi.advanceTimersByTimeAsync(3_000);
    expect(outbox.getState().trouble).not.toBe("");
    expect(JSON.parse(place.getItem("loopline.outbox")!)).toHaveLength(6);
    up = true;
    await vi.advanceTimersByTimeAsync(30_000);
    expect(sent).toHaveLength(6);
    expect(outbox.getState()).toMatchObject({ waiting: [], trouble: "" });
  });

  it("goes on after the page was closed", async () => {
    const place = shelf();
    const first = new Outbox(() => new Promise(() => {}), place);
    first.post(letter("a"));
    const sent: unknown[] = [];
    new Outbox(async (_, __, body) => sent.push(body), place);
    await settled();
    expect(sent).toEqual([{ id: "a" }]);
  });

  it("does not try again what is refused for good, and says why", async () => {
    let tries = 0;
    const outbox = new Outbox(async () => {
      tries += 1;
      throw new Refused(409, "ada holds it");
    }, shelf());
    outbox.post(letter("a"));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(tries).toBe(1);
    expect(outbox.getState().refused).toMatchObject([{ reason: "ada holds it" }]);
  });

  it("sends two letters about one item one after the other, the later one last", async () => {
    const done: (() => void)[] = [];
    const sent: unknown[] = [];
    const outbox = new Outbox(async (_, __, body) => {
      sent.push(body);
      await new Promise<void>((resolve) => done.push(resolve));
    }, shelf());
    outbox.post(letter("first", "/items/x"));
    outbox.post(letter("second", "/items/x"));
    outbox.post(letter("third", "/items/x"));
    await settled();
    expect(sent).toEqual([{ id: "first" }]);
    done[0]!();
    await settled();
    expect(sent).toEqual([{ id: "first" }, { id: "third" }]);
  });
});
