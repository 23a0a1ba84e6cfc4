"""What of a subgraph is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.lineage.domain.view import ShownEdge, ShownNode, view_of


def node(id_: str, sequence: int = 1) -> ShownNode:
    kind, _, rest = id_.partition(":")
    name, _, version = rest.partition("@")
    return ShownNode(id_, kind, name, int(version or 0), "", name, sequence, "", "", "{}", "null")


def edge(source: str, target: str, role: str = "input") -> ShownEdge:
    return ShownEdge(source, target, role)


def test_hidden_kinds_do_not_cut_the_graph() -> None:
    nodes = [node("dataset:d@1", 1), node("run:a", 2), node("model:m@1", 2), node("run:b", 3),
             node("predictions:p@1", 3)]  # fmt: skip
    edges = [
        edge("dataset:d@1", "run:a", "train_on"),
        edge("run:a", "model:m@1", "made"),
        edge("model:m@1", "run:b", "model"),
        edge("run:b", "predictions:p@1", "made"),
    ]
    view = view_of(nodes, edges, ["dataset", "predictions"])
    assert [n.id for n in view.nodes] == ["dataset:d@1", "predictions:p@1"]
    assert view.edges == (edge("dataset:d@1", "predictions:p@1", "train_on"),)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=80),
    st.sets(st.integers(0, 30)),
)
def test_kept_nodes_are_linked_exactly_where_a_path_of_hidden_ones_joins_them(
    pairs: list[tuple[int, int]], hidden: set[int]
) -> None:
    def id_of(number: int) -> str:
        return f"{'run' if number in hidden else 'dataset'}:{number}"

    links = {(min(p), max(p)) for p in pairs if p[0] != p[1]}  # from older to newer: no cycles
    nodes = [node(id_of(number), number + 1) for number in range(31)]
    view = view_of(nodes, [edge(id_of(a), id_of(b)) for a, b in links], ["dataset"])
    below = {number: {b for a, b in links if a == number} for number in range(31)}

    def reached(number: int) -> set[int]:
        return {c for b in below[number] for c in (reached(b) if b in hidden else {b})}

    expected = {(id_of(a), id_of(b)) for a in set(range(31)) - hidden for b in reached(a)}
    assert {(e.source, e.target) for e in view.edges} == expected
