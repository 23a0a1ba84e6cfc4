import { describe, expect, it, vi } from "vitest";
import { AHEAD, Feed } from "./feed";

const items = (from: number, count: number) =>
  Array.from({ length: count }, (_, index) => ({ asset: String(from + index) }));
const image = {} as ImageBitmap;

function feedOf(total: number) {
  let given = 0;
  const take = vi.fn(async (count: number, have: readonly string[]) => {
    const fresh = items(given, Math.min(count - have.length, total - given));
    given += fresh.length;
    return fresh;
  });
  const load = vi.fn(async () => image);
  return { feed: new Feed(take, load), take, load };
}
const settled = () => new Promise((resolve) => setTimeout(resolve));

describe("the feed", () => {
  it("fetches the images of the next items before they are opened", async () => {
    const { feed, load } = feedOf(10);
    feed.fill();
    await settled();
    expect(load.mock.calls.flat()).toEqual(["0", "1", "2", "3"]);
    feed.next();
    await feed.image("1");
    expect(load).toHaveBeenCalledTimes(AHEAD);
  });

  it("takes more before the last one is done, and says when there are none", async () => {
    const { feed } = feedOf(6);
    feed.fill();
    await settled();
    const seen: string[] = [];
    while (feed.current) {
      seen.push(feed.current.asset);
      feed.next();
      await settled();
    }
    expect(seen).toEqual(["0", "1", "2", "3", "4", "5"]);
    expect(feed.getState().isDry).toBe(true);
  });

  it("goes back to what was done and on again", async () => {
    const { feed } = feedOf(4);
    feed.fill();
    await settled();
    feed.next();
    feed.back();
    expect(feed.current?.asset).toBe("0");
    feed.back();
    expect(feed.current?.asset).toBe("0");
  });

  it("keeps what went wrong, and asks again when told to", async () => {
    const take = vi.fn().mockRejectedValueOnce(new Error("away")).mockResolvedValue(items(0, 2));
    const feed = new Feed(take, async () => image);
    feed.fill();
    await settled();
    expect(feed.getState().error).toEqual(new Error("away"));
    feed.fill(true);
    await settled();
    expect(feed.getState()).toMatchObject({ error: null, items: items(0, 2) });
  });

  it("reads an image again that could not be read", async () => {
    const load = vi.fn().mockRejectedValueOnce(new Error("lost")).mockResolvedValue(image);
    const feed = new Feed(async () => [], load);
    await expect(feed.image("a")).rejects.toThrow("lost");
    await expect(feed.image("a")).resolves.toBe(image);
  });
});
