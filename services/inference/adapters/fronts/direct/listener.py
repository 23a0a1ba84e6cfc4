"""The direct gRPC front: connections on an event loop of its own, handlers in threads beside it.

It takes the handlers that grpcio's server takes, and starters for calls that no thread is to hold.
What it costs beside grpcio's is measured in tests/bench/serving.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

import grpc
import structlog
import uvloop

from loopline.errors import LooplineError
from services.inference.adapters.fronts.calls import Handler
from services.inference.adapters.fronts.direct.call import Aborted
from services.inference.adapters.fronts.direct.connection import Bounds, Connection
from services.inference.adapters.fronts.direct.messages import (
    Compressed,
    MemoryBudget,
    Message,
    MessageBroken,
    MessageTooLarge,
)
from services.inference.adapters.fronts.direct.stream import STATUSES, Stream
from services.inference.adapters.fronts.grpc_options import (
    CALLS_PER_CONNECTION,
    METADATA_MAX_BYTES,
    GrpcOptions,
)
from services.inference.adapters.fronts.ports import bound
from services.inference.adapters.fronts.started import Starter

TICK_S: Final = 0.05
SWEEP_S: Final = 1.0
BACKLOG: Final = 1_024
START_TIMEOUT_S: Final = 10.0
ALPN: Final = "h2"

log = structlog.get_logger()


class DirectListener:
    """Serves until it is stopped.

    Args:
        services: The handlers of each service, by method.
        starters: What answers without a thread, by path ("/service/method").
        options: How to listen.

    Raises:
        LooplineError: The port is taken, or a file of TLS is not good.
    """

    def __init__(
        self,
        services: Mapping[str, Mapping[str, Handler]],
        starters: Mapping[str, Starter],
        options: GrpcOptions,
    ) -> None:
        self.bounds = Bounds(
            connections=options.connections,
            calls=CALLS_PER_CONNECTION,
            message_bytes=options.message_bytes,
            head_bytes=METADATA_MAX_BYTES,
        )
        self.budget = MemoryBudget(options.messages_bytes)
        self.connections: set[Connection] = set()
        self._methods = {
            f"/{service}/{name}": handler
            for service, handlers in services.items()
            for name, handler in handlers.items()
        }
        self._starters = starters
        self._inside: set[Stream] = set()
        self._most = options.calls
        self._threads = ThreadPoolExecutor(options.threads, thread_name_prefix="grpc")
        self._tls = options.tls
        self._context = None if options.tls is None else options.tls.ssl_context(ALPN)
        self._socket = bound("gRPC", options.host, options.port)
        self.port: int = self._socket.getsockname()[1]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._drain_s = 0.0
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="grpc-direct", daemon=True)

    def start(self) -> None:
        """Take calls."""
        self._thread.start()
        if not self._started.wait(START_TIMEOUT_S):
            raise LooplineError("the gRPC front did not start", port=self.port)

    def stop(self, drain_s: float) -> Callable[[], object]:
        """Take no new calls, let those that run finish for `drain_s`; return what waits."""
        self._drain_s = drain_s
        if self._thread.is_alive():
            self.post(self._stopping.set)

        def wait() -> None:
            if self._thread.is_alive():
                self._thread.join(drain_s + START_TIMEOUT_S)
            self._socket.close()
            self._threads.shutdown(wait=False, cancel_futures=True)

        return wait

    # --- what connections use

    def method(self, path: str) -> Handler | None:
        """See `Site.method`."""
        return self._methods.get(path)

    def post(self, call: Callable[..., object], *arguments: object) -> None:
        """See `Site.post`."""
        if threading.get_ident() == self._thread.ident:
            call(*arguments)
        elif self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and every call with it
                self._loop.call_soon_threadsafe(call, *arguments)

    def in_thread(self, work: Callable[[], None]) -> None:
        """See `Site.in_thread`."""
        with suppress(RuntimeError):  # the server stops, and every call with it
            self._threads.submit(work)

    def asked(self, stream: Stream, message: Message) -> None:
        """See `Site.asked`."""
        if self._let_in(stream):
            starter = self._starters.get(stream.head.path)
            if starter is None:
                self.in_thread(lambda: self._answer(stream, message))
            elif isinstance(message, Compressed):
                self.in_thread(lambda: self._open(message, stream, starter))
            else:
                starter(message, stream.call)

    def began(self, stream: Stream) -> None:
        """See `Site.began`."""
        if self._let_in(stream):
            self.in_thread(lambda: self._answer(stream, None))

    def ended(self, stream: Stream) -> None:
        """See `Site.ended`."""
        self._inside.discard(stream)

    def _let_in(self, stream: Stream) -> bool:
        if len(self._inside) >= self._most:
            reason = f"{self._most} calls are inside: try again later"
            stream.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
            return False
        self._inside.add(stream)
        return True

    # --- on the event loop

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: Connection(self),
            sock=self._socket,
            backlog=BACKLOG,
            ssl=self._context,
            ssl_handshake_timeout=None if self._context is None else self.bounds.begin_s,
        )
        beside = [asyncio.create_task(self._tick()), asyncio.create_task(self._sweep())]
        if self._tls is not None and self._context is not None:
            beside.append(asyncio.create_task(self._tls.keep_fresh(self._context, ALPN)))
        self._started.set()
        await self._stopping.wait()
        server.close()
        for connection in list(self.connections):
            connection.drain()
        until = loop.time() + self._drain_s
        while self.connections and loop.time() < until:
            await asyncio.sleep(TICK_S)
        for connection in list(self.connections):
            connection.abort()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)

    async def _tick(self) -> None:
        """End the calls whose time is over, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_S)
            soon_s = time.monotonic() + TICK_S
            for stream in list(self._inside):
                deadline_s = stream.call.deadline_s
                # Only what is soon over has a timer of its own: most calls are answered before.
                if deadline_s is not None and deadline_s < soon_s:
                    loop.call_later(max(0.0, deadline_s - time.monotonic()), _expire, stream)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            for connection in list(self.connections):
                connection.sweep(loop.time())

    def _start(self, message: bytes, stream: Stream, starter: Starter) -> None:
        """Start a call whose message was decompressed: it is larger now, and counts as that."""
        if stream.call.is_over:
            return
        try:
            stream.assembly.hold(len(message))
        except MessageTooLarge as error:
            stream.fail(STATUSES[MessageTooLarge], str(error))
        else:
            starter(message, stream.call)

    # --- in threads

    def _open(self, message: Compressed, stream: Stream, starter: Starter) -> None:
        """Decompress a message, and have its call started."""
        try:
            opened = message.open(self.bounds.message_bytes)
        except Exception as error:
            self.post(stream.fail, _status_of(error), str(error))
        else:
            self.post(self._start, opened, stream, starter)

    def _answer(self, stream: Stream, message: Message | None) -> None:
        """Have the handler of a call answer it; `message` is None where several come."""
        call, handler = stream.call, stream.handler
        if call.is_over or handler is None:
            return
        try:
            if message is None:
                request: Any = (self._read(each, handler) for each in call.messages())
            else:
                request = self._read(message, handler)
            if self._is_answered_elsewhere(request, stream, handler):
                return
            write: Callable[[Any], bytes] = handler.response_serializer or bytes
            found = _behaviour(handler)(request, call)
            for answer in found if handler.response_streaming else (found,):
                call.send(write(answer))
        except Aborted:
            pass
        except tuple(STATUSES) as error:
            call.set_code(_status_of(error))
            call.set_details(str(error))
        except CancelledError:  # mostly because nobody waits
            call.set_code(grpc.StatusCode.CANCELLED)
        except Exception as error:
            log.exception("handler_failed", path=stream.head.path)
            call.set_code(_status_of(error))
            call.set_details(f"{type(error).__name__}: {error}")
        self.post(stream.done)

    def _is_answered_elsewhere(self, request: object, stream: Stream, handler: Handler) -> bool:
        """Have a handler that needs no thread (grpcio's health does so) answer as it has answers.

        It calls what it is given with each, and with None where there are no more.
        """
        behaviour, call = _behaviour(handler), stream.call
        if not getattr(behaviour, "experimental_non_blocking", False):
            return False
        write: Callable[[Any], bytes] = handler.response_serializer or bytes

        def tell(answer: object) -> None:
            if answer is None:
                self.post(stream.done)
            else:
                call.tell(write(answer))

        behaviour(request, call, tell)
        return True

    def _read(self, message: Message, handler: Handler) -> object:
        """Return a message as its handler takes it; MessageBroken where it is none."""
        if isinstance(message, Compressed):
            whole = message.open(self.bounds.message_bytes)
        else:
            whole = bytes(message)
        if handler.request_deserializer is None:
            return whole
        try:
            found: object = handler.request_deserializer(whole)
        except Exception as error:
            raise MessageBroken(f"{type(error).__name__}: {error}") from error
        return found


def _expire(stream: Stream) -> None:
    if not stream.call.is_over:
        stream.expire()


def _status_of(error: Exception) -> grpc.StatusCode:
    return STATUSES.get(type(error), grpc.StatusCode.UNKNOWN)


def _behaviour(handler: Any) -> Callable[..., Any]:
    """Return the one of its four that a handler has."""
    found: Callable[..., Any] = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    return found
