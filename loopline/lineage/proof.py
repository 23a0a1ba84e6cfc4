"""Proves what the objects of one delivery have in common, once for all of them.

flow, delivering run, predictions, model and its files, training run and its datasets, and where the
labels came from that it was trained on: every one found in the log, by digest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    DatasetCommitted,
    DeliveryCommitted,
    FlowCommitted,
    LabelsSubmitted,
    ModelCommitted,
    PredictionsCommitted,
    RunKind,
)
from loopline.errors import Corrupt, NotFound, Rejected
from loopline.lineage.delivered import Origin
from loopline.lineage.fragments import kind_of
from loopline.lineage.journal import Journal
from loopline.store.commits import Committed
from loopline.store.items import ITEMS, PREDICTIONS, Item, Prediction, Shape
from loopline.store.objects import Area, ObjectStore
from loopline.store.trees import Tree, TreeStore

R = TypeVar("R")
DATASET = ArtefactKind.ARTEFACT_KIND_DATASET
LABEL_COLUMNS = ("asset", "labeled", "shapes")


@dataclass(frozen=True, slots=True)
class BrokenLink:
    """A link of a chain that does not hold.

    Args:
        link: Which: "bytes", "delivery", "flow", "predictions", "model", "training", "labels",
            "dataset", "import", "asset", "manifest", "object".
        subject: What is wrong: an object's key, or an artefact.
        reason: What is wrong with it.
    """

    link: str
    subject: str
    reason: str

    def __str__(self) -> str:
        return f"{self.link}: {self.subject}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Proven:
    """What the objects of one origin share, as far as it is there.

    Args:
        broken: The links that do not hold.
        predictions: The tree of the predictions; None if it is not there.
        items: The tree of the dataset version; None if it is not there.
        classes: The model's classes.
        threshold: The flow's: from which confidence on boxes and masks count as found.
    """

    broken: tuple[BrokenLink, ...]
    predictions: Tree[Prediction] | None
    items: Tree[Item] | None
    classes: tuple[str, ...]
    threshold: float = 0.0


class Prover:
    """Proves origins against the log and the object store.

    Args:
        journal: The log.
        objects: The object store.
    """

    def __init__(self, journal: Journal, objects: ObjectStore) -> None:
        self._journal = journal
        self._objects = objects
        self._items = TreeStore(objects, ITEMS)
        self._predictions = TreeStore(objects, PREDICTIONS)
        self._proven: dict[Origin, Proven] = {}
        self._models: dict[str, tuple[BrokenLink, ...]] = {}
        self._datasets: dict[str, tuple[BrokenLink, ...]] = {}

    async def prove(self, origin: Origin) -> Proven:
        """Return what holds of an origin; the same origin is proven once."""
        if origin not in self._proven:
            self._proven[origin] = await self._prove(origin)
        return self._proven[origin]

    async def _prove(self, origin: Origin) -> Proven:
        broken = self._delivery(origin)
        threshold = self._threshold(origin, broken)
        model = self._journal.version(
            "model", origin.model, version=origin.model_version, digest=origin.model_digest
        )
        if model is None:
            broken.append(
                _unknown("model", origin.model, origin.model_version, origin.model_digest)
            )
        else:
            broken += await self._model(model)
        predictions = self._predictions_of(origin)
        tree = None
        if predictions is None:
            said = f"{origin.model} {origin.predictions[:12]}"
            broken.append(BrokenLink("predictions", said, "no such predictions were committed"))
        else:
            broken += _of_model(predictions, origin)
            tree = await self._open(self._predictions, predictions, "predictions", broken)
        items = await self._items_of(origin, broken)
        classes = tuple(model.message.classes) if model else ()
        return Proven(tuple(broken), tree, items, classes, threshold)

    def _threshold(self, origin: Origin, broken: list[BrokenLink]) -> float:
        """Return the threshold of the flow's version; note what is wrong with that version."""
        flow: Committed[FlowCommitted] | None = self._journal.version(
            "flow", origin.flow, version=origin.flow_version, digest=origin.flow_digest
        )
        if flow is None:
            broken.append(_unknown("flow", origin.flow, origin.flow_version, origin.flow_digest))
            return 0.0
        from loopline.flows import Flow  # its compiler of rules takes 0.3 s to import

        try:
            return Flow.parse(flow.message.document).threshold
        except Rejected as error:
            broken.append(BrokenLink("flow", _name(flow.ref), error.message))
            return 0.0

    def _delivery(self, origin: Origin) -> list[BrokenLink]:
        made = self._journal.made_by(origin.run)
        if any(isinstance(one.message, DeliveryCommitted) for one in made):
            return []
        reason = f"no delivery was committed by the run {origin.run[:12]}"
        return [BrokenLink("delivery", origin.flow, reason)]

    def _predictions_of(self, origin: Origin) -> Committed[PredictionsCommitted] | None:
        name = f"{origin.model}-{origin.model_digest[:16]}"
        return self._journal.version("predictions", name, digest=origin.predictions)

    async def _items_of(self, origin: Origin, broken: list[BrokenLink]) -> Tree[Item] | None:
        dataset = self._journal.version(
            "dataset", origin.dataset, version=origin.dataset_version, digest=origin.dataset_digest
        )
        if dataset is None:
            version, digest = origin.dataset_version, origin.dataset_digest
            broken.append(_unknown("dataset", origin.dataset, version, digest))
            return None
        return await self._open(self._items, dataset, "dataset", broken)

    async def _model(self, model: Committed[ModelCommitted]) -> tuple[BrokenLink, ...]:
        """Prove a model version: its files, its training run, what it was trained on."""
        if model.ref.digest not in self._models:
            broken = [one async for one in self._model_files(model)]
            broken += [one async for one in self._training(model)]
            self._models[model.ref.digest] = tuple(broken)
        return self._models[model.ref.digest]

    async def _model_files(self, model: Committed[ModelCommitted]) -> AsyncIterator[BrokenLink]:
        for file in model.message.files:
            try:
                await self._objects.get(Area.MODELS, file.digest)
            except (NotFound, Corrupt) as error:
                yield BrokenLink("model", f"{_name(model.ref)} {file.name}", error.message)

    async def _training(self, model: Committed[ModelCommitted]) -> AsyncIterator[BrokenLink]:
        run, name = model.commit.run, _name(model.ref)
        if run.kind != RunKind.RUN_KIND_TRAIN:
            yield BrokenLink("training", name, "it was not made by a training run")
            return
        datasets = [ref for ref in run.inputs if ref.kind == DATASET]
        if not datasets:
            yield BrokenLink("training", name, "its training run names no dataset")
        for ref in datasets:
            dataset = self._journal.named(ref)
            if dataset is None:
                yield BrokenLink("training", name, f"{_name(ref)} was never committed")
            else:
                for broken in await self._labels(dataset):
                    yield broken

    async def _labels(self, dataset: Committed[DatasetCommitted]) -> tuple[BrokenLink, ...]:
        """Prove where every label of a dataset version came from."""
        if dataset.ref.digest not in self._datasets:
            broken: list[BrokenLink] = []
            tree = await self._open(self._items, dataset, "dataset", broken)
            if tree is not None:
                broken += [one async for one in self._label_sources(dataset.ref, tree)]
            self._datasets[dataset.ref.digest] = tuple(broken)
        return self._datasets[dataset.ref.digest]

    async def _label_sources(self, ref: ArtefactRef, tree: Tree[Item]) -> AsyncIterator[BrokenLink]:
        async for item in tree.rows(LABEL_COLUMNS):
            for shape in item.shapes:
                reason = self._unproven(item.asset, shape)
                if reason:
                    subject = f"{_name(ref)} {item.asset[:12]} {shape.class_name!r}"
                    yield BrokenLink("labels", subject, reason)

    def _unproven(self, asset: str, shape: Shape) -> str:
        """Return why a label's source is not in the log, or ""."""
        kind, _, name = shape.source.partition(":")
        journal = self._journal
        if kind == "labeler":
            submitted = journal.submissions(asset)
            is_known = any(_submits(one.message, name, shape) for one in submitted)
            reason = f"{name} never submitted it"
        elif kind == "import":
            is_known = any(one.ref.kind == DATASET for one in journal.made_by(name))
            reason = f"no import was committed by the run {name[:12]}"
        elif kind == "model":
            is_known = journal.with_digest(ArtefactKind.ARTEFACT_KIND_MODEL, name) is not None
            reason = f"there is no model {name[:12]}"
        else:
            is_known, reason = False, f"it does not say where it comes from ({shape.source!r})"
        return "" if is_known else reason

    async def _open(
        self,
        store: TreeStore[R],
        committed: Committed[DatasetCommitted] | Committed[PredictionsCommitted],
        link: str,
        broken: list[BrokenLink],
    ) -> Tree[R] | None:
        try:
            tree = await store.open(committed.message.tree.root_object)
        except (NotFound, Corrupt) as error:
            broken.append(BrokenLink(link, _name(committed.ref), error.message))
            return None
        if tree.digest != committed.message.tree.digest:
            broken.append(BrokenLink(link, _name(committed.ref), "its tree is another one"))
        return tree


def _of_model(predictions: Committed[PredictionsCommitted], origin: Origin) -> list[BrokenLink]:
    made_by = predictions.message.model.digest
    if made_by == origin.model_digest:
        return []
    reason = f"they are those of the model {made_by[:12]}, not {origin.model_digest[:12]}"
    return [BrokenLink("predictions", _name(predictions.ref), reason)]


def _submits(message: LabelsSubmitted, labeler: str, shape: Shape) -> bool:
    return message.labeler == labeler and any(
        one.id == shape.id and one.class_name == shape.class_name for one in message.shapes
    )


def _unknown(kind: str, name: str, version: int, digest: str) -> BrokenLink:
    return BrokenLink(kind, f"{name}@v{version}", f"no such version with digest {digest[:12]}")


def _name(ref: ArtefactRef) -> str:
    version = f"@v{ref.version}" if ref.version else f"@{ref.digest[:12]}"
    return f"{kind_of(ref.kind).replace('_', ' ')} {ref.name}{version}"
