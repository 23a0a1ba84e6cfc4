"""Crowds of labels: the submissions of one labeling job, and their runs, stand behind one node.

The unfolded graph has every submission; the folded one has the fold in their place. Both are kept,
each edge and node in its layer, so that neither has to be computed when somebody looks. A fold is
of one version of a job, which precedes all its submissions: so folding makes no cycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

from loopline.lineage import Edge, Fragment, Node, run_id
from loopline.lineage.model import LABELS

JOB_PREFIX = "labeling_job:"


class Layer(IntEnum):
    """In which graph a node or an edge is."""

    BOTH = 0
    UNFOLDED = 1
    FOLDED = 2


def is_fold(id_: str) -> bool:
    """Tell whether a node's id is that of a fold."""
    return id_.startswith(f"{LABELS}:") and id_.endswith("/*")


def folds_of(fragments: Iterable[Fragment], edges: Iterable[Edge]) -> dict[str, str]:
    """Return, for each submission among the fragments and its run, the id of its fold."""
    jobs = {edge.target: edge.source for edge in edges if edge.source.startswith(JOB_PREFIX)}
    folds: dict[str, str] = {}
    for fragment in fragments:
        own = fragment.artefact
        if own.kind == LABELS:
            run = run_id(own.run)
            job = jobs.get(run, "").removeprefix(JOB_PREFIX) or own.name.partition("/")[0]
            folds[own.id] = folds[run] = f"{LABELS}:{job}/*"
    return folds


def folded(edge: Edge, folds: Mapping[str, str]) -> Edge | None:
    """Return what stands for an edge in the folded graph; None if both its ends are one fold."""
    source, target = folds.get(edge.source, edge.source), folds.get(edge.target, edge.target)
    return Edge(source, target, edge.role) if source != target else None


def fold_nodes(
    fragments: Iterable[Fragment], folds: Mapping[str, str], known: Mapping[str, int]
) -> list[Node]:
    """Return the folds that submissions among the fragments belong to, as they are now.

    Args:
        fragments: What is new, in the order of the log.
        folds: From `folds_of`.
        known: How many submissions each fold had before.
    """
    counts = dict(known)
    nodes: dict[str, Node] = {}
    for fragment in fragments:
        own = fragment.artefact
        if own.kind != LABELS:
            continue
        id_ = folds[own.id]
        counts[id_] = counts.get(id_, 0) + 1
        job = own.name.partition("/")[0]
        nodes[id_] = Node(
            id=id_,
            kind=LABELS,
            name=job,
            label=f"{counts[id_]} labels",
            sequence=own.sequence,
            committed_at=own.committed_at,
            summary=f"{counts[id_]} submissions of {job}",
            figures={"submissions": counts[id_]},
        )
    return list(nodes.values())
