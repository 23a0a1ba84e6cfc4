import { describe, expect, it } from "vitest";
import {
  collapse,
  type Graph,
  KEEP_ALL,
  patched,
  type Raw,
  reach,
  readGraph,
  type Shown,
  show,
} from "./graph";
import type { Kind } from "./kinds";
import { layOut } from "./layout";

const node = (id: string, at: string, changes: Partial<Raw> = {}): Raw => {
  const [kind, rest] = id.split(":") as [Raw["kind"], string];
  const [name, version] = rest.split("@");
  return {
    id,
    kind,
    name: name!,
    version: Number(version ?? 0),
    label: id,
    group: `${kind}:${name}`,
    at,
    state: "",
    progress: null,
    duration_s: null,
    summary: "",
    datasets: ["photos"],
    figures: [],
    histogram: {},
    thumbnails: [],
    aliases: [],
    made_by: "",
    run_kind: "",
    worker: null,
    actor: null,
    ...changes,
  };
};
const edge = (source: string, target: string) => ({ source, target, role: "" });

/** dataset v1 → run → model v1 → dataset v2 → run → model v2 ... */
function flywheel(turns: number): Graph {
  const nodes: Raw[] = [];
  const edges = [];
  for (let turn = 1; turn <= turns; turn += 1) {
    const at = String(turn).padStart(6, "0");
    nodes.push(
      node(`dataset:photos@${turn}`, `${at}a`),
      node(`run:r${turn}`, `${at}b`, { group: "run:train" }),
    );
    nodes.push(node(`model:m@${turn}`, `${at}c`));
    edges.push(
      edge(`dataset:photos@${turn}`, `run:r${turn}`),
      edge(`run:r${turn}`, `model:m@${turn}`),
    );
    if (turn > 1) edges.push(edge(`model:m@${turn - 1}`, `dataset:photos@${turn}`));
  }
  return readGraph({ nodes, edges });
}
const SHOWN: Shown = {
  hidden: new Set<Kind>(),
  keep: KEEP_ALL,
  open: new Set(),
  focus: null,
  dataset: "",
  since: "",
};

describe("the graph", () => {
  it("keeps paths through kinds that are left out", () => {
    const part = show(flywheel(2), { ...SHOWN, hidden: new Set<Kind>(["run"]) });
    expect(part.edges.map(({ id }) => id)).toContain("dataset:photos@1→model:m@1");
    expect([...part.cards.values()].some(({ kind }) => kind === "run")).toBe(false);
  });

  it("knows what a node came from and what came of it", () => {
    const graph = flywheel(3);
    expect(reach(graph, ["model:m@2"], "upstream")).toContain("dataset:photos@1");
    expect(reach(graph, ["model:m@2"], "upstream")).not.toContain("dataset:photos@3");
    expect(reach(graph, ["model:m@2"], "downstream")).toContain("model:m@3");
  });

  it("puts older versions behind one card, and opens it", () => {
    const graph = flywheel(10);
    const part = collapse(graph, 3, new Set());
    const older = part.cards.get("older:dataset:photos");
    expect(older).toMatchObject({ badge: "v1–v7", line: "7 earlier versions" });
    expect(older?.members).toHaveLength(7);
    expect(part.cards.has("dataset:photos@8")).toBe(true);
    const opened = collapse(graph, 3, new Set(["older:dataset:photos"]));
    expect(opened.cards.has("dataset:photos@1")).toBe(true);
  });

  it("leaves no edge without its ends, whatever is shown", () => {
    for (const keep of [1, 3, KEEP_ALL]) {
      for (const hidden of [new Set<Kind>(), new Set<Kind>(["run", "model"])]) {
        const part = show(flywheel(12), { ...SHOWN, keep, hidden });
        for (const { source, target } of part.edges) {
          expect(part.cards.has(source) && part.cards.has(target)).toBe(true);
        }
      }
    }
  });

  it("takes in what changed", () => {
    const before = {
      nodes: [node("run:a", "1"), node("run:b", "2")],
      edges: [edge("run:a", "run:b")],
    };
    const next = patched(before, {
      nodes: [node("run:b", "2", { state: "failed" }), node("run:c", "3")],
      edges: [edge("run:b", "run:c")],
      removed: ["run:a"],
    });
    expect(next.nodes.map(({ id, state }) => [id, state])).toEqual([
      ["run:b", "failed"],
      ["run:c", ""],
    ]);
    expect(next.edges).toEqual([edge("run:b", "run:c")]);
  });
});

describe("the layout", () => {
  it("puts a card right of everything it was made from", () => {
    const { cards, edges } = flywheel(6);
    const { positions } = layOut([...cards.values()], edges);
    for (const { source, target } of edges) {
      expect(positions.get(target)!.x).toBeGreaterThan(positions.get(source)!.x);
    }
  });

  it("lets no two cards overlap", () => {
    const { cards, edges } = show(flywheel(8), { ...SHOWN, keep: 2 });
    const { positions } = layOut([...cards.values()], edges);
    const all = [...cards.values()].map((card) => ({ ...card, ...positions.get(card.id)! }));
    for (const a of all) {
      for (const b of all) {
        if (a === b) continue;
        const apart =
          a.x + a.width <= b.x ||
          b.x + b.width <= a.x ||
          a.y + a.height <= b.y ||
          b.y + b.height <= a.y;
        expect(apart, `${a.id} and ${b.id}`).toBe(true);
      }
    }
  });

  it("draws the circle that collapsing makes as an edge that returns", () => {
    const { cards, edges } = collapse(flywheel(10), 1, new Set());
    const { returning, positions } = layOut([...cards.values()], edges);
    expect(returning.size).toBeGreaterThan(0);
    expect(positions.size).toBe(cards.size);
  });

  it("lays two thousand nodes out within a second", () => {
    const { cards, edges } = flywheel(670);
    const before = performance.now();
    layOut([...cards.values()], edges);
    expect(performance.now() - before).toBeLessThan(1_000);
  });
});
