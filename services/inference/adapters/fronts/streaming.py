"""Streaming inference: requests as they come, answers in the same order (video).

A stream is pipelined: up to `in_flight` requests of it are decoded and batched at once, and beyond
that its requests wait with the client. A request that is wrong is answered with an error message;
the stream goes on. A client that never reads holds up its own stream, which ends after `idle_s`.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_streaming.md
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from loopline.contracts.oip.v2 import service_pb2
from loopline.errors import LooplineError, Transient
from services.inference.adapters.data_plane import DataPlane, Ticket
from services.inference.adapters.fronts.calls import Call, reason_of
from services.inference.adapters.fronts.gate import Visitor
from services.inference.adapters.protocol import oip, oip_answers
from services.inference.domain.admission import Exhausted

EMPTY_FINAL: Final = "triton_enable_empty_final_response"
FINAL: Final = "triton_final_response"
WATCH_S: Final = 1.0
STOPPING: Final = "the server stops: connect again"
_INFER_RESPONSE: Final = b"\x12"  # tag of field 2 of ModelStreamInferResponse, length-delimited


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """The bounds of streams.

    Args:
        streams: How many at once; each holds two threads.
        in_flight: Requests of one stream inside at once.
        idle_s: A stream on which nothing moves for this long is ended.
    """

    streams: int = 16
    in_flight: int = 16
    idle_s: float = 300.0


class Spending(Protocol):
    """Counts a request of a client that is inside."""

    def spend(self, client: str) -> None:
        """Raise QuotaExceeded where it asks too much."""
        ...


@dataclass(frozen=True, slots=True)
class _Failed:
    """A request that got no ticket."""

    id: str
    reason: str


_Pending = Ticket | _Failed


class Streams:
    """Answers streams of ModelInferRequests.

    Args:
        plane: Answers each.
        quotas: Each request of a stream counts.
        limits: How many there may be.
    """

    def __init__(self, plane: DataPlane, quotas: Spending, limits: StreamLimits) -> None:
        self._plane = plane
        self._quotas = quotas
        self._limits = limits
        self._places = threading.BoundedSemaphore(limits.streams)
        self._running: set[_Stream] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watch: threading.Thread | None = None

    def answer(self, requests: Iterator[bytes], call: Call) -> Iterator[bytes]:
        """Yield a ModelStreamInferResponse per request, in order.

        Raises:
            Exhausted: There are as many streams as there may be.
            Transient: The server stops; what was in flight is answered before.
        """
        if self._closed.is_set():
            raise Transient(STOPPING)
        if not self._places.acquire(blocking=False):
            raise Exhausted(f"there are {self._limits.streams} streams already; try again later")
        stream = _Stream(self._submit, call, self._limits)
        try:
            with self._lock:
                self._running.add(stream)
                self._start_watch()
            if not call.context.add_callback(stream.close):
                return
            yield from stream.answers(requests)
        finally:
            stream.close()
            with self._lock:
                self._running.discard(stream)
            self._places.release()

    def close(self) -> None:
        """End every stream once what is in flight is answered; take no new ones."""
        self._closed.set()
        with self._lock:
            running = list(self._running)
        for stream in running:
            stream.finish()

    def _submit(self, data: bytes, visitor: Visitor) -> Ticket:
        self._quotas.spend(visitor.name)
        return self._plane.submit(data, visitor)

    def _start_watch(self) -> None:
        if self._watch is None:
            self._watch = threading.Thread(target=self._end_idle, name="streams", daemon=True)
            self._watch.start()

    def _end_idle(self) -> None:
        while not self._closed.wait(min(WATCH_S, self._limits.idle_s / 4)):
            with self._lock:
                running = list(self._running)
            for stream in running:
                if stream.idle_s() > self._limits.idle_s:
                    stream.cancel()


class _Stream:
    """One stream: a reader thread that submits, and the handler's own, which answers."""

    def __init__(
        self, submit: Callable[[bytes, Visitor], Ticket], call: Call, limits: StreamLimits
    ) -> None:
        self._submit = submit
        self._call = call
        self._in_flight = limits.in_flight
        self._timeout_s = call.timeout_s
        self._pending: deque[_Pending] = deque()
        self._changed = threading.Condition()
        self._ended = False  # no more requests come
        self._finishing = False  # what is in flight is answered, and no more
        self._closed = False  # nobody waits for answers
        self._moved_s = time.monotonic()

    def idle_s(self) -> float:
        """Return for how long nothing moved."""
        return time.monotonic() - self._moved_s

    def cancel(self) -> None:
        """End the call."""
        self._call.context.cancel()  # type: ignore[no-untyped-call]
        self.close()

    def finish(self) -> None:
        """Take no more requests."""
        with self._changed:
            self._finishing = self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Free every place that the stream still has."""
        with self._changed:
            self._closed = True
            pending = list(self._pending)
            self._pending.clear()
            self._changed.notify_all()
        for each in pending:
            if isinstance(each, Ticket):
                each.cancel()

    def answers(self, requests: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the answers until the last request is answered."""
        reader = threading.Thread(target=self._read, args=(requests,), name="stream", daemon=True)
        reader.start()
        while (pending := self._next()) is not None:
            yield self._encoded(pending)
            self._moved_s = time.monotonic()
        if self._finishing:
            raise Transient(STOPPING)

    def _read(self, requests: Iterator[bytes]) -> None:
        try:
            for data in requests:
                self._moved_s = time.monotonic()
                if not self._wait_for_place():
                    return
                self._add(self._started(data))
        except Exception:  # noqa: S110 - grpcio's own, without a message: the client has gone
            pass
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _started(self, data: bytes) -> _Pending:
        try:
            return self._submit(data, self._call.visitor)
        except (LooplineError, MemoryError) as error:
            return _Failed(oip.request_id(data), reason_of(error))

    def _wait_for_place(self) -> bool:
        with self._changed:
            while len(self._pending) >= self._in_flight and not self._is_over():
                self._changed.wait()
            return not self._is_over()

    def _add(self, pending: _Pending) -> None:
        with self._changed:
            if not self._is_over():
                self._pending.append(pending)
                self._changed.notify_all()
                return
        if isinstance(pending, Ticket):
            pending.cancel()

    def _is_over(self) -> bool:
        return self._closed or self._finishing

    def _next(self) -> _Pending | None:
        with self._changed:
            while not self._pending and not self._ended and not self._closed:
                self._changed.wait()
            if self._closed or not self._pending:
                return None
            # It keeps its place until it is answered: what is in flight is what is unanswered.
            return self._pending[0]

    def _encoded(self, pending: _Pending) -> bytes:
        try:
            if isinstance(pending, _Failed):
                return _failure(pending.id, pending.reason)
            try:
                wants_final = bool(pending.request.parameters.get(EMPTY_FINAL))
                extra = {FINAL: True} if wants_final else None
                return _success(pending.result(self._timeout_s, extra))
            except Exception as error:
                return _failure(pending.request.id, reason_of(error))
        finally:
            with self._changed:
                if self._pending:
                    self._pending.popleft()
                self._changed.notify_all()


def _success(answer: bytes) -> bytes:
    """Return a ModelStreamInferResponse around the bytes of a ModelInferResponse."""
    return _INFER_RESPONSE + oip_answers.varint(len(answer)) + answer


def _failure(request_id: str, reason: str) -> bytes:
    response = service_pb2.ModelStreamInferResponse(error_message=reason or "failed")
    response.infer_response.id = request_id
    return response.SerializeToString()
