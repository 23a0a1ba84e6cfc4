"""A direct listener with a few small handlers, on a real port."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2

from services.inference.adapters.fronts.direct.connection import Bounds
from services.inference.adapters.fronts.direct.listener import DirectListener
from services.inference.adapters.fronts.grpc_options import GrpcOptions
from services.inference.adapters.fronts.started import StartedContext
from services.inference.domain.tensors import Buffer

MESSAGE_BYTES = 4 * 1024 * 1024
BUDGET_BYTES = 8 * 1024 * 1024
DRAIN_S = 5.0


class Handlers:
    """What answers; it keeps what happens to its calls."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.cancelled = threading.Event()
        self.seen: list[Any] = []
        self.sent = 0

    def services(self) -> dict[str, dict[str, Any]]:
        """Return them by service and method."""
        return {
            "t.T": {
                "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
                "Started": grpc.unary_unary_rpc_method_handler(self.echo),
                "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
                "Never": grpc.unary_unary_rpc_method_handler(self.echo),
                "Raise": grpc.unary_unary_rpc_method_handler(self.fail),
                "Abort": grpc.unary_unary_rpc_method_handler(self.abort),
                "Metadata": grpc.unary_unary_rpc_method_handler(self.metadata),
                "Count": grpc.unary_stream_rpc_method_handler(self.count),
                "Sum": grpc.stream_unary_rpc_method_handler(self.sum),
                "Deaf": grpc.stream_unary_rpc_method_handler(self.deaf),
                "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            },
            "grpc.health.v1.Health": {
                "Check": grpc.unary_unary_rpc_method_handler(
                    _HEALTH.Check,
                    health_pb2.HealthCheckRequest.FromString,
                    health_pb2.HealthCheckResponse.SerializeToString,
                ),
                "Watch": grpc.unary_stream_rpc_method_handler(
                    _HEALTH.Watch,
                    health_pb2.HealthCheckRequest.FromString,
                    health_pb2.HealthCheckResponse.SerializeToString,
                ),
            },
        }

    def starters(self) -> dict[str, Any]:
        """Return those that no thread holds, by path."""
        return {"/t.T/Started": self.started, "/t.T/Never": self.never}

    def echo(self, request: bytes, _: Any) -> bytes:
        return request

    def started(self, data: Buffer, context: StartedContext) -> None:
        context.answer(bytes(data))

    def never(self, data: Buffer, context: StartedContext) -> None:
        context.add_callback(self.cancelled.set)
        self.seen.append(len(data))

    def wait(self, request: bytes, context: Any) -> bytes:
        context.add_callback(self.cancelled.set)
        self.seen.append(request)
        self.gate.wait(20)
        return request

    def fail(self, request: bytes, _: Any) -> bytes:
        raise ZeroDivisionError(request.decode())

    def abort(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("why", "because"), ("raw-bin", b"\xff\0")))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, request.decode())
        raise AssertionError("it returned")

    def metadata(self, _: bytes, context: Any) -> bytes:
        self.seen += context.invocation_metadata()
        context.send_initial_metadata((("before", "1"), ("before-bin", b"\0\xfe")))
        context.set_trailing_metadata((("after-bin", bytes(range(256))),))
        return b"done"

    def count(self, request: bytes, context: Any) -> Iterator[bytes]:
        context.add_callback(self.cancelled.set)
        for _ in range(int(request)):
            self.sent += 1
            yield bytes(64 * 1024)

    def sum(self, requests: Iterator[bytes], context: Any) -> bytes:
        context.add_callback(self.cancelled.set)
        total = 0
        for request in requests:
            self.seen.append(request)
            total += len(request)
        return str(total).encode()

    def deaf(self, requests: Iterator[bytes], context: Any) -> bytes:
        over = threading.Event()
        if context.add_callback(over.set):
            self.seen.append(b"deaf")
            over.wait(20)
        return b""

    def chat(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        context.add_callback(self.cancelled.set)
        for request in requests:
            self.seen.append(request)
            yield request


_HEALTH = health.HealthServicer()


@contextmanager
def listening(handlers: Handlers, options: GrpcOptions, **bounds: Any) -> Iterator[DirectListener]:
    """Serve; when it is over, nothing may be inside."""
    listener = DirectListener(handlers.services(), handlers.starters(), options)
    listener.bounds = replace(listener.bounds, **bounds)
    assert isinstance(listener.bounds, Bounds)
    listener.start()
    try:
        yield listener
    finally:
        handlers.gate.set()
        listener.stop(0.0)()
        assert not listener.connections
        assert not listener._inside
        assert listener.budget.used == 0


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait for a condition."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, "it never held"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def options() -> GrpcOptions:
    return GrpcOptions(
        threads=4, connections=16, message_bytes=MESSAGE_BYTES, messages_bytes=BUDGET_BYTES
    )


@pytest.fixture(scope="module")
def shared(options: GrpcOptions) -> Iterator[DirectListener]:
    """A listener for tests that leave it as it was."""
    with listening(Handlers(), options) as listener:
        yield listener


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
def listener(handlers: Handlers, options: GrpcOptions) -> Iterator[DirectListener]:
    """A listener of one test."""
    with listening(handlers, options) as listener:
        yield listener


@pytest.fixture
def channel(listener: DirectListener) -> Iterator[grpc.Channel]:
    """grpcio's client of it."""
    with grpc.insecure_channel(
        f"127.0.0.1:{listener.port}", [("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        yield channel
