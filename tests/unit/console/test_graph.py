"""How the page reads and places a graph: its own modules, run by Node."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

STATIC = Path(__file__).parents[3] / "services" / "console" / "static"
NODE = Path(sys.executable).parent / "node"
PROGRAM = """
const { layOut, sizeOf } = await import(process.argv[1] + "/layout.js");
const { readGraph, relatives, withKinds } = await import(process.argv[1] + "/graph.js");
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const answers = JSON.parse(Buffer.concat(chunks)).map(({ answer, hidden, of }) => {
  const graph = withKinds(readGraph(answer), new Set(hidden || []));
  const nodes = [...graph.nodes.values()];
  const { positions, width, height } = layOut(nodes, graph.edges);
  return {
    nodes: nodes.map((node) => ({ ...node, ...positions.get(node.id), size: sizeOf(node) })),
    edges: graph.edges, width, height,
    relatives: of ? [...relatives(graph, of)] : [],
  };
});
process.stdout.write(JSON.stringify(answers));
"""


def page(*asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the page makes of each graph."""
    command = [str(NODE), "--input-type=module", "-e", PROGRAM, STATIC.as_uri()]
    done = subprocess.run(
        command, input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    made: list[dict[str, Any]] = json.loads(done.stdout)
    return made


def node(id_: str, kind: str = "dataset", **fields: Any) -> dict[str, Any]:
    """Return a node as lineage says it."""
    return {"id": id_, "kind": kind, "name": id_, "version": 1, "sequence": 1, **fields}


def edge(source: str, target: str, role: str = "input") -> dict[str, str]:
    """Return an edge as lineage says it."""
    return {"source": source, "target": target, "role": role}


LOOP = {
    "nodes": [
        node("d1"),
        node("t", "run", name="train"),
        node("m1", "model"),
        node("other"),
    ],
    "edges": [edge("d1", "t", "train_on"), edge("t", "m1", "made")],
}


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    """Return a graph whose edges point from earlier to later nodes."""
    count = draw(st.integers(1, 30))
    kinds = st.sampled_from(["dataset", "model", "run", "labels", "flow"])
    nodes = [node(f"n{i}", draw(kinds), sequence=i) for i in range(count)]
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    edges = [edge(f"n{min(p)}", f"n{max(p)}") for p in draw(st.lists(pairs, max_size=60))]
    return {"nodes": nodes, "edges": [e for e in edges if e["source"] != e["target"]]}


@settings(max_examples=10, deadline=None)
@given(st.lists(graphs(), min_size=1, max_size=20))
def test_a_node_stands_right_of_what_it_was_made_from_and_on_no_other(
    asked: list[dict[str, Any]],
) -> None:
    for made in page(*({"answer": answer} for answer in asked)):
        places = {n["id"]: n for n in made["nodes"]}
        for e in made["edges"]:
            source, target = places[e["source"]], places[e["target"]]
            assert source["x"] + source["size"]["width"] < target["x"]
        boxes = list(places.values())
        for index, one in enumerate(boxes):
            assert 0 <= one["x"] <= made["width"]
            assert -1e-6 <= one["y"] <= made["height"]
            for two in boxes[index + 1 :]:
                assert not _overlap(one, two), (one["id"], two["id"])


def test_hidden_runs_leave_their_paths() -> None:
    [made] = page({"answer": LOOP, "hidden": ["run"]})
    assert [n["id"] for n in made["nodes"]] == ["d1", "m1", "other"]
    assert made["edges"] == [edge("d1", "m1", "train_on")]


def test_relatives_are_what_it_came_from_and_what_came_of_it() -> None:
    [made] = page({"answer": LOOP, "of": "t"})
    assert sorted(made["relatives"]) == ["d1", "m1", "t"]


def test_cycle_in_a_wrong_answer_does_not_hang_the_page() -> None:
    answer = {"nodes": [node("a"), node("b")], "edges": [edge("a", "b"), edge("b", "a")]}
    [made] = page({"answer": answer})
    assert len(made["nodes"]) == 2


def test_cards_tell_the_figure_that_matters() -> None:
    answer = {
        "nodes": [
            node("d", figures={"items": 6000, "labeled": 1500}),
            node("m", "model", figures={"accuracy": 0.8431, "macro_f1": 0.83}),
            node("catalogue-0123456789abcdef", "predictions", figures={"predictions": 450}),
            node("s3://customer/photos/2024/", "source", version=0),
            node("labels:j@1/*", "labels", name="j", version=0, figures={"submissions": 1000}),
            node("c/champion", "alias", label="c/champion -> v2"),
        ],
        "edges": [],
        "folded": {"labels:j@1/*": 1000},
    }
    [made] = page({"answer": answer})
    lines = {n["title"]: n["line"] for n in made["nodes"]}
    assert lines == {
        "d": "1,500 of 6,000 labeled",
        "m": "accuracy 84.3 %",
        "catalogue 012345": "450 images",
        "photos/2024": "s3://customer",
        "j": "1,000 submissions",
        "champion": "c v2",
    }
    assert made["nodes"][4]["folded"] == 1000


def test_edges_to_what_was_left_out_are_dropped_and_unknown_kinds_drawn() -> None:
    answer = {"nodes": [node("a", "sensor_rig")], "edges": [edge("gone", "a")]}
    [made] = page({"answer": answer})
    assert made["edges"] == []
    assert len(made["nodes"]) == 1


def _overlap(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return bool(
        one["x"] < two["x"] + two["size"]["width"]
        and two["x"] < one["x"] + one["size"]["width"]
        and one["y"] + 1e-6 < two["y"] + two["size"]["height"]
        and two["y"] + 1e-6 < one["y"] + one["size"]["height"]
    )
