"""Crowds of labels stand behind one node per job version, and the graph has no cycle for it."""

from __future__ import annotations

from typing import Any

import pytest

from loopline.contracts import ArtefactKind, ArtefactRef
from loopline.lineage import Graph, fragment_of
from loopline.store.commits import Committed
from loopline.testing.provenance import Provenance
from services.lineage.domain.folding import fold_nodes, folded, folds_of, is_fold

FIRST = "labels:catalogue-relabel@1/*"


@pytest.fixture
async def rounds(provenance: Provenance) -> list[Committed[Any]]:
    """Two rounds of one job, the second over a dataset that the first one's labels made."""
    turn = await provenance.turn(["anna", "ben", "anna"])
    dataset, predictions = turn[10], turn[5]
    again = await provenance.job(dataset.ref, predictions.ref, turn[0].ref)
    labels = [await provenance.labeled(again.ref, "carl") for _ in range(4)]
    every = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_LABELS, name=again.ref.name, digest="ee")
    return [*turn, again, *labels, await provenance.corrected(dataset.ref, again.ref, [every])]


def folded_edges(rounds: list[Committed[Any]]) -> tuple[dict[str, str], set[tuple[str, str, str]]]:
    fragments = [fragment_of(one) for one in rounds]
    edges = list(Graph(fragments).edges())
    folds = folds_of(fragments, edges)
    stand_ins = [one for one in (folded(edge, folds) for edge in edges) if one is not None]
    return folds, {(e.source, e.target, e.role) for e in stand_ins}


async def test_a_fold_stands_between_job_labelers_and_what_read_the_labels(
    rounds: list[Committed[Any]],
) -> None:
    _, edges = folded_edges(rounds)
    assert {(source, role) for source, target, role in edges if target == FIRST} == {
        ("labeling_job:catalogue-relabel@1", "job"),
        ("labeler:anna", "labeler"),
        ("labeler:ben", "labeler"),
    }
    assert {role for source, _, role in edges if source == FIRST} == {"labels"}


async def test_rounds_of_one_job_are_folded_apart_and_make_no_cycle(
    rounds: list[Committed[Any]],
) -> None:
    folds, edges = folded_edges(rounds)
    assert set(folds.values()) == {FIRST, "labels:catalogue-relabel@3/*"}
    below: dict[str, set[str]] = {}
    for source, target, _ in edges:
        below.setdefault(source, set()).add(target)
    done: set[str] = set()

    def walk(node: str, path: tuple[str, ...]) -> None:
        assert node not in path, path
        if node not in done:
            for target in below.get(node, ()):
                walk(target, (*path, node))
            done.add(node)

    for node in below:
        walk(node, ())


async def test_a_fold_counts_on_from_what_it_had(rounds: list[Committed[Any]]) -> None:
    fragments = [fragment_of(one) for one in rounds]
    folds = folds_of(fragments, Graph(fragments).edges())
    nodes = {node.id: node for node in fold_nodes(fragments, folds, {FIRST: 100})}
    assert nodes[FIRST].figures == {"submissions": 103}
    assert nodes[FIRST].label == "103 labels"
    assert (nodes[FIRST].name, nodes[FIRST].version) == ("catalogue-relabel", 0)
    assert nodes["labels:catalogue-relabel@3/*"].figures == {"submissions": 4}


def test_folds_are_told_by_their_id() -> None:
    assert is_fold(FIRST)
    assert not is_fold("labels:catalogue-relabel/00aa@1")
    assert not is_fold("source:s3://customer/*")
