"""The HTTP API's bodies and its token: FastAPI's side of lineage.

Answers are written by orjson from columns that hold JSON already; the classes here are what OpenAPI
says of them, and tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import Response
from pydantic import BaseModel

from services.lineage.domain.folding import is_fold
from services.lineage.domain.view import ShownNode, View


class ActorOut(BaseModel):
    """Who asked."""

    kind: str
    name: str


class AgentOut(BaseModel):
    """Which worker did it."""

    id: str
    host: str
    service: str


class RunOut(BaseModel):
    """The run that made a version, in short."""

    id: str
    """The run's node."""
    kind: str
    actor: ActorOut
    agent: AgentOut
    started_at: str
    finished_at: str
    trace_id: str


class NodeOut(BaseModel):
    """A node."""

    id: str
    kind: str
    name: str
    version: int
    digest: str
    label: str
    sequence: int
    """Stream sequence of its commit; 0 if it is only mentioned (a source, a labeler)."""
    committed_at: str
    summary: str
    figures: dict[str, float]
    run: RunOut | None


class EdgeOut(BaseModel):
    """From what was there to what came of it."""

    source: str
    target: str
    role: str


class GraphOut(BaseModel):
    """A part of the graph."""

    sequence: int
    """The graph holds every commit up to this stream sequence."""
    total: int
    """Nodes there would be without the limit, before any kind is left out."""
    nodes: list[NodeOut]
    edges: list[EdgeOut]
    folded: dict[str, int]
    """Node id to how many submissions stand behind it."""


class NodeDetailOut(NodeOut):
    """A node, all that its commit says of it, and the edges at it."""

    details: dict[str, Any]
    inputs: list[EdgeOut]
    outputs: list[EdgeOut]


class NodesOut(BaseModel):
    """A page of nodes, the newest first."""

    nodes: list[NodeOut]
    next: int | None
    """`before` of the next page."""


class ChangeOut(BaseModel):
    """One commit."""

    sequence: int
    subject: str
    node: str
    kind: str
    name: str
    version: int
    run: str
    run_kind: str
    actor: str
    committed_at: str
    summary: str


class CommitsOut(BaseModel):
    """Which commits the graph is made of."""

    applied_sequence: int
    """The graph says that it holds everything up to this stream sequence."""
    sequences: list[int]
    """Stream sequences, ascending."""
    next: int | None
    """`after` of the next page."""


class SkipOut(BaseModel):
    """A message of the stream that is not in the graph."""

    sequence: int
    subject: str
    type: str
    reason: str


class StatusOut(BaseModel):
    """Where the graph is."""

    workspace: str
    applied_sequence: int
    last_sequence: int
    """Of the stream."""
    behind: int
    nodes: dict[str, int]
    """Nodes of each kind."""
    skipped: list[SkipOut]


def graph_answer(view: View, sequence: int, total: int) -> Response:
    """Write a `GraphOut`."""
    return json_answer({
        "sequence": sequence,
        "total": total,
        "nodes": [node_out(node) for node in view.nodes],
        "edges": [edge._asdict() for edge in view.edges],
        "folded": {fold.id: _submissions(fold) for fold in view.nodes if is_fold(fold.id)},
    })  # fmt: skip


def _submissions(fold: ShownNode) -> int:
    return int(orjson.loads(fold.figures)["submissions"])


def nodes_answer(nodes: Sequence[ShownNode], limit: int) -> Response:
    """Write a `NodesOut`."""
    following = nodes[-1].sequence if len(nodes) == limit else None
    return json_answer({"nodes": [node_out(node) for node in nodes], "next": following})


def node_out(node: ShownNode) -> dict[str, Any]:
    """Return a `NodeOut` as orjson writes it."""
    return _with_json(node._asdict(), "figures", "run")


def node_answer(row: Mapping[str, Any]) -> Response:
    """Write a `NodeDetailOut`."""
    return json_answer(_with_json(dict(row), "figures", "run", "details"))


def json_answer(value: object) -> Response:
    """Write JSON."""
    return Response(orjson.dumps(value), media_type="application/json")


def _with_json(row: dict[str, Any], *columns: str) -> dict[str, Any]:
    for column in columns:
        row[column] = orjson.Fragment(row[column])
    return row
