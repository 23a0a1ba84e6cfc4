"""Nodes and edges of the workflow graph.

Edges point the way the data went, so that the graph has no cycles: what a run read -> the run ->
what it made; an older version -> the one that followed; a model version -> the alias moved to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

RUN = "run"
LABELS = "labels"  # one submission: "<job>/<asset>"; a run that reads a job's all names the job
SOURCE = "source"  # where images come from: a customer's bucket, a camera
BUCKET = "bucket"  # where results go
LABELER = "labeler"  # a person whose labels were submitted
REPORT = "report"
KINDS = (
    SOURCE, "dataset", "model", "alias", "flow", "predictions", "labeling_job", LABELS,
    "delivery", "evaluation", "reproduction", REPORT, RUN, BUCKET, LABELER,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ref:
    """Names one version of one artefact: by version, else by digest, else its head at that time."""

    kind: str
    name: str
    version: int = 0
    digest: str = ""
    id: str = field(init=False, compare=False)
    """The node's id, or "" if only the log can tell which version is meant."""

    def __post_init__(self) -> None:
        id_ = artefact_id(self.kind, self.name, self.version, self.digest)
        object.__setattr__(self, "id", id_)

    @property
    def is_set(self) -> bool:
        """Whether it names every submission of a labeling job so far."""
        return self.kind == LABELS and "/" not in self.name


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    Args:
        id: "dataset:catalogue@3", "run:<run id>", "source:<URI>", "report:<digest>".
        kind: One of `KINDS`.
        name: The artefact's name, the URI, or the run's kind.
        version: From 1; 0 where the kind has none.
        digest: Of the content; "" where there is none.
        label: For people.
        sequence: Stream sequence of the commit that made it (a run's first); 0 if only mentioned.
        committed_at: ISO 8601, UTC (when a run finished); "" if only mentioned.
        run: Id of the run that made it; "" if none did.
        summary: One sentence for people.
        figures: Counts and metrics.
        details: What else its commit says of it; JSON values.
    """

    id: str
    kind: str
    name: str
    version: int = 0
    digest: str = ""
    label: str = ""
    sequence: int = 0
    committed_at: str = ""
    run: str = ""
    summary: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


class Edge(NamedTuple):
    """From what was there to what came of it, and the part it played."""

    source: str
    target: str
    role: str


@dataclass(frozen=True, slots=True)
class LooseEdge:
    """An edge from a version, or from many, that only the commits before can tell."""

    source: Ref
    target: str
    role: str


@dataclass(frozen=True, slots=True)
class Fragment:
    """The part of the graph that one commit makes.

    Args:
        sequence: The commit's stream sequence.
        artefact: The committed version's node.
        nodes: It, its run, and all they mention.
        edges: Between them.
        loose: Edges that need a look at the commits before.
    """

    sequence: int
    artefact: Node
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    loose: tuple[LooseEdge, ...] = ()


def run_id(run: str) -> str:
    """Return the node id of a run."""
    return f"{RUN}:{run}"


def artefact_id(kind: str, name: str, version: int = 0, digest: str = "") -> str:
    """Return the node id of an artefact's version, or "" if neither version nor kind tells it.

    >>> artefact_id("dataset", "catalogue", 3)
    'dataset:catalogue@3'
    >>> artefact_id("source", "s3://customer/photos/")
    'source:s3://customer/photos/'
    """
    if kind in (SOURCE, BUCKET, LABELER):
        return f"{kind}:{name}"
    if kind == REPORT:
        return f"{kind}:{digest or name}"
    return f"{kind}:{name}@{version}" if version else ""


def mentioned(ref: Ref, role: str = "") -> Node | None:
    """Return a node that only some other commit says is there; None if it says too little.

    A version that is named by its digest alone and was never committed gets an id of its own.
    """
    id_ = ref.id or (f"{ref.kind}:{ref.name}@sha256:{ref.digest}" if ref.digest else "")
    if not id_ or ref.is_set:
        return None
    is_report = ref.kind == REPORT
    name = (ref.name or role) if is_report else ref.name
    label = (role or name) if is_report else label_of(ref)
    digest = "" if ref.kind == SOURCE else ref.digest  # a source's is that of one listing
    return Node(id_, ref.kind, name, ref.version, digest, label)


def label_of(ref: Ref) -> str:
    """Return what people call a version."""
    return f"{ref.name} v{ref.version}" if ref.version else ref.name
