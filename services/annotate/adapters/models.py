"""Asks deployed models: about one item while somebody waits, or about every item of a job."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import grpc
import structlog
from pydantic import SecretStr

from loopline.client.refs import parse_ref
from loopline.clock import Clock
from loopline.contracts import ArtefactKind, ArtefactRef
from loopline.contracts.inference.v1 import predict_pb2, predict_pb2_grpc
from loopline.errors import LooplineError, NotFound, Rejected, Transient
from loopline.store.items import Shape
from loopline.store.objects import Area, ObjectStore
from services.annotate.adapters.answers import PreannotationOut
from services.annotate.adapters.desk import Desk
from services.annotate.adapters.items import ItemRows
from services.annotate.adapters.messages import shape_of
from services.annotate.adapters.rows import moment

MAX_MESSAGE_BYTES = 64 * 1024**2
BUSY_RETRIES = 5
BUSY_WAIT_S = 0.5
ITEMS_AT_ONCE = 500  # of a job, read from its rows
_BUSY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a model says of some images.

    Attributes:
        model: The version that answered.
        shapes: By asset.
        errors: Why an image could not be predicted, by asset.
    """

    model: ArtefactRef
    shapes: dict[str, tuple[Shape, ...]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


class Models:
    """Models that are deployed.

    Args:
        objects: Where the images are.
        address: Where models answer; "" for none.
        token: The machine's own key; "" if none is asked for.
        timeout_s: For one question.
        images_max: Images in one question.
    """

    def __init__(
        self,
        objects: ObjectStore,
        address: str,
        token: SecretStr,
        timeout_s: float,
        images_max: int,
    ) -> None:
        self._objects = objects
        self._address = address
        self._metadata = (
            [("authorization", f"Bearer {key}")] if (key := token.get_secret_value()) else []
        )
        self._timeout_s = timeout_s
        self.images_max = images_max
        self._channel: grpc.aio.Channel | None = None

    async def close(self) -> None:
        """Let the connection go."""
        if self._channel is not None:
            await self._channel.close(None)

    async def predict(self, model: str, assets: Sequence[str], confidence_min: float) -> Predicted:
        """Return what a model sees in images, most sure first.

        Args:
            model: "catalogue", "catalogue@champion", "catalogue@v3".
            assets: The images.
            confidence_min: Shapes below are left out.

        Raises:
            NotFound: There is no such model, or image.
            Transient: The model does not answer now.
        """
        ref, alias = parse_ref(model, ArtefactKind.ARTEFACT_KIND_MODEL)
        images = await self._objects.get_many(Area.ASSETS, list(assets))
        request = predict_pb2.PredictRequest(
            model=ref.name,
            version=alias or str(ref.version or ""),
            images=images,
            unrecorded=True,  # what labelers are shown is not what customers ask
        )
        response = await self._ask(request)
        source = f"model:{response.model.digest}"
        found = Predicted(response.model)
        for asset, said in zip(assets, response.predictions, strict=True):
            if said.error:
                found.errors[asset] = said.error
                continue
            shapes = [replace(shape_of(shape), source=source) for shape in said.shapes]
            kept = [shape for shape in shapes if (shape.confidence or 0.0) >= confidence_min]
            found.shapes[asset] = tuple(_with_ids(kept))
        return found

    async def _ask(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        if not self._address:
            raise Transient("no inference service is configured (LOOPLINE_INFERENCE_GRPC)")
        if self._channel is None:
            options = [
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ]
            self._channel = grpc.aio.insecure_channel(self._address, options=options)
        stub = predict_pb2_grpc.PredictServiceStub(self._channel)  # type: ignore[no-untyped-call]
        try:
            response: predict_pb2.PredictResponse = await stub.Predict(
                request, timeout=self._timeout_s, metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            raise _from_grpc(error, request.model) from error
        return response


def _from_grpc(error: grpc.aio.AioRpcError, model: str) -> LooplineError:
    message = f"model {model}: {error.details()}"
    if error.code() == grpc.StatusCode.NOT_FOUND:
        return NotFound(message, model=model)
    if error.code() in (*_BUSY, grpc.StatusCode.DEADLINE_EXCEEDED):
        return Transient(message, model=model)
    return Rejected(message, model=model)


def _with_ids(shapes: Sequence[Shape]) -> list[Shape]:
    """Return shapes with ids of their own: labels say by them what they were edited from."""
    return [
        shape if shape.id else replace(shape, id=f"p{index}")
        for index, shape in enumerate(shapes, start=1)
    ]


class Preannotation:
    """Asks a model about every item of a job that waits for labels, in the background.

    An item that somebody labels meanwhile keeps what it was shown with.

    Args:
        models: Who is asked.
        rows: The items.
        desk: Keeps what they say.
        clock: Time.
    """

    def __init__(self, models: Models, rows: ItemRows, desk: Desk, clock: Clock) -> None:
        self._models = models
        self._rows = rows
        self._desk = desk
        self._clock = clock
        self._runs: dict[str, PreannotationOut] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def status(self, job: str) -> PreannotationOut:
        """Return how far it is; NotFound if none was started since this process began."""
        if job not in self._runs:
            raise NotFound(f"no model was asked about labeling job {job}", job=job)
        return self._runs[job]

    def start(self, job: str, model: str, confidence_min: float) -> PreannotationOut:
        """Begin, unless a model is being asked about this job.

        Raises:
            Rejected: Another model is being asked about it.
        """
        task = self._tasks.get(job)
        if task is not None and not task.done():
            running = self._runs[job]
            if running.model != model:
                raise Rejected(f"{running.model} is being asked about job {job}", job=job)
            return running
        status = PreannotationOut(
            job=job, model=model, state="running", total=0, done=0, failed=0, error=""
        )
        self._runs[job] = status
        self._tasks[job] = asyncio.create_task(self._run(status, confidence_min))
        return status

    async def finished(self, job: str) -> None:
        """Return once it is over."""
        await asyncio.gather(self._tasks[job])

    async def close(self) -> None:
        """Stop asking."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, status: PreannotationOut, confidence_min: float) -> None:
        try:
            await self._ask_all(status, confidence_min)
            status.state = "completed"
        except LooplineError as error:
            status.state, status.error = "failed", error.message
            log.warning("preannotation_failed", job=status.job, reason=error.message)

    async def _ask_all(self, status: PreannotationOut, confidence_min: float) -> None:
        job, now_s = status.job, self._clock.now().timestamp()
        after, wanted = -1, list[str]()
        while page := await self._rows.page(
            job, state="todo", now_s=now_s, after=after, limit=ITEMS_AT_ONCE
        ):
            wanted += [item.asset for item in page]
            after = page[-1].position
        status.total = len(wanted)
        for start in range(0, len(wanted), self._models.images_max):
            some = wanted[start : start + self._models.images_max]
            found = await self._patiently(status.model, some, confidence_min)
            at = moment(self._clock.now())
            await self._desk.suggest(job, list(found.shapes.items()), found.model, at)
            status.done += len(found.shapes)
            status.failed += len(found.errors)

    async def _patiently(
        self, model: str, assets: Sequence[str], confidence_min: float
    ) -> Predicted:
        for attempt in range(BUSY_RETRIES):
            try:
                return await self._models.predict(model, assets, confidence_min)
            except Transient:
                await asyncio.sleep(BUSY_WAIT_S * 2**attempt)
        return await self._models.predict(model, assets, confidence_min)
