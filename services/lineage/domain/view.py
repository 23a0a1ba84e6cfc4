"""What of a subgraph is shown: kinds that are left out, and crowds of labels that are folded.

A node that is left out does not cut the graph: what led to it leads to what came of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import orjson

FOLD_ABOVE = 5  # submissions of one job that are still shown one by one
LABELS = "labels"


class ShownNode(NamedTuple):
    """A node as it goes out; `figures` and `run` are JSON already."""

    id: str
    kind: str
    name: str
    version: int
    digest: str
    label: str
    sequence: int
    committed_at: str
    summary: str
    figures: str
    run: str


class ShownEdge(NamedTuple):
    """An edge as it goes out."""

    source: str
    target: str
    role: str


@dataclass(frozen=True, slots=True)
class View:
    """A subgraph to show.

    Args:
        nodes: In order of commit.
        edges: Between them.
        folded: Id of a folded node to how many stand behind it.
    """

    nodes: tuple[ShownNode, ...]
    edges: tuple[ShownEdge, ...]
    folded: Mapping[str, int]


def view_of(
    nodes: Sequence[ShownNode], edges: Sequence[ShownEdge], kinds: Collection[str] = (), *,
    fold: bool = True,
) -> View:  # fmt: skip
    """Return what is shown: only `kinds` if any are given, crowds of labels folded."""
    in_order = sorted(nodes, key=lambda node: (node.sequence, node.id))
    view = View(tuple(in_order), tuple(edges), {})
    if fold:
        view = fold_labels(view)
    if kinds:
        view = keep_kinds(view, kinds)
    return replace(view, nodes=tuple(sorted(view.nodes, key=lambda n: (n.sequence, n.id))))


def fold_labels(view: View) -> View:
    """Put one node in the place of a job's submissions and their runs, where there are many.

    They are grouped by the job's version, which precedes them all: so folding makes no cycle.
    """
    kinds = {node.id: node.kind for node in view.nodes}
    made_by = {e.target: e.source for e in view.edges if kinds[e.target] == LABELS}
    job_of = {e.target: e.source for e in view.edges if kinds[e.source] == "labeling_job"}
    groups: defaultdict[str, list[ShownNode]] = defaultdict(list)
    for node in view.nodes:
        if node.kind == LABELS:
            job = job_of.get(made_by.get(node.id, ""), "")
            groups[job.partition(":")[2] or node.name.partition("/")[0]].append(node)
    renamed: dict[str, str] = {}
    folds: dict[str, int] = {}
    nodes: list[ShownNode] = []
    for job, group in groups.items():
        if len(group) > FOLD_ABOVE:
            fold = _fold(job, group)
            nodes.append(fold)
            folds[fold.id] = len(group)
            # A run of one submission says nothing that the submission does not.
            renamed |= {one: fold.id for n in group for one in (n.id, made_by.get(n.id, n.id))}
    nodes += [node for node in view.nodes if node.id not in renamed]
    return View(tuple(nodes), _renamed(view.edges, renamed), {**view.folded, **folds})


def keep_kinds(view: View, kinds: Collection[str]) -> View:
    """Leave out every other kind of node, and link what it stood between."""
    kept = {node.id for node in view.nodes if node.kind in kinds}
    below: defaultdict[str, list[ShownEdge]] = defaultdict(list)
    for edge in view.edges:
        below[edge.source].append(edge)

    @cache
    def reached(node: str) -> frozenset[str]:
        """Return the kept nodes that follow a hidden one."""
        targets = {edge.target for edge in below[node]}
        hidden = (reached(target) for target in targets - kept)
        return frozenset(targets & kept).union(*hidden)

    for node in sorted(view.nodes, key=lambda n: -n.sequence):
        if node.id not in kept:
            reached(node.id)  # the newest first: what follows is known, the recursion shallow
    edges: dict[ShownEdge, None] = {}
    for source in kept:
        for edge in below[source]:
            targets = {edge.target} if edge.target in kept else reached(edge.target)
            edges |= dict.fromkeys(ShownEdge(source, target, edge.role) for target in targets)
    nodes = tuple(node for node in view.nodes if node.id in kept)
    counts = {id_: count for id_, count in view.folded.items() if id_ in kept}
    return View(nodes, tuple(sorted(edges)), counts)


def _fold(job: str, group: Sequence[ShownNode]) -> ShownNode:
    last = max(group, key=lambda node: node.sequence)
    return last._replace(
        id=f"{LABELS}:{job}/*",
        name=job.partition("@")[0],
        version=0,
        digest="",
        label=f"{len(group)} labels",
        summary=f"{len(group)} submissions of {job}",
        figures=orjson.dumps({"submissions": len(group)}).decode(),
    )


def _renamed(edges: Iterable[ShownEdge], names: Mapping[str, str]) -> tuple[ShownEdge, ...]:
    moved = (
        ShownEdge(names.get(e.source, e.source), names.get(e.target, e.target), e.role)
        for e in edges
    )
    return tuple(dict.fromkeys(edge for edge in moved if edge.source != edge.target))
