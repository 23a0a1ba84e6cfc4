"""Writes the graph: the rows that a batch of commits makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import orjson
from sqlalchemy import Connection

from loopline.lineage import Edge, Fragment, Node, fragment_of, run_id
from loopline.lineage.completeness import GRAPHED
from loopline.lineage.model import LABELS, RUN
from loopline.store.commits import Committed
from loopline.store.database import insert_rows
from loopline.store.projections import Projection
from services.lineage.adapters import tables
from services.lineage.adapters.links import Links
from services.lineage.domain.folding import Layer, fold_nodes, folded, folds_of

Row = dict[str, Any]  # column name to value


class LineageGraph(Projection):
    """Every commit, as nodes and edges."""

    name: ClassVar = "lineage"
    version: ClassVar = 2
    metadata: ClassVar = tables.metadata
    events: ClassVar = GRAPHED

    def apply(self, connection: Connection, batch: Sequence[Committed[Any]]) -> None:
        """See `Projection.apply`."""
        fragments = [fragment_of(committed) for committed in batch]
        runs = {n.id: n for f in fragments for n in f.nodes if n.kind == RUN}
        own = {f.artefact.id: f.artefact for f in fragments}
        others = {n.id: n for f in fragments for n in reversed(f.nodes) if n.id not in own}
        edges = dict.fromkeys(edge for fragment in fragments for edge in fragment.edges)
        loose = [(one, f.sequence) for f in fragments for one in f.loose if not one.source.is_set]
        links = Links(connection, own.values())
        for edge, node in links.single(loose):
            edges[edge] = None
            if node is not None:
                others.setdefault(node.id, node)
        folds = folds_of(fragments, edges)

        def rows(nodes: Iterable[Node], layer: Layer = Layer.BOTH) -> list[Row]:
            return [_node_row(node, runs, layer, folds.get(node.id, "")) for node in nodes]

        # What a commit makes replaces what was only mentioned before it; the rest stays as it was.
        insert_rows(connection, tables.nodes, rows(own.values()), on_conflict="replace")
        insert_rows(connection, tables.nodes, rows(others.values()), on_conflict="keep")
        crowds = [(one, f.sequence) for f in fragments for one in f.loose if one.source.is_set]
        edges |= dict.fromkeys(links.submissions(crowds))
        folds |= links.folds_of({e.source for e in edges if e.source.startswith(f"{LABELS}:")})
        new = fold_nodes(fragments, folds, links.counts(folds.values()))
        insert_rows(connection, tables.nodes, rows(new, Layer.FOLDED), on_conflict="replace")
        insert_rows(connection, tables.edges, _edge_rows(edges, folds), on_conflict="keep")
        commits = [_commit_row(c, f) for c, f in zip(batch, fragments, strict=True)]
        insert_rows(connection, tables.commits, commits)


def _node_row(node: Node, runs: Mapping[str, Node], layer: Layer, fold: str) -> Row:
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
        "layer": int(Layer.UNFOLDED if fold else layer),
        "fold": fold,
    }


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _run_in_short(run: Node) -> Row:
    kept = ("kind", "actor", "agent", "started_at", "finished_at", "trace_id")
    return {"id": run.id, **{key: run.details[key] for key in kept}}


def _edge_rows(edges: Iterable[Edge], folds: Mapping[str, str]) -> list[Row]:
    rows: dict[Edge, Layer] = {}
    for edge in edges:
        if edge.source not in folds and edge.target not in folds:
            rows[edge] = Layer.BOTH
            continue
        rows[edge] = Layer.UNFOLDED
        stand_in = folded(edge, folds)
        if stand_in is not None:
            rows[stand_in] = Layer.FOLDED
    return [
        {"source": e.source, "target": e.target, "role": e.role, "layer": int(layer)}
        for e, layer in rows.items()
    ]


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
