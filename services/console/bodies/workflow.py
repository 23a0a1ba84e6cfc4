"""The workflow graph."""

from __future__ import annotations

from typing import Any, Literal

from services.console.bodies.base import Out, PersonOut, WorkerOut
from services.console.bodies.runs import RunOut

NodeKind = Literal[
    "source", "dataset", "run", "model", "evaluation", "deployment", "predictions",
    "labeling_job", "flow", "delivery", "bucket",
]  # fmt: skip


class AliasOut(Out):
    """A movable name that points at a model version now."""

    alias: str
    moved_at: str
    reason: str


class FigureOut(Out):
    """One figure of a node, the first of them the one that matters most."""

    name: str
    value: float
    label: str
    """For people: "accuracy"."""


class NodeOut(Out):
    """A node: a card of the graph."""

    id: str
    """"dataset:catalogue@3", "run:<id>", "model:catalogue@2", "bucket:s3://..."."""
    kind: NodeKind
    name: str
    version: int
    """0 where the kind has none."""
    label: str
    group: str
    """What it is a version of: cards of one group may be collapsed: "dataset:catalogue"."""
    at: str
    """When it was committed, or began (UTC)."""
    state: str
    """Of a run or a labeling job: queued, running, completed, failed, cancelled, in_progress,
    on_review, stopped, ...; of a deployment: serving. "" for the others."""
    progress: float | None
    """Of what is under way, in [0, 1]; null if it is not known."""
    duration_s: float | None
    summary: str
    datasets: list[str]
    """Names of the datasets it has to do with, for the filter."""
    figures: list[FigureOut]
    """What its card shows."""
    histogram: dict[str, int]
    """Class to count, of a dataset version."""
    thumbnails: list[str]
    """Asset digests of a dataset version: `/api/assets/{digest}/thumbnail`."""
    aliases: list[AliasOut]
    """Of a model version."""
    made_by: str
    """Id of the run that made it; "" if none did."""
    run_kind: str
    """Of a run: import, train, predict, route, evaluate, annotate, restore, edit, ..."""
    worker: WorkerOut | None
    actor: PersonOut | None


class EdgeOut(Out):
    """From what was there to what came of it."""

    source: str
    target: str
    role: str


class WorkflowOut(Out):
    """The graph, or the part of it that was asked for; nodes in the order of time."""

    revision: str
    """Of the whole graph; also the `ETag`. Ask with `since=<revision>` for what changed."""
    is_partial: bool
    """Only nodes and edges that changed since `since`: put them over those you have."""
    removed: list[str]
    """Ids that are no longer there, if `is_partial`."""
    total: int
    """Nodes that match, before the limit."""
    nodes: list[NodeOut]
    edges: list[EdgeOut]
    kinds: dict[str, int]
    """Nodes of each kind in the whole graph."""
    dataset_names: list[str]


class ActionOut(Out):
    """Something that can be done with a node by who asks."""

    name: Literal[
        "open", "compare", "restore", "rerun", "reproduce", "promote", "stop", "export", "evaluate"
    ]
    label: str
    method: str
    """"GET" for a page of the console, else that of the request."""
    path: str
    """Of the page ("/datasets/catalogue/3") or the request ("/api/runs/.../cancel")."""
    body: dict[str, Any]
    confirm: str
    """What to ask before; "" for nothing."""


class DownloadOut(Out):
    """A file that belongs to a node."""

    name: str
    size_bytes: int
    """0 if it is not known."""
    url: str


class NodeDetailOut(NodeOut):
    """A node and all that is known of it."""

    details: dict[str, Any]
    """What its commit says: classes, tags, changes, files, the flow's document, ..."""
    all_figures: dict[str, float]
    run: RunOut | None
    """The run itself, or the one that made it: parameters, environment, trace, log."""
    inputs: list[EdgeOut]
    outputs: list[EdgeOut]
    neighbours: list[NodeOut]
    """Nodes at the other ends of the edges."""
    actions: list[ActionOut]
    downloads: list[DownloadOut]
