"""The threads that answer gRPC calls: one gets a call together with its message.

grpcio hands a call over as soon as its headers are there: a thread takes it, asks for the message
and waits until the thread that reads the sockets has it. Here that thread asks for the message
itself, and a thread is woken once, when there is something to do. It saves a fifth of what a
small call costs grpcio (tests/bench/serving). Everything else of a call stays grpcio's own doing.

It leans on the inside of `grpc._server`. Where that looks different from what is known here, calls
are handed over as grpcio does it.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Final

import grpc
import structlog
from grpc import _server
from grpc._cython import cygrpc  # type: ignore[attr-defined]

_UNARY_ARGUMENTS: Final = (
    "rpc_event",
    "state",
    "behavior",
    "argument_thunk",
    "request_deserializer",
    "response_serializer",
)
_NO_FLAGS: Final = 0
_INSIDES: Final = ("_receive_message", "_abort", "_RECEIVE_MESSAGE_TOKEN", "_CLOSED")

log = structlog.get_logger()


def knows_grpcio() -> bool:
    """Tell whether the installed grpcio is built as this module expects."""
    answers = getattr(_server, "_unary_response_in_pool", None)
    return (
        answers is not None
        and tuple(inspect.signature(answers).parameters) == _UNARY_ARGUMENTS
        and all(hasattr(_server, name) for name in _INSIDES)
    )


class _Promise:
    """What grpcio is given for a call: it wants to know when that is over, and nothing else."""

    __slots__ = ("_over",)

    def add_done_callback(self, over: Callable[[Any], None]) -> None:
        """Call `over` when it is. It is set before the call's message can come."""
        self._over = over

    def keep(self) -> None:
        """Say that the call is over."""
        self._over(self)


class CallThreads:
    """A pool of threads, started as they are needed, that takes what `grpc.server` submits.

    Args:
        threads: How many there may be.
        name: For the threads.
    """

    def __init__(self, threads: int, name: str = "grpc") -> None:
        self._most = threads
        self._name = name
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = 0
        self._started = 0
        self._lock = threading.Lock()
        self._takes_messages = knows_grpcio()
        if not self._takes_messages:
            log.warning("grpcio_not_known", version=grpc.__version__)

    def submit(self, run: Callable[..., Any], /, *arguments: Any) -> Any:
        """Run something in a thread; a call with one request once that is there."""
        if self._takes_messages and arguments[0] is _server._unary_response_in_pool:
            return self._receive(run, *arguments)
        future: Future[Any] = Future()
        self._put(lambda: _fulfil(future, run, arguments))
        return future

    def shutdown(self) -> None:
        """Let the threads end once they have nothing to do."""
        with self._lock:
            started, self._most = self._started, 0
        for _ in range(started):
            self._work.put(None)

    def _receive(
        self,
        run: Callable[..., Any],
        answer: Callable[..., Any],
        event: Any,
        state: Any,
        behavior: Callable[..., Any],
        _: Callable[[], Any],
        deserializer: Callable[[bytes], Any] | None,
        serializer: Callable[[Any], bytes] | None,
    ) -> _Promise:
        """Ask for a call's message; grpcio holds the lock of `state` meanwhile."""
        promise = _Promise()
        note_message = _server._receive_message(state, event.call, deserializer)

        def take_message() -> Any:
            return _message_of(event, state)

        def work() -> None:
            try:
                run(answer, event, state, behavior, take_message, deserializer, serializer)
            finally:
                promise.keep()

        def received(message_event: Any) -> Any:
            finished = note_message(message_event)
            self._put(work)
            return finished

        event.call.start_server_batch((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), received)
        state.due.add(_server._RECEIVE_MESSAGE_TOKEN)
        return promise

    def _put(self, work: Callable[[], None]) -> None:
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._started < self._most:
                self._started += 1
                name = f"{self._name}_{self._started - 1}"
                threading.Thread(target=self._loop, name=name, daemon=True).start()
        self._work.put(work)

    def _loop(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception:  # grpcio answers what its handlers raise: the thread lives on
                log.exception("call_not_answered")
            del work  # a request's bytes would live until the next one
            with self._lock:
                self._idle += 1


def _message_of(event: Any, state: Any) -> Any:
    """Return the request that came; None where there is none to answer."""
    with state.condition:
        request, state.request = state.request, None
        if request is None and state.client is _server._CLOSED:
            method = event.call_details.method.decode()
            details = f'"{method}" requires exactly one request message.'
            _server._abort(state, event.call, cygrpc.StatusCode.unimplemented, details.encode())
    return request


def _fulfil(future: Future[Any], run: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(run(*arguments))
        except BaseException as error:
            future.set_exception(error)
