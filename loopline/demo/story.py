"""The demo's story, step by step, told from the commit log.

Every step waits for a commit, not for a sleep or for its own memory: so the same story runs on a
fresh data folder, on one where it ran before (all is there already), and on one where it was killed
half-way.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from loopline.client.aio import AsyncLoopline
from loopline.client.refs import show_ref
from loopline.contracts import (
    AliasMoved,
    DatasetCommitted,
    DeliveryCommitted,
    LabelingJobCommitted,
    ModelCommitted,
    PredictionsCommitted,
    PromotionDeclined,
    RunChanged,
    RunState,
    catalog,
)
from loopline.contracts.catalog import Event, Stream
from loopline.demo import external
from loopline.demo.images import Bucket, CatalogueTruth, write_catalogue
from loopline.demo.scene import Scene
from loopline.demo.screen import Screen, Stage
from loopline.demo.shapes import write_drawn
from loopline.demo.webhook import WebhookReceiver
from loopline.digests import sha256_hex
from loopline.embedded.endpoints import Endpoints
from loopline.errors import LooplineError, Rejected, Transient
from loopline.store.blobs import S3Blobs
from loopline.store.commits import Committed
from loopline.store.logstore import JetStreamLog

ALIAS = "champion"
PHOTOS_BUCKET = "customer-photos"
RESULTS_BUCKET = "customer-results"
LABELERS = ("ada", "grace")
STATE_FILE = "demo.json"  # in the data folder: the webhook's port
POLL_S = 0.2
STEP_TIMEOUT_S = 600.0
ATTEMPTS_OF_CLIENT = 60

T = TypeVar("T")


@dataclass
class Summary:
    """What came out: what the demo prints at its end, and writes as JSON."""

    items: dict[str, int] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)
    planted: dict[str, int] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    decision: str = ""
    delivered: list[int] = field(default_factory=list)
    relabeled: int = 0
    client_answer: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    datasets: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    nothing_recomputed: bool = False


class Story:
    """Runs the story against a platform.

    Args:
        loopline: The SDK.
        endpoints: Where the platform is, with the customer's and the external publisher's keys.
        screen: Where it is told.
        folder: Where the demo keeps its own small state (the webhook's port).
        scene: The images, the training and the thresholds.
    """

    def __init__(
        self,
        loopline: AsyncLoopline,
        endpoints: Endpoints,
        screen: Screen,
        folder: Path,
        scene: Scene,
    ) -> None:
        self._loopline = loopline
        self._endpoints = endpoints
        self._screen = screen
        self._folder = folder
        self._scene = scene
        self._summary = Summary()
        self._failure: LooplineError | None = None
        self._events = JetStreamLog(loopline.session.nats, Stream.EVENTS)

    async def run(self) -> Summary:
        """Tell the whole story; raises what went wrong, with its reason."""
        watcher = asyncio.create_task(self._watch())
        receiver = WebhookReceiver(self._saved_port())
        await receiver.start()
        (self._folder / STATE_FILE).write_text(json.dumps({"webhook_port": receiver.port}))
        store = self._loopline.session.log.store
        before = await store.last_sequence()
        try:
            truth = await self._fill_bucket()
            await self._put_flow(self._scene.webhook_url or receiver.url)
            first = await self._import(truth)
            routed = await self._first_model(first, truth)
            if routed.message.relabeled:
                await self._labeling(truth, receiver)
            else:
                self._summary.decision = "the model was sure of everything: nobody was asked"
        finally:
            watcher.cancel()
            await receiver.stop()
        self._summary.seconds = {k: round(v, 2) for k, v in self._screen.seconds.items()}
        self._summary.nothing_recomputed = await store.last_sequence() == before
        return self._summary

    async def _fill_bucket(self) -> CatalogueTruth:
        bucket = self._customer_bucket(PHOTOS_BUCKET)
        with self._screen.stage("bucket", "A customer's bucket holds images") as stage:
            target = await asyncio.to_thread(_Missing, bucket)
            truth = await asyncio.to_thread(self._write, target, stage)
            planted = self._summary.planted = truth.planted_by_reason()
            stage.done(
                f"{truth.objects} objects: {len(truth.labeled)} labeled, {len(truth.test)} test, "
                f"{len(truth.unlabeled)} unlabeled, planted {_counts(planted)}"
            )
        return truth

    def _write(self, target: Bucket, stage: Stage) -> CatalogueTruth:
        scene = self._scene
        if scene.drawn:
            as_boxes = scene.recipe == "detection"
            return write_drawn(target, scene.drawn, as_boxes=as_boxes, progress=stage.at)
        return write_catalogue(
            target, images=scene.images, pictures=scene.pictures, progress=stage.at
        )

    async def _put_flow(self, webhook_url: str) -> None:
        with self._screen.stage("flow", "A flow says what starts, promotes and routes") as stage:
            flow = await self._loopline.flow.put(self._scene.flow(RESULTS_BUCKET, webhook_url))
            stage.done(f"{show_ref(flow.ref)} [dim]{flow.ref.digest[:12]}[/dim]")

    async def _import(self, truth: CatalogueTruth) -> Committed[DatasetCommitted]:
        with self._screen.stage("import", "An external system asks for an import") as stage:
            ends = self._endpoints
            since = await self._events.last_sequence()
            event = await external.ask_for_import(
                ends.nats_url,
                ends.external_nats_user,
                ends.external_nats_password,
                dataset=self._scene.name,
                bucket=PHOTOS_BUCKET,
                prefix=truth.prefix,
                labels_key=truth.labels_key,
                traceparent=self._scene.traceparent,
            )
            await self._until("the import", lambda: self._completed(str(event["id"]), since))
            first = await self._until(
                "the dataset", lambda: self._first(catalog.DATASET_COMMITTED, name=self._scene.name)
            )
            statistics = first.message.statistics
            self._summary.items = dict(statistics)
            self._summary.drops = _drops(first)
            self._summary.datasets[show_ref(first.ref)] = first.message.tree.digest
            stage.done(
                f"{show_ref(first.ref)}: {statistics['items']} items, "
                f"dropped {_counts(self._summary.drops)}"
            )
        return first

    async def _first_model(
        self, first: Committed[DatasetCommitted], truth: CatalogueTruth
    ) -> Committed[DeliveryCommitted]:
        model = await self._trained("train_1", "The flow trains a first model", first)
        with self._screen.stage("promote_1", "The flow's rule promotes it") as stage:
            moved = await self._until("the promotion", lambda: self._moved(model))
            stage.done(f"{ALIAS} is {show_ref(moved.message.target)}: {moved.message.reason}")
        await self._ask(truth)
        _, delivery = await self._routed("1", model)
        return delivery

    async def _trained(
        self, key: str, title: str, dataset: Committed[DatasetCommitted]
    ) -> Committed[ModelCommitted]:
        with self._screen.stage(key, title) as stage:
            model = await self._until("the model", lambda: self._model_of(dataset))
            metrics = _test_metrics(model)
            self._summary.models.append(
                {"version": show_ref(model.ref), "digest": model.ref.digest, "metrics": metrics}
            )
            shown = [f"{name} {metrics[name]:.3f}" for name in self._scene.metrics]
            stage.done(
                f"{show_ref(model.ref)} on {show_ref(dataset.ref)}: [bold]{shown[0]}[/bold], "
                f"{', '.join(shown[1:])}"
            )
        return model

    async def _ask(self, truth: CatalogueTruth) -> None:
        """Ask with tritonclient about test images, and keep the first answer that is right."""
        with self._screen.stage("client", "tritonclient asks about a test image") as stage:
            bucket = self._customer_bucket(PHOTOS_BUCKET)
            for key, true_class in sorted(truth.test.items()):
                data = await asyncio.to_thread(bucket.get, key)
                answer = await self._triton(data)
                self._summary.client_answer = {"key": key, "true_class": true_class, **answer}
                if answer["class"] in ("", true_class):
                    break
            stage.done(
                f"{Path(key).name}: [bold]{answer['says']}[/bold], truly {_truth(truth, key, data)}"
            )

    async def _triton(self, image: bytes) -> dict[str, Any]:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "image"
            path.write_bytes(image)
            for attempt in range(ATTEMPTS_OF_CLIENT):
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "loopline.demo.triton_check",
                    self._endpoints.inference_grpc, self._scene.name, str(path),
                    stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                )  # fmt: skip
                out, err = await process.communicate()
                if process.returncode == 0:
                    answer: dict[str, Any] = json.loads(out)
                    return answer
                # The alias has moved; the workers may still be loading the model.
                await asyncio.sleep(min(2.0, POLL_S * (attempt + 1)))
        raise Transient(f"tritonclient got no answer: {err.decode().strip().splitlines()[-1:]}")

    async def _routed(
        self, number: str, model: Committed[ModelCommitted]
    ) -> tuple[Committed[PredictionsCommitted], Committed[DeliveryCommitted]]:
        title = "The model is applied to the unlabeled photos"
        with self._screen.stage(f"apply_{number}", title) as stage:
            predictions = await self._until("predictions", lambda: self._predictions_of(model))
            message = predictions.message
            stage.done(f"{message.selected} predicted, {message.inferred} of them inferred now")
        title = "The router delivers what is sure"
        with self._screen.stage(f"route_{number}", title) as stage:
            delivery = await self._until("delivery", lambda: self._delivery_of(predictions))
            self._summary.delivered.append(delivery.message.delivered)
            if number == "1":
                self._summary.relabeled = delivery.message.relabeled
            stage.done(
                f"{delivery.message.delivered} to "
                f"s3://{RESULTS_BUCKET}/{self._scene.results_prefix}, "
                f"{delivery.message.relabeled} to labelers"
            )
        return predictions, delivery

    async def _labeling(self, truth: CatalogueTruth, receiver: WebhookReceiver) -> None:
        with self._screen.stage("label", "Labelers correct the uncertain ones") as stage:
            job = await self._until("the labeling job", self._job)
            name = job.ref.name
            labeled = await self._submit(name, truth, stage)
            calls = len([call for call in receiver.calls if name in json.dumps(call)])
            second = await self._until("the corrected dataset", lambda: self._corrected(name))
            self._summary.datasets[show_ref(second.ref)] = second.message.tree.digest
            stage.done(
                f"{labeled} submitted by {' and '.join(LABELERS)} (the true labels, as people "
                f"would give them) → {show_ref(second.ref)}; webhook called {calls}×"
            )
        model = await self._trained("train_2", "The flow trains on the corrections", second)
        with self._screen.stage(
            "promote_2", "Compared with the champion, same test photos"
        ) as stage:
            decision: Committed[AliasMoved] | PromotionDeclined = await self._until(
                "the decision", lambda: self._decision(model)
            )
            promoted = isinstance(decision, Committed)
            self._summary.decision = (
                decision.message.reason if isinstance(decision, Committed) else decision.reason
            )
            stage.done(("promoted: " if promoted else "not promoted: ") + self._summary.decision)
        if promoted:
            await self._routed("2", model)

    async def _submit(self, job: str, truth: CatalogueTruth, stage: Stage) -> int:
        """Submit the true label of every item of the job that has none yet."""
        items = await self._until("the job's items", lambda: self._items(job))
        size = self._scene.labels_per_request
        for start in range(0, len(items), size):
            page = items[start : start + size]
            # By the item's place: who was interrupted goes on with his own.
            labeler = LABELERS[start // size % len(LABELERS)]
            labels = {
                item["asset"]: truth.answer(item["asset"])
                for item in page
                if item["labels"] is None
            }
            if labels:
                await self._loopline.job.label_many(job, labels, labeler=labeler)
            stage.at(start + len(page), len(items), "labels")
        return len(items)

    async def _items(self, job: str) -> list[dict[str, Any]] | None:
        try:
            return await self._loopline.job.items(job)
        except (Rejected, Transient):
            return None  # annotate has not projected the job yet

    # What the log says.

    async def _completed(self, command_id: str, since: int) -> RunChanged | None:
        """Return the last report of the run that answered a command, once it says completed."""
        session = self._loopline.session
        subject = catalog.RUN_CHANGED.subject(session.settings.workspace)
        run_id = ""
        async for record in self._events.read([subject], since):
            report = RunChanged.FromString(record.data)
            if report.command_id == command_id:
                run_id = report.run_id
            if report.run_id == run_id and report.state == RunState.RUN_STATE_COMPLETED:
                return report
        return None

    async def _first(self, event: Event[Any], **tokens: str) -> Committed[Any] | None:
        history = await self._loopline.session.log.history(event, **tokens)
        return history[0] if history else None

    async def _model_of(
        self, dataset: Committed[DatasetCommitted]
    ) -> Committed[ModelCommitted] | None:
        log = self._loopline.session.log
        for model in await log.history(catalog.MODEL_COMMITTED, name=self._scene.name):
            if any(i.digest == dataset.ref.digest for i in model.commit.run.inputs):
                return model
        return None

    async def _moved(self, model: Committed[ModelCommitted]) -> Committed[AliasMoved] | None:
        log = self._loopline.session.log
        for moved in await log.history(catalog.ALIAS_MOVED, model=self._scene.name, alias=ALIAS):
            if moved.message.target.digest == model.ref.digest:
                return moved
        return None

    async def _decision(
        self, model: Committed[ModelCommitted]
    ) -> Committed[AliasMoved] | PromotionDeclined | None:
        if moved := await self._moved(model):
            return moved
        session = self._loopline.session
        subject = catalog.PROMOTION_DECLINED.subject(
            session.settings.workspace, model=self._scene.name
        )
        async for record in self._events.read([subject]):
            declined = PromotionDeclined.FromString(record.data)
            if declined.candidate.digest == model.ref.digest:
                return declined
        return None

    async def _predictions_of(
        self, model: Committed[ModelCommitted]
    ) -> Committed[PredictionsCommitted] | None:
        for found in await self._loopline.session.log.heads(catalog.PREDICTIONS_COMMITTED):
            if found.message.model.digest == model.ref.digest:
                return found
        return None

    async def _delivery_of(
        self, predictions: Committed[PredictionsCommitted]
    ) -> Committed[DeliveryCommitted] | None:
        log = self._loopline.session.log
        for found in await log.history(catalog.DELIVERY_COMMITTED, name=self._scene.name):
            if any(i.digest == predictions.ref.digest for i in found.commit.run.inputs):
                return found
        return None

    async def _job(self) -> Committed[LabelingJobCommitted] | None:
        jobs = await self._loopline.session.log.heads(catalog.LABELING_JOB_COMMITTED)
        return min(jobs, key=lambda job: job.commit.parent_sequence or job.sequence, default=None)

    async def _corrected(self, job: str) -> Committed[DatasetCommitted] | None:
        log = self._loopline.session.log
        for found in await log.history(catalog.DATASET_COMMITTED, name=self._scene.name):
            if any(i.name == job or i.name.startswith(f"{job}/") for i in found.commit.run.inputs):
                return found
        return None

    # Waiting and watching.

    async def _until(self, what: str, probe: Callable[[], Awaitable[T | None]]) -> T:
        """Return what `probe` finds, once it does; raises if a run fails meanwhile."""
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                while True:
                    try:
                        if (found := await probe()) is not None:
                            return found
                    except Transient:
                        pass  # the bus restarts
                    if self._failure is not None:
                        raise self._failure
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise Transient(f"{what}: not there after {STEP_TIMEOUT_S:.0f} s") from None

    async def _watch(self) -> None:
        """Move the bar of the running stage with the reports of the runs."""
        async for report in self._loopline.events():
            if isinstance(report, Rejected):
                self._failure = report
            elif report.state == RunState.RUN_STATE_FAILED:
                self._failure = Rejected(f"{report.title}: {report.message}")
            elif (stage := self._screen.current) and report.total:
                stage.at(report.done, report.total, _detail(report))

    def _customer_bucket(self, name: str) -> S3Blobs:
        ends = self._endpoints
        return S3Blobs(ends.s3_endpoint, ends.customer_access_key, ends.customer_secret_key, name)

    def _saved_port(self) -> int:
        """Return the webhook's port of last time: a new one would be a new flow, and new work."""
        path = self._folder / STATE_FILE
        return int(json.loads(path.read_text())["webhook_port"]) if path.exists() else 0


class _Missing:
    """A bucket into which only what is not there yet is written."""

    def __init__(self, bucket: S3Blobs) -> None:
        self._bucket = bucket
        self._there = {info.key: info.size_bytes for info in bucket.list("")}
        self._digests: dict[str, str] = {}

    def put(self, key: str, data: bytes, media_type: str = "application/octet-stream") -> None:
        """Write `data` unless the key holds the same bytes."""
        if self._there.get(key) == len(data) and sha256_hex(self._bucket.get(key)) == sha256_hex(
            data
        ):
            return
        self._bucket.put(key, data, media_type)


def _truth(truth: CatalogueTruth, key: str, data: bytes) -> str:
    shapes = truth.shapes_by_asset.get(sha256_hex(data))
    return truth.test[key] if shapes is None else f"{len(shapes)} {truth.test[key]} objects"


def _detail(report: RunChanged) -> str:
    training = report.training
    if not training.steps:
        return report.unit
    metrics = [f"{name} {value:.3f}" for name, value in sorted(training.metrics.items())[:1]]
    return "  ".join([report.unit, f"loss {training.loss:.3f}", *metrics])


def _drops(dataset: Committed[DatasetCommitted]) -> dict[str, int]:
    figures = dataset.commit.run.figures
    return {
        name.removeprefix("dropped:"): int(count)
        for name, count in sorted(figures.items())
        if name.startswith("dropped:")
    }


def _test_metrics(model: Committed[ModelCommitted]) -> dict[str, float]:
    for evaluation in model.message.evaluations:
        if evaluation.split == "test":
            return dict(sorted(evaluation.metrics.items()))
    return {}


def _counts(counts: dict[str, int]) -> str:
    return (
        ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()) or "none"
    )
