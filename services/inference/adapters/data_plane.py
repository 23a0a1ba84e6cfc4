"""Bytes in, future, bytes out: what a front calls, whatever it is written in.

A front hands over the bytes of a ModelInferRequest and gets a ticket; it waits on the ticket where
it has a thread to spare, or takes `future`'s callback and then `encode`, which does not block.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from loopline.clock import Clock
from loopline.contracts import ArtefactKind, ArtefactRef
from loopline.contracts.inference.v1 import predict_pb2
from loopline.digests import sha256_hex
from loopline.errors import Rejected
from loopline.store.items import Prediction
from services.inference.adapters.engine.batching import Inferred
from services.inference.adapters.fronts.gate import ANYBODY, Visitor
from services.inference.adapters.models.declarations import Declarations
from services.inference.adapters.models.servable import Served
from services.inference.adapters.pipeline_run import pipeline_response
from services.inference.adapters.pipelines import Pipelines
from services.inference.adapters.protocol import oip, oip_answers
from services.inference.adapters.protocol.messages import shape_message
from services.inference.adapters.protocol.shared_memory import SharedMemory
from services.inference.adapters.scheduling import Job, Scheduler, await_job
from services.inference.domain.answers import answer, predictions
from services.inference.domain.model import IMAGE_TASKS, PIPELINE, ModelVersion, TensorSpec
from services.inference.domain.queueing import Hold
from services.inference.domain.tensors import (
    Buffer,
    EncodedImages,
    Payload,
    payload_of,
    requested_outputs,
)

A = TypeVar("A")


class Ticket:
    """An answer to come."""

    def __init__(
        self,
        request: oip.InferRequest,
        outputs: Sequence[TensorSpec],
        job: Job,
        clock: Clock,
        memory: oip.Memory | None = None,
    ) -> None:
        self.request = request
        self._outputs = outputs
        self._job = job
        self._clock = clock
        self._memory = memory
        self._timeout_s = request.timeout_s

    def longest_s(self, timeout_s: float) -> float:
        """Return how long to wait for the answer: as the request says, at most `timeout_s`."""
        longest_s = self._job.longest_s(timeout_s)
        return longest_s if self._timeout_s is None else min(longest_s, self._timeout_s)

    @property
    def future(self) -> Future[Inferred]:
        """Done when `encode` can be called."""
        return self._job.future

    def result(self, timeout_s: float, extra: Mapping[str, bool] | None = None) -> bytes:
        """Wait for the answer, and return its bytes, with extra parameters.

        Raises:
            TimeoutError: It did not come in time; its place is free again.
            LooplineError: Why there is none.
        """
        await_job(self._job, self.longest_s(timeout_s))
        return self.encode(extra)

    def encode(self, extra: Mapping[str, bool] | None = None) -> bytes:
        """Return the answer's bytes, or raise why there is none; `future` must be done.

        Args:
            extra: Parameters that the answer has beside its own.
        """
        return self._told(partial(oip_answers.encode_answer, extra=extra))

    def answer(self) -> oip_answers.Answer:
        """Return the answer, for fronts that write it in another way; as `encode` otherwise."""
        return self._told(lambda answer: answer)

    def _told(self, tell: Callable[[oip_answers.Answer], A]) -> A:
        started_ns = time.perf_counter_ns()
        inferred = self._job.future.result(0)
        model = self._job.servable.model
        outputs = answer(model, inferred.outputs, self._outputs, self._job.placements)
        told = tell(
            oip_answers.answer_of(self.request, model, outputs, self._memory, inferred.facts)
        )
        self._job.answered(inferred, time.perf_counter_ns() - started_ns, now_ms(self._clock))
        return told

    def tell(
        self, answered: Callable[[bytes], object], refused: Callable[[BaseException], object]
    ) -> Callable[[], None]:
        """Have the answer's bytes, or why there is none, given to a function once they are there.

        Returns:
            What gives up: nobody waits any more, and nothing is told. Either function may be called
            before this returns.
        """
        # The future keeps `done` for ever: it must not keep the request's tensors in turn. Whoever
        # takes the ticket off this list, tells or gives up.
        waiting = [self]

        def done(future: Future[Inferred]) -> None:
            ticket = _taken(waiting)
            if ticket is None:
                return
            try:
                error = future.exception(0)
                if error is None:
                    answered(ticket.encode())
                    return
                ticket._job.failed()
            except Exception as unforeseen:
                error = unforeseen
            refused(error)

        def give_up() -> None:
            ticket = _taken(waiting)
            if ticket is not None:
                ticket.give_up()

        self._job.future.add_done_callback(done)
        return give_up

    def cancel(self) -> None:
        """The client went away: free the place."""
        self._job.cancel()

    def give_up(self) -> None:
        """No answer came in time: count it as failed, and free the place."""
        self._job.failed()
        self._job.cancel()


class DataPlane:
    """Starts requests.

    Args:
        scheduler: Runs them.
        clock: Time.
        memory: Regions of shared memory that requests may name; None for none.
        pipelines: Answer where a request names one of them; None for none.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        clock: Clock,
        memory: SharedMemory | None = None,
        pipelines: Pipelines | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._pipelines = pipelines or Pipelines(
            scheduler, Declarations(), lambda _: False, lambda: now_ms(clock)
        )
        self._clock = clock
        self._memory = memory

    def submit(self, data: bytes, visitor: Visitor = ANYBODY, *, hold: Hold = Hold.NEVER) -> Ticket:
        """Start a ModelInferRequest. May block while its model version loads.

        Args:
            data: The request's bytes.
            visitor: Who asks.
            hold: How long the caller may be held up, so that it may run the request itself.

        Raises:
            LooplineError: It is refused: see `oip.decode_request` and `start`.
        """
        return self.start(self.read(data, visitor), visitor, hold=hold)

    def read(self, data: Buffer, visitor: Visitor = ANYBODY) -> oip.InferRequest:
        """Return a request from its bytes; LooplineError as `oip.decode_request` says."""
        return oip.decode_request(data, self.memory_of(visitor))

    def start(
        self,
        request: oip.InferRequest,
        visitor: Visitor = ANYBODY,
        *,
        hold: Hold = Hold.NEVER,
        blocks: bool = True,
    ) -> Ticket:
        """Start a decoded request. May block while its model version loads.

        Args:
            request: The request.
            visitor: Who asks.
            hold: How long the caller may be held up, so that it may run the request itself.
            blocks: Whether to wait while its model version loads: not on an event loop.

        Raises:
            WouldBlock: It would have to wait.
            Forbidden: The visitor may not ask this model.
            LooplineError: It is refused: see `Scheduler.start`.
        """
        visitor.must_predict(request.model)
        request.check()
        limit = self._scheduler.limits.batch_images
        outputs: tuple[TensorSpec, ...] = ()

        def payload(servable: Served) -> Payload:
            nonlocal outputs
            outputs = requested_outputs(request.outputs, servable.outputs)
            return payload_of(request.inputs, servable.model, servable.signature, limit)

        pipeline = self._pipelines.find(request.model, request.version)
        if pipeline is not None:
            job = self._pipelines.start(pipeline, payload, request.priority, request.sticky_key)
            return Ticket(request, outputs, job, self._clock, self.memory_of(visitor))
        job = self._scheduler.start(
            request.model,
            request.version,
            payload,
            priority=request.priority,
            hold=hold,
            blocks=blocks,
            key=request.sticky_key,
        )
        return Ticket(request, outputs, job, self._clock, self.memory_of(visitor))

    def memory_of(self, visitor: Visitor) -> oip.Memory | None:
        """Return the shared memory a visitor may use; None for none."""
        return None if self._memory is None else self._memory.of(visitor.owner)

    def predict(
        self, request: predict_pb2.PredictRequest, timeout_s: float, visitor: Visitor = ANYBODY
    ) -> predict_pb2.PredictResponse:
        """Answer a typed request.

        Raises:
            Forbidden: The visitor may not ask this model.
            TimeoutError: The answer did not come in time.
            LooplineError: The request is refused; a bad image is not, it gets its own error.
        """
        visitor.must_predict(request.model)
        files = tuple(request.images)
        limit = self._scheduler.limits.batch_images
        if not 0 < len(files) <= limit:
            raise Rejected(f"the request has {len(files)} images: 1 to {limit} go into one")
        payload, recorded = partial(_encoded, files), not request.unrecorded
        pipeline = self._pipelines.find(request.model, request.version)
        if pipeline is not None:
            job = self._pipelines.start(pipeline, payload, tolerant=True, recorded=recorded)
        else:
            job = self._scheduler.start(
                request.model, request.version, payload, tolerant=True, recorded=recorded
            )
        inferred = await_job(job, job.longest_s(timeout_s))
        started_ns = time.perf_counter_ns()
        response = _response(request, job, inferred)
        job.answered(inferred, time.perf_counter_ns() - started_ns, now_ms(self._clock))
        return response


def _taken(waiting: list[Ticket]) -> Ticket | None:
    """Take what only one of several threads gets; None for the others."""
    try:
        return waiting.pop()
    except IndexError:
        return None


def now_ms(clock: Clock) -> int:
    """Return milliseconds since the epoch."""
    return int(clock.now().timestamp() * 1000)


def _encoded(files: tuple[bytes, ...], servable: Served) -> Payload:
    model = servable.model
    if model.task not in (*IMAGE_TASKS, PIPELINE):
        raise Rejected(f"{model.key} takes tensors, not images: ask it by ModelInfer")
    return EncodedImages(files)


def _response(
    request: predict_pb2.PredictRequest, job: Job, inferred: Inferred
) -> predict_pb2.PredictResponse:
    model = job.servable.model
    kind = ArtefactKind.ARTEFACT_KIND_MODEL
    response = predict_pb2.PredictResponse(
        id=request.id,
        model=ArtefactRef(kind=kind, name=model.name, version=model.version, digest=model.digest),
    )
    assets = [sha256_hex(file) for file in request.images]
    if model.task == PIPELINE:
        return pipeline_response(response, assets, inferred, job.errors)
    good = [asset for index, asset in enumerate(assets) if index not in job.errors]
    found = iter(predictions(good, model, inferred.outputs, job.placements or ()) if good else ())
    for index, asset in enumerate(assets):
        error = job.errors.get(index)
        if error is not None:
            response.predictions.add(asset=asset, error=error.message)
        else:
            response.predictions.append(_image(next(found), model))
    return response


def _image(found: Prediction, model: ModelVersion) -> predict_pb2.ImagePrediction:
    image = predict_pb2.ImagePrediction(
        asset=found.asset,
        shapes=map(shape_message, found.shapes),
        scores=[
            predict_pb2.ClassScore(class_name=name, score=score)
            for name, score in zip(model.classes, found.scores, strict=False)
        ],
    )
    if found.scores:
        (top,) = found.shapes
        image.class_name, image.confidence = top.class_name, top.confidence or 0.0
    return image
