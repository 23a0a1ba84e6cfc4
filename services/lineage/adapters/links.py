"""What a batch of commits needs to know of those before it: versions, submissions, folds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import orjson
from sqlalchemy import Connection, select

from loopline.lineage import Edge, LooseEdge, Node
from loopline.lineage.model import mentioned
from services.lineage.adapters.ids import ids_table
from services.lineage.adapters.tables import nodes
from services.lineage.domain.folding import Layer

Version = tuple[int, str, str]  # sequence, id, digest
Loose = Sequence[tuple[LooseEdge, int]]  # with the sequence of the commit it is of


class Links:
    """Looks things up as they were at a commit.

    Args:
        connection: Inside the transaction that writes the batch.
        own: What the batch itself makes; not all of it is written yet.
    """

    def __init__(self, connection: Connection, own: Iterable[Node]) -> None:
        self._connection = connection
        self._own = list(own)

    def single(self, loose: Loose) -> Iterable[tuple[Edge, Node | None]]:
        """Yield the edges from single versions; with a node where only the edge mentions it."""
        if not loose:
            return
        versions = self._versions({edge.source.name for edge, _ in loose})
        for edge, sequence in loose:
            ref = edge.source
            for committed, id_, digest in reversed(versions[ref.kind, ref.name]):
                if committed < sequence and ref.digest in ("", digest):
                    yield Edge(id_, edge.target, edge.role), None
                    break
            else:
                node = mentioned(ref)
                if node is not None:
                    yield Edge(node.id, edge.target, edge.role), node

    def submissions(self, loose: Loose) -> Iterable[Edge]:
        """Yield an edge from the last submission of each item of a job. The batch is written."""
        for edge, sequence in loose:
            job = edge.source.name
            found = select(nodes.c.name, nodes.c.id).where(
                nodes.c.kind == edge.source.kind,
                nodes.c.layer < Layer.FOLDED,
                nodes.c.name > f"{job}/",
                nodes.c.name < f"{job}0",  # "0" is the character after "/"
                nodes.c.sequence > 0,
                nodes.c.sequence < sequence,
            )
            rows = self._connection.execute(found.order_by(nodes.c.sequence))
            for id_ in {row[0]: row[1] for row in rows}.values():
                yield Edge(id_, edge.target, edge.role)

    def folds_of(self, submissions: Collection[str]) -> dict[str, str]:
        """Return the folds of submissions. The batch is written."""
        if not submissions:
            return {}
        wanted = ids_table(self._connection, submissions)
        found = select(nodes.c.id, nodes.c.fold).join_from(
            wanted, nodes, nodes.c.id == wanted.c.value
        )
        return {row[0]: row[1] for row in self._connection.execute(found) if row[1]}

    def counts(self, folds: Iterable[str]) -> dict[str, int]:
        """Return how many submissions stand behind each fold."""
        wanted = ids_table(self._connection, set(folds))
        found = select(nodes.c.id, nodes.c.figures).join_from(
            wanted, nodes, nodes.c.id == wanted.c.value
        )
        rows = self._connection.execute(found)
        return {row[0]: int(orjson.loads(row[1])["submissions"]) for row in rows}

    def _versions(self, names: Collection[str]) -> defaultdict[tuple[str, str], list[Version]]:
        """Return the versions of artefacts, oldest first."""
        versions: defaultdict[tuple[str, str], list[Version]] = defaultdict(list)
        wanted = ids_table(self._connection, names)
        found = (
            select(nodes.c.kind, nodes.c.name, nodes.c.sequence, nodes.c.id, nodes.c.digest)
            .join_from(wanted, nodes, nodes.c.name == wanted.c.value)
            .where(nodes.c.sequence > 0)
            .order_by(nodes.c.sequence)
        )
        for row in self._connection.execute(found):
            versions[row[0], row[1]].append((row[2], row[3], row[4]))
        for node in self._own:
            if node.name in names:
                versions[node.kind, node.name].append((node.sequence, node.id, node.digest))
        return versions
