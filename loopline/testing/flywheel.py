"""Factories: commits and rows as the services write them, without the services.

A test of one service puts here what the others would have done before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from loopline.contracts import (
    Actor,
    AliasMoved,
    ArtefactKind,
    ArtefactRef,
    Commit,
    DatasetCommitted,
    Evaluation,
    EvaluationCommitted,
    FlowCommitted,
    ModelCommitted,
    PredictionsCommitted,
    Run,
    RunKind,
    catalog,
)
from loopline.contracts.catalog import Event
from loopline.digests import canonical_json, digest_of, sha256_hex
from loopline.flows import Flow
from loopline.store import runs
from loopline.store.commits import CommitLog, Committed
from loopline.store.datasets import Datasets
from loopline.store.items import PREDICTIONS, Item, Prediction, Shape
from loopline.store.objects import Area, ObjectStore
from loopline.store.trees import TreeStore

CLASSES = ("coat", "shirt")
M = TypeVar("M", bound=Message)


def asset(number: int) -> str:
    """Return the asset of the test image `number`."""
    return sha256_hex(f"image {number}".encode())


def item(number: int, *, labeled: bool = False, split: str = "") -> Item:
    """Return the item of the test image `number`, 28x28 px."""
    return Item(
        asset=asset(number),
        media_type="image/png",
        size_bytes=500,
        width_px=28,
        height_px=28,
        split=split,
        source=f"s3://customer/photos/{number:04}.png",
        labeled=labeled,
        shapes=(Shape(id="1", class_name=CLASSES[number % 2]),) if labeled else (),
    )


def prediction(number: int, confidence: float) -> Prediction:
    """Return a classifier's prediction of the test image `number`: the second class, this sure."""
    shape = Shape(id="1", class_name=CLASSES[1], confidence=confidence)
    return Prediction(asset(number), (shape,), (confidence / 2, confidence))


class Flywheel:
    """Commits what a service under test reacts to.

    Args:
        log: The commit log.
        objects: The object store.
    """

    def __init__(self, log: CommitLog, objects: ObjectStore) -> None:
        self.log = log
        self.objects = objects
        self.datasets = Datasets(log, objects)

    async def flow(self, document: str) -> Committed[FlowCommitted]:
        """Commit a flow."""
        flow = Flow.parse(document)
        ref = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_FLOW, name=flow.name, digest=flow.digest)
        message = FlowCommitted(
            commit=Commit(artefact=ref, run=_run(RunKind.RUN_KIND_EDIT, document=document)),
            document=document,
        )
        return await self._commit(catalog.FLOW_COMMITTED, message, name=flow.name)

    async def dataset(self, name: str, items: Iterable[Item]) -> Committed[DatasetCommitted]:
        """Commit a dataset version with these items put in."""
        rows = list(items)
        run = _run(RunKind.RUN_KIND_IMPORT, items=[repr(row) for row in rows])
        return await self.datasets.commit_changes(
            name, rows, run=run, summary="imported", classes=CLASSES
        )

    async def model(
        self,
        name: str,
        weights: str,
        metrics: Mapping[str, float],
        *,
        split_digest: str = "5" * 64,
        outcomes_digest: str = "",
        trained_on: ArtefactRef | None = None,
    ) -> Committed[ModelCommitted]:
        """Commit a model version evaluated on the test split."""
        digest = digest_of([name, weights])
        ref = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_MODEL, name=name, digest=digest)
        evaluation = Evaluation(
            split="test",
            split_digest=split_digest,
            count=100,
            metrics=metrics,
            outcomes_digest=outcomes_digest,
        )
        message = ModelCommitted(
            commit=Commit(artefact=ref, run=_run(RunKind.RUN_KIND_TRAIN, weights=weights)),
            task="classification",
            recipe="classification",
            classes=CLASSES,
            evaluations=[evaluation] if split_digest else [],
        )
        if trained_on is not None:
            read = message.commit.run.inputs.add()
            read.CopyFrom(trained_on)
            read.role = "train_on"
        return await self._commit(catalog.MODEL_COMMITTED, message, name=name)

    async def evaluation(
        self,
        model: Committed[ModelCommitted],
        dataset: ArtefactRef,
        metrics: Mapping[str, float],
        *,
        split_digest: str,
        outcomes_digest: str = "",
    ) -> Committed[EvaluationCommitted]:
        """Commit that a model version was measured on the test split of a dataset version."""
        digest = digest_of([model.ref.digest, dataset.digest, split_digest])
        kind = ArtefactKind.ARTEFACT_KIND_EVALUATION
        message = EvaluationCommitted(
            commit=Commit(
                artefact=ArtefactRef(kind=kind, name=model.ref.name, digest=digest),
                run=_run(RunKind.RUN_KIND_EVALUATE, on=digest),
            ),
            model=model.ref,
            dataset=dataset,
            task="classification",
            evaluation=Evaluation(
                split="test",
                split_digest=split_digest,
                count=100,
                metrics=metrics,
                outcomes_digest=outcomes_digest,
            ),
        )
        return await self._commit(catalog.EVALUATION_COMMITTED, message, model=model.ref.name)

    async def alias(
        self, model: Committed[ModelCommitted], alias: str = "champion"
    ) -> Committed[AliasMoved]:
        """Move an alias by hand."""
        name = model.ref.name
        ref = ArtefactRef(
            kind=ArtefactKind.ARTEFACT_KIND_ALIAS,
            name=f"{name}/{alias}",
            digest=model.ref.digest,
        )
        head = await self.log.head(catalog.ALIAS_MOVED, model=name, alias=alias)
        run = _run(
            RunKind.RUN_KIND_EDIT, target=model.ref.digest, after=head.sequence if head else 0
        )
        message = AliasMoved(
            commit=Commit(artefact=ref, run=run), model=name, alias=alias, target=model.ref
        )
        return await self._commit(catalog.ALIAS_MOVED, message, model=name, alias=alias)

    async def predictions(
        self,
        model: Committed[ModelCommitted],
        dataset: Committed[DatasetCommitted],
        rows: Sequence[Prediction],
        *,
        flow: ArtefactRef | None = None,
        selection: Sequence[str] | None = None,
    ) -> Committed[PredictionsCommitted]:
        """Commit predictions; the selection is the assets of `rows` unless given."""
        tree = await TreeStore(self.objects, PREDICTIONS).write(rows)
        assets = [row.asset for row in rows] if selection is None else list(selection)
        selection_digest = await self.objects.put(Area.PLANS, canonical_json(assets))
        name = f"{model.ref.name}-{model.ref.digest[:16]}"
        ref = ArtefactRef(
            kind=ArtefactKind.ARTEFACT_KIND_PREDICTIONS, name=name, digest=tree.digest
        )
        run = _run(RunKind.RUN_KIND_PREDICT, tree=tree.digest, on=dataset.ref.digest, assets=assets)
        message = PredictionsCommitted(
            commit=Commit(artefact=ref, run=run),
            model=model.ref,
            dataset=dataset.ref,
            tree=tree.ref(),
            selection_digest=selection_digest,
            selected=len(assets),
            inferred=len(assets),
            flow=flow,
        )
        return await self._commit(catalog.PREDICTIONS_COMMITTED, message, name=name)

    async def _commit(self, event: Event[M], message: M, **tokens: str) -> Committed[M]:
        async def build(_: Committed[M] | None) -> M:
            return message

        return await self.log.commit(event, build, **tokens)


def _run(kind: RunKind, **parameters: object) -> Run:
    return runs.new_run(kind, parameters=parameters, actor=Actor(kind="user", name="test"))
