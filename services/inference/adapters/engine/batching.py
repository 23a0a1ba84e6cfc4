"""Dynamic batching: what queued while the engine was busy makes the next batch.

Unless told otherwise no request waits for company: with an empty queue it runs at once, alone.
Waiting 1 or 2 ms for more cost throughput and latency in every measurement.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import structlog

from loopline.errors import LooplineError
from services.inference.adapters.engine.statistics import Statistics
from services.inference.domain.queueing import BatchPolicy, Hold, Queue
from services.inference.domain.tensors import Array, Arrays, Tensors

log = structlog.get_logger()


class ClosedError(LooplineError):
    """A batcher was asked after it was closed: its caller held no place in its servable."""


@dataclass(slots=True)
class Inferred:
    """What the engine said of one request.

    Args:
        outputs: The graph's outputs, a row per image.
        count: How many images.
        queue_ns: How long it waited for the engine.
        infer_ns: How long the engine took for the batch it was in.
        facts: What the answer tells beside its tensors, as parameters.
    """

    outputs: Mapping[str, Array]
    count: int
    queue_ns: int
    infer_ns: int
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Waiting:
    tensors: Tensors
    future: Future[Inferred]
    since_ns: int
    count: int


class Batcher:
    """Feeds an engine, from as many threads as it has instances.

    Args:
        run: The engine: an array per input to an array per output. Called from several threads.
        policy: How requests share executions.
        statistics: Counts executions.
        name: For the threads.
    """

    def __init__(
        self,
        run: Callable[[Arrays], dict[str, Array]],
        policy: BatchPolicy,
        statistics: Statistics,
        name: str,
    ) -> None:
        self._run = run
        self._policy = policy
        self._statistics = statistics
        self._queue: Queue[_Waiting] = Queue()
        self._free = policy.instances
        self._changed = threading.Condition(threading.Lock())
        self._closed = False
        self._threads = [
            threading.Thread(target=self._loop, name=f"engine-{name}-{number}", daemon=True)
            for number in range(policy.instances)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        tensors: Tensors,
        future: Future[Inferred],
        priority: int = 0,
        *,
        hold: Hold = Hold.NEVER,
    ) -> None:
        """Queue a request whose answer goes to `future`; cancel that and the engine skips it.

        Args:
            tensors: Its rows.
            future: Done once they were run.
            priority: See `queueing.DEFAULT_PRIORITY`.
            hold: How long the caller may be held up: where it may, it runs the request itself if
                nothing waits and the engine is free, which saves two changes of threads.

        Raises:
            ClosedError: `close` was called.
        """
        waiting = _Waiting(tensors, future, time.perf_counter_ns(), tensors.count)
        with self._changed:
            if self._closed:
                raise ClosedError("the engine was closed")
            is_idle = self._free > 0 and not self._queue and not self._waits()
            runs_here = self._policy.direct and hold and waiting.count <= self._policy.max_batch
            runs_here = runs_here or (hold is Hold.LONG and is_idle)
            if runs_here:
                self._free -= 1
            else:
                self._queue.add(waiting, priority or self._policy.priority)
                if self._free > 0:
                    self._changed.notify()
        if runs_here:
            self._run_here(waiting)

    def use(self, policy: BatchPolicy) -> None:
        """Let requests share executions otherwise from now on; the instances stay as they are."""
        with self._changed:
            self._policy = policy
            self._changed.notify_all()

    def close(self) -> None:
        """Take nothing more; what is queued is still answered."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self, timeout_s: float | None = None) -> None:
        """After `close`: wait until everything is answered."""
        for thread in self._threads:
            thread.join(timeout_s)

    def _run_here(self, waiting: _Waiting) -> None:
        try:
            if waiting.future.set_running_or_notify_cancel():
                self._execute([waiting])
        finally:
            with self._changed:
                self._free += 1
                if self._queue:
                    self._changed.notify()

    def _loop(self) -> None:
        while batch := self._take():
            live = [waiting for waiting in batch if waiting.future.set_running_or_notify_cancel()]
            if live:
                self._execute(live)
            del batch, live  # their memory is the next requests'
            with self._changed:
                self._free += 1

    def _take(self) -> list[_Waiting]:
        """Wait for requests; return those that fit one execution, none once closed and drained.

        An instance counts as busy from here on until the execution is over.
        """
        with self._changed:
            while not self._closed or self._queue:
                delay_s = self._delay_s()
                if delay_s == 0:
                    self._free -= 1
                    return self._queue.take(self._policy.size)
                self._changed.wait(delay_s)
            return []

    def _delay_s(self) -> float | None:
        """Return how long to wait before the next execution; None for until something comes."""
        if not self._queue or self._free <= 0:
            return None
        if not self._waits() or self._closed or self._queue.images >= self._policy.size:
            return 0
        waited_s = (time.perf_counter_ns() - self._queue.oldest_ns()) / 1e9
        return max(0.0, self._policy.max_delay_s - waited_s)

    def _waits(self) -> bool:
        return self._policy.max_delay_s > 0

    def _execute(self, batch: Sequence[_Waiting]) -> None:
        try:
            self._answer(batch)
        except (
            Exception
        ) as error:  # whatever it is, those who wait are told, and the thread lives on
            if len(batch) == 1:
                if not isinstance(error, LooplineError):
                    log.exception("engine_failed", images=batch[0].tensors.count)
                batch[0].future.set_exception(error)
                return
            log.warning("batch_failed", requests=len(batch), error=str(error))
            for waiting in batch:  # one request must not hurt its batch mates
                self._execute([waiting])

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        started = time.perf_counter_ns()
        feeds = _fetched([waiting.tensors for waiting in batch])
        count = sum([waiting.count for waiting in batch])
        gathered = time.perf_counter_ns()
        outputs = self._infer(feeds, count)
        inferred = time.perf_counter_ns()
        infer_ns = inferred - gathered
        for waiting, rows in _by_request(batch, outputs):
            waiting.future.set_result(
                Inferred(rows, waiting.count, started - waiting.since_ns, infer_ns)
            )
        ended = time.perf_counter_ns()
        self._statistics.executed(count, gathered - started, infer_ns, ended - inferred)

    def _infer(self, feeds: Arrays, count: int) -> Arrays:
        most = self._policy.max_batch
        if count <= most:
            return self._run(feeds)
        parts = [
            self._run({name: a[at : at + most] for name, a in feeds.items()})
            for at in range(0, count, most)
        ]
        return _gathered(parts)


def _by_request(batch: Sequence[_Waiting], outputs: Arrays) -> Iterator[tuple[_Waiting, Arrays]]:
    """Yield each request with its rows."""
    if len(batch) == 1:
        yield batch[0], outputs
        return
    start = 0
    for waiting in batch:
        end = start + waiting.count
        yield waiting, {name: values[start:end] for name, values in outputs.items()}
        start = end


def _fetched(parts: Sequence[Tensors]) -> Arrays:
    """Return requests' rows one after the other, read from where they are."""
    if len(parts) == 1:
        return parts[0].fetch()
    if not any(part.readers for part in parts):
        return _gathered([part.feeds for part in parts])
    return {name: _read_together(parts, name) for name in parts[0].feeds}


def _read_together(parts: Sequence[Tensors], name: str) -> Array:
    """Return requests' rows of one input, each read to where it belongs among the others."""
    arrays = [part.feeds[name] for part in parts]
    first = arrays[0]
    kinds = {(array.dtype, array.shape[1:], array.flags.c_contiguous) for array in arrays}
    if first.dtype.hasobject or len(kinds) > 1 or not all(array.nbytes for array in arrays):
        return _joined([part.fetch()[name] for part in parts])
    found = np.empty((sum(map(len, arrays)), *first.shape[1:]), first.dtype)
    view, at = found.data.cast("B"), 0
    for part, array in zip(parts, arrays, strict=True):
        place = view[at : at + array.nbytes]
        reader = part.readers.get(name)
        if reader is None:
            place[:] = array.data.cast("B")
        else:
            reader(place)
        at += array.nbytes
    return found


def _gathered(parts: Sequence[Arrays]) -> Arrays:
    """Return arrays one after the other, name by name."""
    if len(parts) == 1:
        return parts[0]
    return {name: _joined([part[name] for part in parts]) for name in parts[0]}


def _joined(arrays: Sequence[Array]) -> Array:
    """Return arrays as one, rows after rows; ValueError where rows differ in shape.

    NumPy lets other threads run while it copies and waits for its turn after each array: with many
    requests about, that is four times as long as the copying (tests/bench/serving).
    """
    first = arrays[0]
    kinds = {(array.dtype, array.shape[1:], array.flags.c_contiguous) for array in arrays}
    if first.dtype.hasobject or kinds != {(first.dtype, first.shape[1:], True)}:
        return np.concatenate(arrays)
    rows = sum(map(len, arrays))
    return np.frombuffer(b"".join([array.data for array in arrays]), first.dtype).reshape(
        rows, *first.shape[1:]
    )
