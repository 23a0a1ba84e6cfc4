"""The way of a request through a model version: admitted, decoded, batched, inferred.

Free of any transport: images in, a future out. The Open Inference Protocol and the typed RPC both
use it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError
from dataclasses import dataclass, field

from loopline.errors import LooplineError, Rejected
from loopline.vision.geometry import Placement
from services.inference.adapters.engine.batching import ClosedError, Inferred
from services.inference.adapters.engine.preprocessing import Preparation, Prepared
from services.inference.adapters.engine.statistics import RequestTimes
from services.inference.adapters.models.repository import ModelRepository
from services.inference.adapters.models.rollouts import SHADOW_PRIORITY, Followed, Rollouts
from services.inference.adapters.models.servable import Servable, Served
from services.inference.adapters.sampling import Sampler
from services.inference.domain.admission import Exhausted, Limits, Retired
from services.inference.domain.model import INPUT
from services.inference.domain.queueing import Hold
from services.inference.domain.serving import Step
from services.inference.domain.tensors import EncodedImages, Payload, Tensors

FIND_ATTEMPTS = 3


@dataclass(slots=True)
class Job:
    """A request on its way.

    Args:
        servable: What answers it.
        images: How many images it has.
        tolerant: Whether the images beside a bad one are answered.
        future: Its answer: a row for each image without an error.
        errors: What is wrong with the others, by index; only where it is tolerant.
        placements: How each image with an answer sat in the input; None where pixels came.
        priority: See `queueing.DEFAULT_PRIORITY`.
        hold: How long who starts it may be held up.
        files: Its images, where it is to be recorded.
        sampler: Who records it; None where it is not to be.
    """

    servable: Served
    images: int
    tolerant: bool
    started_ns: int
    future: Future[Inferred] = field(default_factory=Future)
    errors: dict[int, LooplineError] = field(default_factory=dict)
    placements: list[Placement] | None = None
    input_ns: int = 0
    priority: int = 0
    hold: Hold = Hold.NEVER
    files: tuple[bytes, ...] = ()
    sampler: Sampler | None = None

    def longest_s(self, timeout_s: float) -> float:
        """Return how long it may take: as its model's flow says, at most `timeout_s`."""
        own_s = self.servable.timeout_s
        return timeout_s if own_s is None else min(timeout_s, own_s)

    def cancel(self) -> None:
        """Free its place, unless the engine has it."""
        self.future.cancel()

    def answered(self, inferred: Inferred, output_ns: int, now_ms: int) -> None:
        """Count it as answered."""
        total_ns = time.perf_counter_ns() - self.started_ns
        times = RequestTimes(
            total_ns, inferred.queue_ns, self.input_ns, inferred.infer_ns, output_ns
        )
        self.servable.statistics.answered(times, inferred.count, now_ms)
        if self.sampler is not None and inferred.count:
            good = [file for at, file in enumerate(self.files) if at not in self.errors]
            self.sampler.offer(self.servable.model, good, inferred.outputs, self.placements or ())

    def failed(self) -> None:
        """Count it as failed."""
        self.servable.statistics.failed(time.perf_counter_ns() - self.started_ns)


class Scheduler:
    """Starts requests.

    Args:
        repository: Where model versions are.
        pool: Decodes.
        limits: What a request may be.
        rollouts: Second versions that get a share of the requests.
        sampler: Records some of the requests; None for none.
    """

    def __init__(
        self,
        repository: ModelRepository,
        pool: Executor,
        limits: Limits,
        rollouts: Rollouts | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        self._sampler = sampler
        self._repository = repository
        self._rollouts = rollouts or Rollouts(repository)
        self._pool = pool
        self.limits = limits

    def start(
        self,
        name: str,
        version: str,
        payload_for: Callable[[Served], Payload],
        *,
        tolerant: bool = False,
        priority: int = 0,
        hold: Hold = Hold.NEVER,
        blocks: bool = True,
        key: str = "",
        recorded: bool = True,
    ) -> Job:
        """Start a request.

        Args:
            name: The model.
            version: A number, an alias, or empty for the champion.
            payload_for: Returns what the request holds for the servable that was found.
            tolerant: Answer the images beside a bad one; otherwise one bad image fails the request.
            priority: See `queueing.DEFAULT_PRIORITY`.
            hold: How long the caller may be held up, so that it may run the request itself.
            blocks: Whether to wait while its model version loads: not on an event loop.
            key: Requests of one key get one version while another one is rolled out.
            recorded: Whether it may be recorded.

        Raises:
            WouldBlock: It would have to wait.
            NotFound: There is no such model or version.
            Rejected: The images are not what the model takes.
            Exhausted: Too much waits for the model already.
            Transient: The version cannot be loaded now.
        """
        followed = self._rollouts.of(name, version)
        if followed is not None:
            version = self._rollouts.version(followed, version, key)
        for attempt in range(FIND_ATTEMPTS):
            started_ns = time.perf_counter_ns()
            servable = self._repository.find(name, version, blocks=blocks)
            try:
                job = Job(servable, 0, tolerant, started_ns, priority=priority, hold=hold)
                payload = payload_for(servable)
                if recorded:
                    self._record(job, payload)
                if followed is None or servable.model.key == followed.rollout.key:
                    return self._start(servable, job, payload)
                return self._start_both(followed, servable, job, payload)
            except Retired:
                if attempt == FIND_ATTEMPTS - 1:
                    raise
            except LooplineError:
                servable.statistics.failed(time.perf_counter_ns() - started_ns)
                raise
        raise AssertionError("unreachable")

    def unready(self, step: Step) -> str:
        """Return why a model that is named by its alias cannot be asked now; "" where it can."""
        try:
            self._repository.resolve(step.model, step.alias)
        except LooplineError as error:
            return error.message
        return ""

    def _record(self, job: Job, payload: Payload) -> None:
        sampler = self._sampler
        if sampler is not None and isinstance(payload, EncodedImages) and sampler.wants():
            job.sampler, job.files = sampler, payload.files

    def _start_both(
        self, followed: Followed, servable: Servable, job: Job, payload: Payload
    ) -> Job:
        """Start a request and, where it is to get one, a copy for the second version."""
        second = self._rollouts.shadow(followed)
        if second is not None and isinstance(payload, Tensors):
            payload.fetch()  # the client may write over them before the copy is run
            payload = Tensors(payload.feeds, payload.count)
        self._start(servable, job, payload)
        if second is None:
            return job
        copy = Job(second, 0, job.tolerant, job.started_ns, priority=SHADOW_PRIORITY)
        try:
            self._start(second, copy, payload)
        except LooplineError:  # it has enough to do, or is gone
            followed.tally.add("shadow_dropped")
        else:
            self._rollouts.compare(followed, servable.model.task, job.future, copy.future)
        return job

    def _start(self, servable: Servable, job: Job, payload: Payload) -> Job:
        admission, count = servable.admission, payload.count
        job.images = count
        admission.enter(count)
        job.future.add_done_callback(lambda _: admission.leave(count))  # it keeps no tensors
        try:
            self._begin(servable, job, payload)
        except BaseException:
            job.future.cancel()  # whatever it was, the place is free again
            raise
        return job

    def _begin(self, servable: Servable, job: Job, payload: Payload) -> None:
        if isinstance(payload, EncodedImages):
            preparation = Preparation(
                payload.files,
                servable.model,
                self.limits.image_pixels,
                lambda prepared: _prepared(servable, job, prepared),
                job.future.cancelled,
            )
            preparation.start(self._pool)
        else:
            servable.batcher.submit(payload, job.future, job.priority, hold=job.hold)


def _prepared(servable: Servable, job: Job, prepared: Prepared) -> None:
    """Hand a decoded request to the engine, or say what is wrong with it."""
    job.input_ns = prepared.elapsed_ns
    try:
        if prepared.errors and not job.tolerant:
            index, error = next(iter(prepared.errors.items()))
            kind = Exhausted if isinstance(error, Exhausted) else Rejected
            job.future.set_exception(kind(f"image {index}: {error.message}"))
            return
        job.errors, job.placements = prepared.errors, prepared.placements
        count = len(prepared.pixels)
        if count == 0:
            job.future.set_result(Inferred({}, 0, 0, 0))
        elif not job.future.cancelled():
            tensors = Tensors({INPUT: prepared.pixels}, count)
            # A thread of the decoders is not to be held up: others wait for it.
            servable.batcher.submit(tensors, job.future, job.priority)
    except (InvalidStateError, ClosedError):
        pass  # the client cancelled meanwhile


def await_job(job: Job, timeout_s: float) -> Inferred:
    """Wait for a job; count it as failed and free its place where no answer comes."""
    try:
        return job.future.result(timeout_s)
    except (LooplineError, CancelledError):
        job.failed()
        raise
    except TimeoutError:
        job.failed()
        job.cancel()
        raise
