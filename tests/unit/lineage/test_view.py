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


def submissions(
    count: int, job: str = "relabel@1", first: int = 0
) -> tuple[list[ShownNode], list[ShownEdge]]:
    nodes, edges = [node(f"labeling_job:{job}"), node("labeler:anna", 0)], []
    name = job.partition("@")[0]
    for number in range(first, first + count):
        run, labels = node(f"run:{number}"), node(f"labels:{name}/{number}@1", number)
        nodes += [run, labels]
        edges += [
            edge(f"labeling_job:{job}", run.id, "job"),
            edge("labeler:anna", run.id, "labeler"),
            edge(run.id, labels.id, "made"),
            edge(labels.id, "run:merge", "labels"),
        ]
    return [*nodes, node("run:merge", 900)], edges


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


def test_a_few_submissions_are_shown_one_by_one() -> None:
    nodes, edges = submissions(5)
    view = view_of(nodes, edges)
    assert set(view.nodes) == set(nodes)
    assert not view.folded


def test_many_submissions_are_folded_into_one_between_job_labeler_and_merge() -> None:
    nodes, edges = submissions(200)
    view = view_of(nodes, edges)
    assert {n.id for n in view.nodes} == {
        "labeling_job:relabel@1", "labeler:anna", "labels:relabel@1/*", "run:merge",
    }  # fmt: skip
    assert set(view.edges) == {
        edge("labeling_job:relabel@1", "labels:relabel@1/*", "job"),
        edge("labeler:anna", "labels:relabel@1/*", "labeler"),
        edge("labels:relabel@1/*", "run:merge", "labels"),
    }
    assert view.folded == {"labels:relabel@1/*": 200}
    fold = next(n for n in view.nodes if n.kind == "labels")
    assert (fold.name, fold.label, fold.figures) == ("relabel", "200 labels", '{"submissions":200}')


def test_two_rounds_of_one_job_are_folded_apart_and_make_no_cycle() -> None:
    first, first_edges = submissions(10)
    second, second_edges = submissions(10, "relabel@3", first=100)
    again = [edge("run:merge", "labeling_job:relabel@3", "dataset")]
    second_edges = [
        e._replace(target="run:end") if e.target == "run:merge" else e for e in second_edges
    ]
    nodes = list(dict.fromkeys([*first, *second, node("run:end", 999)]))
    view = view_of(nodes, [*first_edges, *second_edges, *again], ["labels", "labeling_job"])
    assert set(view.folded.values()) == {10}
    assert edge("labels:relabel@1/*", "labeling_job:relabel@3", "labels") in view.edges


def test_nothing_is_folded_where_it_is_not_asked_for() -> None:
    nodes, edges = submissions(200)
    assert len(view_of(nodes, edges, fold=False).nodes) == len(nodes)


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
