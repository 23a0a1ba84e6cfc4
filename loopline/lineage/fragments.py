"""Turns one commit into its part of the graph.

Everything comes from the `Commit` at the head of every message; a message's own fields only add
what its run does not list: a delivery's destination, a labeler, what a job or predictions name.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from loopline.contracts import (
    AliasMoved,
    ArtefactKind,
    ArtefactRef,
    Commit,
    DeliveryCommitted,
    ItemReviewed,
    LabelingJobCommitted,
    LabelsSubmitted,
    PredictionsCommitted,
)
from loopline.errors import Rejected
from loopline.lineage.details import iso, run_details, run_kind_of, told
from loopline.lineage.model import (
    BUCKET,
    LABELER,
    Edge,
    Fragment,
    LooseEdge,
    Node,
    Ref,
    artefact_id,
    label_of,
    mentioned,
    run_id,
)
from loopline.store.commits import Committed

MADE = "made"  # run -> the version it committed
PARENT = "parent"
OTHER_PARENT = "other_parent"
TARGET = "target"  # model version -> alias
DELIVERED_TO = "delivered_to"
_KINDS = {v: k.removeprefix("ARTEFACT_KIND_").lower() for k, v in ArtefactKind.items()}


def fragment_of(committed: Committed[Any]) -> Fragment:
    """Return the nodes and edges that a commit makes.

    Raises:
        Rejected: The commit names no artefact or no version: there is nothing to hang it on.
    """
    commit = committed.commit
    own = ref_of(commit.artefact)
    if not own.id or not own.name or own.kind == "unspecified":
        raise Rejected(f"the commit at {committed.sequence} names no version of any artefact")
    builder = _Builder(committed.sequence)
    artefact = _artefact_node(committed, own)
    builder.node(artefact)
    _add_parents(builder, commit, own.id)
    at = own.id  # where what the message names flows into: the run, if there is one
    if commit.run.id:
        at = run_id(commit.run.id)
        _add_run(builder, commit, own.id)
    _add_named(builder, committed.message, own.id, at)
    return builder.fragment(artefact)


def ref_of(ref: ArtefactRef) -> Ref:
    """Return a reference in the graph's own words."""
    return Ref(kind_of(ref.kind), ref.name, ref.version, ref.digest)


def kind_of(kind: int) -> str:
    """Return a kind of artefact as the graph spells it: "dataset", "labeling_job"."""
    return _KINDS.get(kind, f"kind_{kind}")


def bucket_uri(connection: str, bucket: str, prefix: str) -> str:
    """Return the URI of a place in a customer's storage, by connection, never by endpoint."""
    return f"s3://{connection}/{bucket}/{prefix}"


class _Builder:
    """Collects nodes and edges, each once."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self._nodes: dict[str, Node] = {}
        self._edges: dict[Edge, None] = {}
        self._loose: list[LooseEdge] = []
        self._inputs: set[tuple[str, str]] = set()

    def node(self, node: Node) -> None:
        self._nodes.setdefault(node.id, node)

    def mention(self, ref: Ref, role: str = "") -> None:
        node = mentioned(ref, role)
        if node is not None:
            self.node(node)

    def edge(self, source: str, target: str, role: str) -> None:
        if source != target:
            self._edges[Edge(source, target, role)] = None

    def input(self, ref: Ref, target: str, role: str) -> None:
        """Link what was read to what read it, and mention it if its own commit is not known."""
        self._inputs.add((ref.kind, ref.name))
        if ref.is_set or not ref.id:
            self._loose.append(LooseEdge(ref, target, role))
            return
        self.mention(ref)
        self.edge(ref.id, target, role)

    def named(self, ref: Ref, target: str, role: str) -> None:
        """Link what a message names, unless its run lists a version of it already."""
        if ref.name and (ref.kind, ref.name) not in self._inputs:
            self.input(ref, target, role)

    def fragment(self, artefact: Node) -> Fragment:
        nodes, edges = tuple(self._nodes.values()), tuple(self._edges)
        return Fragment(self.sequence, artefact, nodes, edges, tuple(self._loose))


def _artefact_node(committed: Committed[Any], own: Ref) -> Node:
    commit, message = committed.commit, committed.message
    figures, details = told(message)
    return Node(
        id=own.id,
        kind=own.kind,
        name=own.name,
        version=own.version,
        digest=own.digest,
        label=_label(message, own),
        sequence=committed.sequence,
        committed_at=iso(commit.committed_at),
        run=commit.run.id,
        summary=commit.summary,
        figures=figures,
        details={**details, "role": own_role} if (own_role := commit.artefact.role) else details,
    )


def _label(message: Message, own: Ref) -> str:
    if isinstance(message, AliasMoved):  # an alias's own number counts its moves
        return f"{own.name} -> v{message.target.version}"
    return label_of(own)


def _add_parents(builder: _Builder, commit: Commit, own: str) -> None:
    parents = ((commit.parent, PARENT), (commit.other_parent, OTHER_PARENT))
    for ref, role in ((ref_of(parent), role) for parent, role in parents):
        if ref.id and ref.name:
            builder.mention(ref)
            builder.edge(ref.id, own, role)


def _add_run(builder: _Builder, commit: Commit, own: str) -> None:
    run, id_ = commit.run, run_id(commit.run.id)
    builder.node(_run_node(commit, builder.sequence))
    for ref in run.inputs:
        builder.input(ref_of(ref), id_, ref.role or "input")
    for ref in run.outputs:
        output = ref_of(ref)
        if output.id:
            builder.mention(output, ref.role)
            builder.edge(id_, output.id, ref.role or "output")
    if run.actor.kind == "flow":
        builder.named(Ref("flow", run.actor.name), id_, "flow")
    builder.edge(id_, own, MADE)


def _run_node(commit: Commit, sequence: int) -> Node:
    run = commit.run
    kind = run_kind_of(run.kind)
    return Node(
        id=run_id(run.id),
        kind="run",
        name=kind,
        digest=run.id,
        label=kind,
        sequence=sequence,
        committed_at=iso(run.finished_at) or iso(commit.committed_at),
        summary=commit.summary,
        figures=dict(run.figures),
        details=run_details(run),
    )


def _add_named(builder: _Builder, message: Message, own: str, at: str) -> None:
    """Add what the message names beside its run's inputs."""
    if isinstance(message, AliasMoved):
        target = ref_of(message.target)
        if target.id:
            builder.mention(target)
            builder.edge(target.id, own, TARGET)
    elif isinstance(message, PredictionsCommitted):
        _name_all(builder, at, model=message.model, dataset=message.dataset, flow=message.flow)
    elif isinstance(message, LabelingJobCommitted):
        asked = message.specification
        _name_all(
            builder, at, dataset=asked.dataset, predictions=asked.predictions, flow=asked.flow
        )
    elif isinstance(message, LabelsSubmitted):
        builder.named(Ref("labeling_job", message.job), at, "job")
        if message.labeler:
            builder.input(Ref(LABELER, message.labeler), at, "labeler")
    elif isinstance(message, ItemReviewed):
        builder.named(Ref("labeling_job", message.job), at, "job")
        builder.input(Ref(LABELER, message.reviewer), at, "reviewer")
    elif isinstance(message, DeliveryCommitted) and message.HasField("destination"):
        place = message.destination
        uri = bucket_uri(place.connection, place.bucket, place.prefix)
        builder.mention(Ref(BUCKET, uri))
        builder.edge(own, artefact_id(BUCKET, uri), DELIVERED_TO)


def _name_all(builder: _Builder, at: str, **refs: ArtefactRef) -> None:
    for role, ref in refs.items():
        builder.named(ref_of(ref), at, role)
