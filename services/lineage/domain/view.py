"""What of a subgraph is shown.

A node whose kind is left out does not cut the graph: what led to it leads to what came of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple


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
    """A subgraph to show, nodes in the order of their commits."""

    nodes: tuple[ShownNode, ...]
    edges: tuple[ShownEdge, ...]


def view_of(
    nodes: Sequence[ShownNode], edges: Sequence[ShownEdge], kinds: Collection[str] = ()
) -> View:
    """Return what is shown of a subgraph: all of it, or only `kinds`."""
    in_order = tuple(sorted(nodes, key=lambda node: (node.sequence, node.id)))
    view = View(in_order, tuple(edges))
    return keep_kinds(view, kinds) if kinds else view


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
    return View(nodes, tuple(sorted(edges)))
