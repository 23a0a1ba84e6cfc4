"""A whole turn of the flywheel as commits: for tests and benches of what reads the log.

The commits carry the provenance that the services write, without the bytes behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loopline.clock import Clock
from loopline.contracts import (
    Actor,
    Agent,
    AliasMoved,
    ArtefactKind,
    ArtefactRef,
    BucketLocation,
    Commit,
    DatasetCommitted,
    DeliveryCommitted,
    Evaluation,
    FlowCommitted,
    JobState,
    LabelingJobCommitted,
    LabelsSubmitted,
    ModelCommitted,
    OpenLabelingJob,
    PredictionsCommitted,
    Run,
    RunKind,
    Shape,
    TreeRef,
    catalog,
)
from loopline.digests import digest_of
from loopline.store.commits import CommitLog, Committed
from loopline.store.runs import environment, new_run

SOURCE_URI = "s3://customer/catalogue-photos/"
FLOW = Actor(kind="flow", name="catalogue")


class Provenance:
    """Commits the artefacts of a flywheel into a log, one call per step.

    Args:
        log: Where to.
        clock: For the runs' times.
        name: Of the dataset, model and flow.
    """

    def __init__(self, log: CommitLog, clock: Clock, name: str = "catalogue") -> None:
        self._log = log
        self._clock = clock
        self._name = name
        self._count = 0

    async def turn(self, labelers: Sequence[str] = ("anna", "ben")) -> list[Committed[Any]]:
        """Commit one turn: from the flow and an import to the alias on the second model."""
        flow = await self.flow()
        dataset = await self.imported()
        model = await self.trained(dataset.ref, flow.ref)
        alias = await self.promoted(model.ref, flow.ref)
        predictions = await self.predicted(model.ref, dataset.ref, flow.ref)
        delivery = await self.delivered(predictions.ref, flow.ref)
        job = await self.job(dataset.ref, predictions.ref, flow.ref)
        labels = [await self.labeled(job.ref, labeler) for labeler in labelers]
        corrected = await self.corrected(dataset.ref, job.ref, [one.ref for one in labels])
        closed = await self.job(dataset.ref, predictions.ref, flow.ref, done=True)
        better = await self.trained(corrected.ref, flow.ref)
        moved = await self.promoted(better.ref, flow.ref)
        first = [flow, dataset, model, alias, predictions, delivery, job, *labels]
        return [*first, corrected, closed, better, moved]

    async def flow(self) -> Committed[Any]:
        """Put the flow."""
        actor = Actor(kind="user", name="olga")
        head = self._head("FLOW", self._name, "EDIT", (), actor, "put by olga")
        return await self._commit(
            catalog.FLOW_COMMITTED, FlowCommitted(commit=head, document="flow: catalogue\n")
        )

    async def imported(self) -> Committed[Any]:
        """Commit a dataset version from the customer's bucket."""
        source = _ref("SOURCE", SOURCE_URI, digest=self._digest(), role="images")
        report = _ref("REPORT", "drops.json", digest=self._digest(), role="drop_report")
        actor = Actor(kind="external", name="urn:shop:exporter")
        head = self._head("DATASET", self._name, "IMPORT", [source], actor, "600 images", [report])
        return await self._dataset(head, 600, 150)

    async def corrected(
        self, dataset: ArtefactRef, job: ArtefactRef, labels: Sequence[ArtefactRef]
    ) -> Committed[Any]:
        """Commit a dataset version with what labelers submitted."""
        inputs = [_as(dataset, "base"), _as(job, "job"), *(_as(one, "labels") for one in labels)]
        actor = Actor(kind="service", name="annotate")
        head = self._head("DATASET", self._name, "ANNOTATE", inputs, actor, "labels merged")
        return await self._dataset(head, 600, 150 + len(labels))

    async def trained(self, dataset: ArtefactRef, flow: ArtefactRef) -> Committed[Any]:
        """Commit a model version."""
        inputs = [_as(dataset, "train_on"), _as(flow, "flow")]
        head = self._head("MODEL", self._name, "TRAIN", inputs, FLOW, "accuracy 0.81")
        evaluation = Evaluation(split="test", split_digest="5" * 64, count=100)
        evaluation.metrics.update({"accuracy": 0.81, "macro_f1": 0.8})
        message = ModelCommitted(
            commit=head, task="classification", recipe="classification",
            classes=["bag", "boot"], evaluations=[evaluation],
        )  # fmt: skip
        return await self._commit(catalog.MODEL_COMMITTED, message)

    async def promoted(self, model: ArtefactRef, flow: ArtefactRef) -> Committed[Any]:
        """Move the alias champion."""
        inputs = [_as(model, "candidate"), _as(flow, "flow")]
        name = f"{self._name}/champion"
        head = self._head("ALIAS", name, "DEPLOY", inputs, FLOW, f"champion is v{model.version}")
        head.artefact.digest = model.digest
        message = AliasMoved(
            commit=head, model=self._name, alias="champion", target=model, reason="!has_champion"
        )
        return await self._commit(catalog.ALIAS_MOVED, message, alias="champion", model=self._name)

    async def predicted(
        self, model: ArtefactRef, dataset: ArtefactRef, flow: ArtefactRef
    ) -> Committed[Any]:
        """Commit predictions."""
        inputs = [_as(model, "model"), _as(dataset, "dataset")]
        name = f"{self._name}-{model.digest[:16]}"
        head = self._head("PREDICTIONS", name, "PREDICT", inputs, FLOW, "450 predictions")
        message = PredictionsCommitted(
            commit=head, model=model, dataset=dataset, flow=flow, tree=TreeRef(count=450),
            selected=450, inferred=450,
        )  # fmt: skip
        return await self._commit(catalog.PREDICTIONS_COMMITTED, message)

    async def delivered(self, predictions: ArtefactRef, flow: ArtefactRef) -> Committed[Any]:
        """Commit a delivery."""
        inputs = [_as(predictions, "predictions"), _as(flow, "flow")]
        head = self._head("DELIVERY", self._name, "ROUTE", inputs, FLOW, "400 delivered")
        place = BucketLocation(connection="customer", bucket="results", prefix="catalogue/")
        message = DeliveryCommitted(
            commit=head, destination=place, tree=TreeRef(count=400), delivered=400, relabeled=50
        )
        return await self._commit(catalog.DELIVERY_COMMITTED, message)

    async def job(
        self, dataset: ArtefactRef, predictions: ArtefactRef, flow: ArtefactRef, done: bool = False
    ) -> Committed[Any]:
        """Commit a labeling job, open or completed."""
        name = f"{self._name}-relabel"
        actor = Actor(kind="service", name="annotate") if done else FLOW
        head = self._head("LABELING_JOB", name, "ANNOTATE", (), actor, "50 images to label")
        state = JobState.JOB_STATE_COMPLETED if done else JobState.JOB_STATE_IN_PROGRESS
        asked = OpenLabelingJob(
            job=name, dataset=dataset, predictions=predictions, flow=flow, items_count=50
        )
        message = LabelingJobCommitted(commit=head, state=state, specification=asked)
        return await self._commit(catalog.LABELING_JOB_COMMITTED, message)

    async def labeled(self, job: ArtefactRef, labeler: str, asset: str = "") -> Committed[Any]:
        """Submit labels of one item; of a new one if none is named."""
        asset = asset or self._digest()
        actor = Actor(kind="user", name=labeler)
        head = self._head("LABELS", f"{job.name}/{asset}", "ANNOTATE", (), actor, "one bag")
        message = LabelsSubmitted(
            commit=head, job=job.name, asset=asset, labeler=labeler, spent_s=2.5,
            shapes=[Shape(id="1", class_name="bag", source=f"labeler:{labeler}")],
        )  # fmt: skip
        return await self._commit(catalog.LABELS_SUBMITTED, message, job=job.name, asset=asset)

    async def _dataset(self, head: Commit, items: int, labeled: int) -> Committed[Any]:
        message = DatasetCommitted(commit=head, tree=TreeRef(count=items), classes=["bag", "boot"])
        message.statistics.update({"items": items, "labeled": labeled})
        return await self._commit(catalog.DATASET_COMMITTED, message)

    def _head(
        self, kind: str, name: str, run_kind: str, inputs: Sequence[ArtefactRef], actor: Actor,
        summary: str, outputs: Sequence[ArtefactRef] = (),
    ) -> Commit:  # fmt: skip
        run = self._run(run_kind, inputs, actor)
        run.outputs.extend(outputs)
        return Commit(artefact=_ref(kind, name, digest=self._digest()), run=run, summary=summary)

    def _run(self, kind: str, inputs: Sequence[ArtefactRef], actor: Actor) -> Run:
        self._count += 1
        value: RunKind = RunKind.Value(f"RUN_KIND_{kind}")  # type: ignore[assignment]  # stubs: int
        run = new_run(
            value, inputs=inputs, actor=actor, clock=self._clock,
            parameters={"name": self._name, "step": self._count, "options": {"epochs": [1, 2.5]}},
            agent=Agent(id="worker-1", host="host-1", service=kind.lower()),
            environment=environment("c" * 64),
        )  # fmt: skip
        run.finished_at.CopyFrom(run.started_at)
        run.figures.update({"duration_s": 1.5, "images": 600})
        return run

    def _digest(self) -> str:
        self._count += 1
        return digest_of([self._name, self._count])

    async def _commit(
        self, event: catalog.Event[Any], message: Any, **tokens: str
    ) -> Committed[Any]:
        async def build(_: Committed[Any] | None) -> Any:
            return message

        tokens = tokens or {"name": message.commit.artefact.name}
        return await self._log.commit(event, build, **tokens)


def _ref(kind: str, name: str, digest: str = "", role: str = "") -> ArtefactRef:
    value: ArtefactKind = ArtefactKind.Value(f"ARTEFACT_KIND_{kind}")  # type: ignore[assignment]
    return ArtefactRef(kind=value, name=name, digest=digest, role=role)


def _as(ref: ArtefactRef, role: str) -> ArtefactRef:
    copy = ArtefactRef()
    copy.CopyFrom(ref)
    copy.role = role
    return copy
