"""The path from a delivered object, or an image, back to where it came from: as data.

Read from the log and the object store alone; the customer's bucket is not needed. `loopline lineage
show` draws it, and gives it as JSON.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    DatasetCommitted,
    DeliveryCommitted,
    ModelCommitted,
    PredictionsCommitted,
    Run,
)
from loopline.errors import NotFound
from loopline.lineage.details import iso, run_kind_of
from loopline.lineage.fragments import bucket_uri, fragment_of, kind_of
from loopline.lineage.journal import AnyCommitted, Journal
from loopline.lineage.model import Node
from loopline.lineage.origins import Origins
from loopline.store.commits import Committed
from loopline.store.items import DELIVERIES, ITEMS, DeliveredObject, Item
from loopline.store.objects import ObjectStore
from loopline.store.trees import TreeStore

VERSIONS_SHOWN = 4  # of a dataset's history; those between are counted
LABELS_SHOWN = 5
DEPTH_MAX = 60  # steps from a node; past that the rest is counted
METRICS_SHOWN = ("accuracy", "macro_f1", "map50", "iou", "calibration_error")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path, and what came before it.

    Args:
        kind: "object", "image", or one of the graph's kinds.
        title: For people.
        id: Of the graph's node; "" if it is none.
        facts: What is known of it; JSON values.
        before: The steps that led to it.
    """

    kind: str
    title: str
    id: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[Step, ...] = ()


class Tracer:
    """Traces things back through the log.

    Args:
        journal: The log.
        objects: The object store.
    """

    def __init__(self, journal: Journal, objects: ObjectStore) -> None:
        self._journal = journal
        self._items = TreeStore(objects, ITEMS)
        self._deliveries = TreeStore(objects, DELIVERIES)
        self._origins = Origins(journal, objects)
        self._told: set[str] = set()  # datasets whose history was shown already

    async def trace(self, target: str) -> Step:
        """Return the path to a delivered object, an image or a node of the graph.

        Args:
            target: A delivered object's URI or key, an asset's digest, a node's id
                ("model:catalogue@2"), or "" for the last object that was delivered.

        Raises:
            NotFound: There is no such thing in the log.
        """
        self._told.clear()
        if target in self._journal.graph.nodes:
            return self._node(target)
        named = _DIGEST.search(target)
        if target and named is None:
            raise NotFound(f"neither a delivered object, an asset nor a node: {target!r}")
        asset = named[0] if named else ""
        found = [one async for one in self._delivered(asset, "" if target == asset else target)]
        if found:
            steps = [await self._object(*one) for one in found]
            if len(steps) == 1:
                return steps[0]
            return Step("image", f"image {asset[:12]}", facts={"asset": asset}, before=tuple(steps))
        if not asset:
            raise NotFound("nothing was delivered yet")
        if target != asset:
            raise NotFound(f"no delivery names {target!r}")
        image = await self._image(asset)
        if image is None:
            raise NotFound(f"no dataset has the asset {asset}")
        return image

    async def _delivered(
        self, asset: str, uri: str
    ) -> AsyncIterator[tuple[Committed[DeliveryCommitted], DeliveredObject]]:
        """Yield the deliveries that brought an asset's objects, as they are there now."""
        for head in self._last_deliveries():
            row = await self._row(head, asset)
            if row is None or (uri and not _location(head, row).endswith(uri.lstrip("/"))):
                continue
            yield await self._brought_by(head, row), row
            if not asset:
                return  # any will do

    def _last_deliveries(self) -> list[Committed[DeliveryCommitted]]:
        """Return the last delivery to each place, the newest first."""
        last: dict[bytes, Committed[DeliveryCommitted]] = {}
        for committed in self._journal.commits:
            if isinstance(committed.message, DeliveryCommitted):
                last[committed.message.destination.SerializeToString()] = committed
        return sorted(last.values(), key=lambda committed: -committed.sequence)

    async def _row(
        self, delivery: Committed[DeliveryCommitted], asset: str
    ) -> DeliveredObject | None:
        tree = await self._deliveries.open(delivery.message.tree.root_object)
        if asset:
            return (await tree.get([asset])).get(asset)
        async for row in tree.rows():
            return row
        return None

    async def _brought_by(
        self, head: Committed[DeliveryCommitted], row: DeliveredObject
    ) -> Committed[DeliveryCommitted]:
        """Return the delivery that wrote an object as it is now."""
        first = head
        for before in reversed(self._journal.history("delivery", head.ref.name)):
            if before.sequence >= head.sequence:
                continue
            if await self._row(before, row.asset) != row:
                break
            first = before
        return first

    async def _object(self, delivery: Committed[DeliveryCommitted], row: DeliveredObject) -> Step:
        image = await self._image(row.asset)
        steps = [self._delivery(delivery, row), *([image] if image else [])]
        facts = {"key": row.key, "sha256": row.digest, "asset": row.asset}
        return Step("object", _location(delivery, row), facts=facts, before=tuple(steps))

    def _delivery(self, delivery: Committed[DeliveryCommitted], row: DeliveredObject) -> Step:
        flows = self._inputs(delivery, ArtefactKind.ARTEFACT_KIND_FLOW)
        steps = [self._plain(flow, _by(flow.commit.run)) for flow in flows]
        predictions = self._journal.with_digest(
            ArtefactKind.ARTEFACT_KIND_PREDICTIONS, row.predictions
        )
        if predictions is not None:
            steps.append(self._predictions(predictions))
        message = delivery.message
        facts = {"delivered": message.delivered, "relabeled": message.relabeled}
        return self._plain(delivery, {**facts, **_when(delivery)}, steps)

    def _predictions(self, predictions: Committed[PredictionsCommitted]) -> Step:
        message = predictions.message
        steps = []
        if (model := self._journal.named(message.model)) is not None:
            steps.append(self._model(model))
        if (dataset := self._journal.named(message.dataset)) is not None:
            steps.append(self._dataset(dataset))
        facts = {"images": message.tree.count, **_when(predictions)}
        return self._plain(predictions, facts, steps)

    def _model(self, model: Committed[ModelCommitted]) -> Step:
        measured = fragment_of(model).artefact.figures
        facts = {name: measured[name] for name in METRICS_SHOWN if name in measured}
        trained_on = self._inputs(model, ArtefactKind.ARTEFACT_KIND_DATASET)
        run = self._run(model, [self._dataset(dataset) for dataset in trained_on])
        return self._plain(model, {**facts, **_when(model)}, [run])

    def _dataset(self, dataset: Committed[DatasetCommitted]) -> Step:
        """Return a dataset version, how it was made, and the versions before."""
        id_ = fragment_of(dataset).artefact.id
        counts = dataset.message.statistics
        facts = {name: counts[name] for name in ("items", "labeled") if name in counts}
        if id_ in self._told:
            return Step("dataset", f"{_name(dataset.ref)} (see above)", id_, facts)
        self._told.add(id_)
        steps = [self._made(dataset)]
        chain = self._before(dataset)
        steps += [
            Step("dataset", _name(one.ref), fragment_of(one).artefact.id, before=(self._made(one),))
            for one in chain[: VERSIONS_SHOWN - 1]
        ]
        hidden = chain[VERSIONS_SHOWN - 1 : -1]
        if hidden:
            steps.append(Step("dataset", f"{len(hidden)} versions between"))
        if len(chain) >= VERSIONS_SHOWN:
            first = chain[-1]
            made = (self._made(first),)
            id_first = fragment_of(first).artefact.id
            steps.append(Step("dataset", _name(first.ref), id_first, before=made))
        return Step("dataset", _name(dataset.ref), id_, {**facts, **_when(dataset)}, tuple(steps))

    def _before(self, dataset: Committed[DatasetCommitted]) -> list[Committed[DatasetCommitted]]:
        history = self._journal.history("dataset", dataset.ref.name)
        return [one for one in reversed(history) if one.sequence < dataset.sequence]

    def _made(self, committed: AnyCommitted) -> Step:
        """Return the run that made a version: what it imported, or whose labels it took in."""
        steps = []
        for ref in committed.commit.run.inputs:
            kind = kind_of(ref.kind)
            if kind == "source":
                steps.append(Step("source", ref.name, f"source:{ref.name}", {"role": ref.role}))
            elif kind == "labels":
                steps += self._labelers(ref.name.partition("/")[0], committed.sequence)
        return self._run(committed, steps)

    def _labelers(self, job: str, before: int) -> list[Step]:
        given: dict[str, str] = {}
        for one in self._journal.commits:
            if one.sequence >= before:
                break
            if kind_of(one.ref.kind) == "labels" and one.message.job == job:
                given[one.message.asset] = one.message.labeler
        counts = sorted(Counter(given.values()).items())
        return [
            Step("labeler", name, f"labeler:{name}", {"items": count, "job": job})
            for name, count in counts
        ]

    def _run(self, committed: AnyCommitted, before: Iterable[Step]) -> Step:
        run = committed.commit.run
        facts = {"run": run.id, **_by(run), "code": run.environment.code_digest[:12]}
        title = f"{run_kind_of(run.kind)} run {run.id[:12]}"
        return Step("run", title, f"run:{run.id}", _known(facts), tuple(before))

    async def _image(self, asset: str) -> Step | None:
        """Return where an image came from, and what people said of it."""
        first: tuple[Committed[DatasetCommitted], Item] | None = None
        for name in self._journal.names("dataset"):
            last = self._journal.history("dataset", name)[-1].ref.version
            found = (await self._origins.first(name, last, [asset])).get(asset)
            if found and (first is None or found[0].sequence < first[0].sequence):
                first = found
        if first is None:
            return None
        committed, item = first
        id_ = fragment_of(committed).artefact.id
        made = (self._made(committed),)
        steps = [Step("dataset", f"first in {_name(committed.ref)}", id_, before=made)]
        for one in self._journal.submissions(asset):
            classes = sorted({shape.class_name for shape in one.message.shapes})
            said = {"classes": classes, "job": one.message.job, **_when(one)}
            node = fragment_of(one).artefact.id
            steps.append(Step("labels", f"labeled by {one.message.labeler}", node, said))
        facts = {"asset": asset, "width_px": item.width_px, "height_px": item.height_px}
        return Step("image", item.source or asset, facts=facts, before=tuple(steps))

    def _node(self, id_: str) -> Step:
        """Return a node of the graph and all that led to it, each told once."""
        graph = self._journal.graph
        told: set[str] = set()

        def step(node: str, depth: int) -> Step:
            told.add(node)
            found = graph.nodes[node]
            facts = _known({"summary": found.summary, "committed_at": found.committed_at})
            near = sorted({edge.source for edge in graph.above(node)} - told)
            if depth == DEPTH_MAX and near:
                rest = Step("more", f"{len(graph.upstream(node)) - 1} nodes before that")
                return Step(found.kind, _title(found), node, facts, (rest,))
            labels = [one for one in near if graph.nodes[one].kind == "labels"]
            if len(labels) > LABELS_SHOWN:
                near = [one for one in near if one not in labels]
            steps = [step(one, depth + 1) for one in near if one not in told]
            if len(labels) > LABELS_SHOWN:
                by = Counter(str(graph.nodes[one].details["labeler"]) for one in labels)
                said = {"by": [f"{name} {count}" for name, count in sorted(by.items())]}
                steps.append(Step("labels", f"{len(labels)} submissions of labels", facts=said))
            return Step(found.kind, _title(found), node, facts, tuple(steps))

        return step(id_, 0)

    def _inputs(self, committed: AnyCommitted, kind: ArtefactKind) -> list[AnyCommitted]:
        refs = [ref for ref in committed.commit.run.inputs if ref.kind == kind]
        return [one for one in map(self._journal.named, refs) if one is not None]

    def _plain(
        self, committed: AnyCommitted, facts: Mapping[str, Any], before: Iterable[Step] = ()
    ) -> Step:
        kind = kind_of(committed.ref.kind)
        id_ = fragment_of(committed).artefact.id
        return Step(kind, _name(committed.ref), id_, _known(facts), tuple(before))


def _location(delivery: Committed[DeliveryCommitted], row: DeliveredObject) -> str:
    place = delivery.message.destination
    return bucket_uri(place.connection, place.bucket, row.key)


def _name(ref: ArtefactRef) -> str:
    return f"{kind_of(ref.kind).replace('_', ' ')} {ref.name}@v{ref.version}"


def _title(node: Node) -> str:
    if node.kind == "run":
        return f"{node.name} run {node.digest[:12]}"
    if node.kind == "labels":
        job, _, asset = node.name.partition("/")
        return f"labels of {asset[:12]} in {job}"
    if not node.version:
        return node.label
    return f"{node.kind.replace('_', ' ')} {node.name}@v{node.version}"


def _when(committed: AnyCommitted) -> dict[str, str]:
    return {"committed_at": iso(committed.commit.committed_at)}


def _by(run: Run) -> dict[str, str]:
    return _known({"by": f"{run.actor.kind} {run.actor.name}".strip(), "on": run.agent.host})


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value not in ("", None)}
