"""Writes the graph: the rows that a batch of commits makes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import orjson
from sqlalchemy import Connection, select

from loopline.contracts import catalog
from loopline.lineage import Edge, Fragment, LooseEdge, Node, fragment_of, run_id
from loopline.lineage.model import RUN, mentioned
from loopline.store.commits import Committed
from loopline.store.database import insert_rows
from loopline.store.projections import Projection
from services.lineage.adapters import tables

Row = dict[str, Any]  # column name to value


class LineageGraph(Projection):
    """Every commit, as nodes and edges."""

    name: ClassVar = "lineage"
    version: ClassVar = 1
    metadata: ClassVar = tables.metadata
    events: ClassVar = catalog.COMMITS

    def apply(self, connection: Connection, batch: Sequence[Committed[Any]]) -> None:
        """See `Projection.apply`."""
        fragments = [fragment_of(committed) for committed in batch]
        own = {f.artefact.id: f.artefact for f in fragments}
        others = {n.id: n for f in fragments for n in reversed(f.nodes) if n.id not in own}
        runs = _runs(fragments)
        # What a commit makes replaces what was only mentioned before it; the rest stays as it was.
        insert_rows(
            connection, tables.nodes, [_node_row(n, runs) for n in own.values()],
            on_conflict="replace",
        )  # fmt: skip
        edges = dict.fromkeys(edge for fragment in fragments for edge in fragment.edges)
        loose = [(one, f.sequence) for f in fragments for one in f.loose]
        for edge, node in _resolved(connection, loose):
            edges[edge] = None
            if node is not None:
                others.setdefault(node.id, node)
        rows = [_node_row(node, runs) for node in others.values()]
        insert_rows(connection, tables.nodes, rows, on_conflict="keep")
        insert_rows(connection, tables.edges, [_edge_row(e) for e in edges], on_conflict="keep")
        insert_rows(
            connection, tables.commits,
            [_commit_row(c, f) for c, f in zip(batch, fragments, strict=True)],
        )  # fmt: skip


def _runs(fragments: Iterable[Fragment]) -> dict[str, Node]:
    return {n.id: n for f in fragments for n in f.nodes if n.kind == RUN}


def _node_row(node: Node, runs: Mapping[str, Node]) -> Row:
    run = runs.get(run_id(node.run)) if node.run else None
    return {
        "id": node.id,
        "kind": node.kind,
        "name": node.name,
        "version": node.version,
        "digest": node.digest,
        "label": node.label,
        "sequence": node.sequence,
        "committed_at": node.committed_at,
        "summary": node.summary,
        "figures": _json(node.figures) if node.figures else "{}",
        "run": _json(_run_in_short(run)) if run else "null",
        "details": _json(node.details) if node.details else "{}",
    }


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _run_in_short(run: Node) -> Row:
    kept = ("kind", "actor", "agent", "started_at", "finished_at", "trace_id")
    return {"id": run.id, **{key: run.details[key] for key in kept}}


def _edge_row(edge: Edge) -> Row:
    return {"source": edge.source, "target": edge.target, "role": edge.role}


def _commit_row(committed: Committed[Any], fragment: Fragment) -> Row:
    own, run = fragment.artefact, committed.commit.run
    made_by = next((n for n in fragment.nodes if n.kind == RUN), None)
    return {
        "sequence": committed.sequence,
        "subject": committed.subject,
        "node": own.id,
        "kind": own.kind,
        "name": own.name,
        "version": own.version,
        "run": made_by.id if made_by else "",
        "run_kind": made_by.name if made_by else "",
        "actor": run.actor.name,
        "committed_at": own.committed_at,
        "summary": own.summary,
    }


def _resolved(
    connection: Connection, loose: Sequence[tuple[LooseEdge, int]]
) -> Iterable[tuple[Edge, Node | None]]:
    """Find the versions that loose edges mean, as of their commits."""
    yield from _submissions(connection, [one for one in loose if one[0].source.is_set])
    single = [one for one in loose if not one[0].source.is_set]
    versions = _versions(connection, {edge.source.name for edge, _ in single})
    for edge, sequence in single:
        ref = edge.source
        for committed, id_, digest in reversed(versions[ref.kind, ref.name]):
            if committed < sequence and ref.digest in ("", digest):
                yield Edge(id_, edge.target, edge.role), None
                break
        else:
            node = mentioned(ref)
            if node is not None:
                yield Edge(node.id, edge.target, edge.role), node


def _versions(
    connection: Connection, names: Collection[str]
) -> defaultdict[tuple[str, str], list[tuple[int, str, str]]]:
    """Return the committed versions of artefacts, oldest first: sequence, id, digest."""
    versions: defaultdict[tuple[str, str], list[tuple[int, str, str]]] = defaultdict(list)
    if names:
        found = select(
            tables.nodes.c.kind, tables.nodes.c.name, tables.nodes.c.sequence,
            tables.nodes.c.id, tables.nodes.c.digest,
        ).where(tables.nodes.c.name.in_(sorted(names)), tables.nodes.c.sequence > 0)  # fmt: skip
        for row in connection.execute(found.order_by(tables.nodes.c.sequence)):
            versions[row[0], row[1]].append((row[2], row[3], row[4]))
    return versions


def _submissions(
    connection: Connection, loose: Sequence[tuple[LooseEdge, int]]
) -> Iterable[tuple[Edge, Node | None]]:
    """Link the last submission of each item of a job, as of the commit that read them."""
    table = tables.nodes
    for edge, sequence in loose:
        job = edge.source.name
        found = select(table.c.name, table.c.id).where(
            table.c.kind == edge.source.kind,
            table.c.name > f"{job}/",
            table.c.name < f"{job}0",  # "0" is the character after "/"
            table.c.sequence > 0,
            table.c.sequence < sequence,
        )
        rows = connection.execute(found.order_by(table.c.sequence))
        for id_ in {row[0]: row[1] for row in rows}.values():
            yield Edge(id_, edge.target, edge.role), None
