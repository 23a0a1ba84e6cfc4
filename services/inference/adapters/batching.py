"""Dynamic batching: what queued while the engine was busy makes the next batch.

No request waits for company: with an empty queue it runs at once, alone. Waiting 1 or 2 ms for more
cost throughput and latency in every measurement.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import structlog

from loopline.errors import LooplineError
from services.inference.adapters.statistics import Statistics
from services.inference.domain.tensors import Array, Arrays, Tensors

log = structlog.get_logger()


class ClosedError(LooplineError):
    """A batcher was asked after it was closed: its caller held no place in its servable."""


@dataclass(frozen=True, slots=True)
class Inferred:
    """What the engine said of one request.

    Args:
        outputs: The graph's outputs, a row per image.
        count: How many images.
        queue_ns: How long it waited for the engine.
        infer_ns: How long the engine took for the batch it was in.
    """

    outputs: Mapping[str, Array]
    count: int
    queue_ns: int
    infer_ns: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    tensors: Tensors
    future: Future[Inferred]
    since_ns: int


class Batcher:
    """Feeds an engine from one thread.

    Args:
        run: The engine: an array per input to an array per output.
        max_batch: Images in one execution; a larger request runs in slices of this.
        statistics: Counts executions.
        name: For the thread.
    """

    def __init__(
        self,
        run: Callable[[Arrays], dict[str, Array]],
        max_batch: int,
        statistics: Statistics,
        name: str,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._statistics = statistics
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name=f"engine-{name}", daemon=True)
        self._thread.start()

    def submit(self, tensors: Tensors, future: Future[Inferred]) -> None:
        """Queue a request whose answer goes to `future`; cancel that and the engine skips it.

        Raises:
            ClosedError: `close` was called.
        """
        waiting = _Waiting(tensors, future, time.perf_counter_ns())
        with self._changed:
            if self._closed:
                raise ClosedError("the engine was closed")
            self._queue.append(waiting)
            self._changed.notify()

    def close(self) -> None:
        """Take nothing more; what is queued is still answered."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def join(self, timeout_s: float | None = None) -> None:
        """After `close`: wait until everything is answered."""
        self._thread.join(timeout_s)

    def _loop(self) -> None:
        while batch := self._take():
            live = [waiting for waiting in batch if waiting.future.set_running_or_notify_cancel()]
            if live:
                self._execute(live)

    def _take(self) -> list[_Waiting]:
        """Wait for requests; return those that fit one execution, none once closed and drained."""
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            batch: list[_Waiting] = []
            images = 0
            while self._queue and (
                not batch or images + self._queue[0].tensors.count <= self._max_batch
            ):
                waiting = self._queue.popleft()
                images += waiting.tensors.count
                batch.append(waiting)
            return batch

    def _execute(self, batch: Sequence[_Waiting]) -> None:
        try:
            self._answer(batch)
        except (
            Exception
        ) as error:  # whatever it is, those who wait are told, and the thread lives on
            if len(batch) == 1:
                log.exception("engine_failed", images=batch[0].tensors.count)
                batch[0].future.set_exception(error)
                return
            log.warning("batch_failed", requests=len(batch), error=str(error))
            for waiting in batch:  # one request must not hurt its batch mates
                self._execute([waiting])

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        started = time.perf_counter_ns()
        feeds = _gathered([waiting.tensors.feeds for waiting in batch])
        count = sum(waiting.tensors.count for waiting in batch)
        gathered = time.perf_counter_ns()
        outputs = self._infer(feeds, count)
        inferred = time.perf_counter_ns()
        start = 0
        for waiting in batch:
            rows = outputs
            if len(batch) > 1:
                end = start + waiting.tensors.count
                rows = {name: values[start:end] for name, values in outputs.items()}
                start = end
            waiting.future.set_result(
                Inferred(
                    rows, waiting.tensors.count, started - waiting.since_ns, inferred - gathered
                )
            )
        ended = time.perf_counter_ns()
        self._statistics.executed(count, gathered - started, inferred - gathered, ended - inferred)

    def _infer(self, feeds: Arrays, count: int) -> dict[str, Array]:
        if count <= self._max_batch:
            return self._run(feeds)
        slices = range(0, count, self._max_batch)
        parts = [
            self._run({name: a[at : at + self._max_batch] for name, a in feeds.items()})
            for at in slices
        ]
        return _gathered(parts)


def _gathered(parts: Sequence[Arrays]) -> dict[str, Array]:
    """Return arrays one after the other, name by name."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
