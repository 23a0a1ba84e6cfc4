"""What of the graph one commit makes."""

from __future__ import annotations

from typing import Any

import pytest

from loopline.contracts import ArtefactKind, ArtefactRef, Commit, DatasetCommitted, Run
from loopline.errors import Rejected
from loopline.lineage import Edge, Graph, LooseEdge, Ref, fragment_of
from loopline.lineage.model import artefact_id
from loopline.store.commits import Committed
from loopline.testing.provenance import Provenance

DATASET = ArtefactKind.ARTEFACT_KIND_DATASET


def roles(graph: Graph, node: str) -> dict[str, set[str]]:
    """Return role to the kinds of nodes that lead to a node in that role."""
    found: dict[str, set[str]] = {}
    for edge in graph.above(node):
        found.setdefault(edge.role, set()).add(edge.source.partition(":")[0])
    return found


def run_of(graph: Graph, node: str) -> str:
    return next(edge.source for edge in graph.above(node) if edge.role == "made")


def test_ids_name_kind_name_and_version() -> None:
    assert artefact_id("dataset", "catalogue", 3) == "dataset:catalogue@3"
    assert artefact_id("alias", "catalogue/champion", 2) == "alias:catalogue/champion@2"
    assert artefact_id("source", "s3://customer/photos/", 0, "ab") == "source:s3://customer/photos/"
    assert artefact_id("report", "drops.json", 0, "ab") == "report:ab"
    assert artefact_id("dataset", "catalogue", 0, "ab") == ""


def test_an_import_hangs_between_its_source_and_its_version(graph: Graph) -> None:
    run = run_of(graph, "dataset:catalogue@1")
    assert roles(graph, run) == {"images": {"source"}}
    assert {(e.role, e.target.partition(":")[0]) for e in graph.below(run)} == {
        ("made", "dataset"),
        ("drop_report", "report"),
    }


def test_a_version_follows_its_parent(graph: Graph) -> None:
    assert "dataset:catalogue@1" in {e.source for e in graph.above("dataset:catalogue@2")}
    assert roles(graph, "dataset:catalogue@2") == {"parent": {"dataset"}, "made": {"run"}}


def test_a_model_comes_from_its_dataset_and_the_flow_that_asked(graph: Graph) -> None:
    assert roles(graph, run_of(graph, "model:catalogue@2")) == {
        "train_on": {"dataset"},
        "flow": {"flow"},
    }
    node = graph.nodes["model:catalogue@2"]
    assert node.figures == {"accuracy": 0.81, "macro_f1": 0.8}
    assert node.details["recipe"] == "classification"


def test_an_alias_is_linked_from_the_version_it_was_moved_to(graph: Graph) -> None:
    assert Edge("model:catalogue@2", "alias:catalogue/champion@2", "target") in graph.above(
        "alias:catalogue/champion@2"
    )
    assert graph.nodes["alias:catalogue/champion@2"].label == "catalogue/champion -> v2"


def test_what_a_message_names_is_linked_though_its_run_does_not_list_it(graph: Graph) -> None:
    job = run_of(graph, "labeling_job:catalogue-relabel@1")
    assert roles(graph, job) == {
        "dataset": {"dataset"},
        "predictions": {"predictions"},
        "flow": {"flow"},
    }


def test_what_the_run_lists_is_not_linked_twice(graph: Graph) -> None:
    predictions = next(n.id for n in graph.nodes.values() if n.kind == "predictions")
    run = run_of(graph, predictions)
    assert len(graph.above(run)) == 3  # model, dataset, and the flow that only the message names


def test_a_delivery_leads_to_the_bucket_it_went_to(graph: Graph) -> None:
    assert [(e.target, e.role) for e in graph.below("delivery:catalogue@1")] == [
        ("bucket:s3://customer/results/catalogue/", "delivered_to")
    ]


def test_labels_come_from_a_labeler_and_the_job_as_it_was_then(graph: Graph) -> None:
    labels = [n.id for n in graph.nodes.values() if n.kind == "labels"]
    above = [edge for one in labels for edge in graph.above(run_of(graph, one))]
    assert {(e.source, e.role) for e in above} == {
        ("labeler:anna", "labeler"),
        ("labeler:ben", "labeler"),
        ("labeling_job:catalogue-relabel@1", "job"),
    }


def test_everything_behind_the_second_champion_is_upstream_of_it(graph: Graph) -> None:
    upstream = graph.upstream("alias:catalogue/champion@2")
    kinds = {graph.nodes[id_].kind for id_ in upstream}
    assert kinds == {
        "alias", "model", "dataset", "labels", "labeler", "labeling_job", "predictions", "flow",
        "source", "run",
    }  # fmt: skip
    assert "delivery:catalogue@1" not in upstream
    assert "alias:catalogue/champion@2" in graph.downstream(
        "source:s3://customer/catalogue-photos/"
    )


def test_the_run_says_who_what_and_where(graph: Graph) -> None:
    run = graph.nodes[run_of(graph, "dataset:catalogue@1")]
    assert run.kind == "run"
    assert run.name == "import"
    assert run.details["actor"] == {"kind": "external", "name": "urn:shop:exporter"}
    assert run.details["agent"]["host"] == "host-1"
    assert run.details["parameters"]["options"] == {"epochs": [1, 2.5]}
    assert run.details["environment"]["code_digest"] == "c" * 64
    assert run.details["started_at"] == "2026-01-01T00:00:00+00:00"
    assert run.figures == {"duration_s": 1.5, "images": 600.0}


def test_the_same_commit_twice_changes_nothing(graph: Graph, turn: list[Committed[Any]]) -> None:
    nodes, edges = dict(graph.nodes), set(graph.edges())
    for committed in turn:
        graph.add(fragment_of(committed))
    assert graph.nodes == nodes
    assert set(graph.edges()) == edges


def committed(
    version: int, *inputs: ArtefactRef, sequence: int = 0, digest: str = ""
) -> Committed[DatasetCommitted]:
    own = ArtefactRef(kind=DATASET, name="d", version=version, digest=digest)
    commit = Commit(artefact=own, run=Run(id=f"run-{version}", inputs=inputs))
    return Committed(DatasetCommitted(commit=commit), "s", sequence or version)


def test_an_input_named_by_digest_alone_is_the_version_committed_before() -> None:
    by_digest = ArtefactRef(kind=DATASET, name="d", digest="aa")
    third = fragment_of(committed(3, by_digest, digest="cc"))
    assert third.loose == (LooseEdge(Ref("dataset", "d", 0, "aa"), "run:run-3", "input"),)
    versions = [committed(1, digest="aa"), committed(2, digest="bb")]
    graph = Graph([*map(fragment_of, versions), third])
    assert [e.source for e in graph.above("run:run-3")] == ["dataset:d@1"]


def test_an_input_that_was_never_committed_is_shown_all_the_same() -> None:
    unknown = ArtefactRef(kind=DATASET, name="lost", digest="dd")
    graph = Graph([fragment_of(committed(1, unknown))])
    (edge,) = graph.above("run:run-1")
    assert edge.source == "dataset:lost@sha256:dd"
    assert graph.nodes[edge.source].sequence == 0


def test_a_commit_after_its_mention_takes_the_place_of_the_mention() -> None:
    later = ArtefactRef(kind=DATASET, name="d", version=2, digest="bb")
    graph = Graph([fragment_of(committed(1, later)), fragment_of(committed(2, digest="bb"))])
    assert graph.nodes["dataset:d@2"].sequence == 2
    assert graph.find(Ref("dataset", "d", 0, "bb")) == graph.nodes["dataset:d@2"]


@pytest.mark.parametrize(
    "artefact",
    [
        pytest.param(ArtefactRef(), id="nothing"),
        pytest.param(ArtefactRef(kind=DATASET, name="d"), id="no version"),
        pytest.param(ArtefactRef(kind=DATASET, version=1), id="no name"),
        pytest.param(ArtefactRef(name="d", version=1), id="no kind"),
    ],
)
def test_a_commit_of_nothing_is_rejected(artefact: ArtefactRef) -> None:
    message = DatasetCommitted(commit=Commit(artefact=artefact))
    with pytest.raises(Rejected, match="the commit at 7 names no version"):
        fragment_of(Committed(message, "s", 7))


async def test_a_run_that_reads_a_jobs_labels_is_linked_from_the_last_of_each_item(
    provenance: Provenance,
) -> None:
    turn = await provenance.turn()
    job = turn[6]
    again = await provenance.labeled(job.ref, "anna", asset=turn[7].message.asset)
    other = await provenance.labeled(job.ref, "carl")
    every = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_LABELS, name=job.ref.name, digest="ee")
    merged = await provenance.corrected(turn[9].ref, job.ref, [every])
    after = await provenance.labeled(job.ref, "anna")
    graph = Graph(map(fragment_of, [*turn, again, other, merged, after]))
    read = [
        edge.source
        for edge in graph.above(run_of(graph, "dataset:catalogue@3"))
        if edge.role == "labels"
    ]
    assert sorted(read) == sorted(fragment_of(one).artefact.id for one in (again, turn[8], other))
