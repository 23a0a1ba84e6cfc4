"""The graph in memory: for programs that read the log itself, and the twin of the database's.

Commits are added in the order of the log. A million edges take about a gigabyte: past that, ask the
lineage service.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from loopline.lineage.model import LABELS, Edge, Fragment, Node, Ref, mentioned


class Graph:
    """Nodes and edges of the commits added so far."""

    def __init__(self, fragments: Iterable[Fragment] = ()) -> None:
        self.nodes: dict[str, Node] = {}
        self._above: defaultdict[str, dict[Edge, None]] = defaultdict(dict)  # edges by target
        self._below: defaultdict[str, dict[Edge, None]] = defaultdict(dict)  # edges by source
        self._by_name: defaultdict[tuple[str, str], list[Node]] = defaultdict(list)
        self._submissions: defaultdict[str, dict[str, None]] = defaultdict(dict)  # names by job
        for fragment in fragments:
            self.add(fragment)

    def add(self, fragment: Fragment) -> None:
        """Add what one commit makes; the same one again changes nothing."""
        for node in fragment.nodes:
            self.nodes.setdefault(node.id, node)
        own = fragment.artefact
        if self.nodes[own.id] is not own or own not in self._by_name[own.kind, own.name]:
            self.nodes[own.id] = own
            self._by_name[own.kind, own.name].append(own)
            if own.kind == LABELS:
                self._submissions[own.name.partition("/")[0]][own.name] = None
        edges = [*fragment.edges]
        for loose in fragment.loose:
            for found in self._meant(loose.source, fragment.sequence):
                self.nodes.setdefault(found.id, found)
                edges.append(Edge(found.id, loose.target, loose.role))
        for edge in edges:
            self._below[edge.source][edge] = None
            self._above[edge.target][edge] = None

    def find(self, ref: Ref, before: int | None = None) -> Node | None:
        """Return the version that `ref` names: by version, else by digest, else the head.

        Args:
            ref: What to find.
            before: Only versions committed before this sequence count.
        """
        if ref.id:
            return self.nodes.get(ref.id)
        for node in reversed(self._by_name[ref.kind, ref.name]):
            if (before is None or node.sequence < before) and ref.digest in ("", node.digest):
                return node
        return None

    def _meant(self, ref: Ref, before: int) -> list[Node]:
        if ref.is_set:
            each = (Ref(LABELS, name) for name in self._submissions[ref.name])
            return [node for one in each if (node := self.find(one, before)) is not None]
        found = self.find(ref, before) or mentioned(ref)
        return [] if found is None else [found]

    def edges(self) -> Iterator[Edge]:
        """Yield every edge."""
        for edges in self._above.values():
            yield from edges

    def above(self, node: str) -> list[Edge]:
        """Return the edges that lead to a node."""
        return list(self._above.get(node, ()))

    def below(self, node: str) -> list[Edge]:
        """Return the edges that leave a node."""
        return list(self._below.get(node, ()))

    def upstream(self, node: str) -> set[str]:
        """Return the ids of all that a node comes from, itself included."""
        return self._closure(node, lambda id_: (edge.source for edge in self._above.get(id_, ())))

    def downstream(self, node: str) -> set[str]:
        """Return the ids of all that came of a node, itself included."""
        return self._closure(node, lambda id_: (edge.target for edge in self._below.get(id_, ())))

    @staticmethod
    def _closure(start: str, step: Callable[[str], Iterator[str]]) -> set[str]:
        seen, waiting = {start}, [start]
        while waiting:
            for id_ in step(waiting.pop()):
                if id_ not in seen:
                    seen.add(id_)
                    waiting.append(id_)
        return seen
