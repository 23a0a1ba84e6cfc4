"""The pool of gRPC's calls: every call is answered, with grpcio's insides known or not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from services.inference.adapters.fronts import call_threads
from services.inference.adapters.fronts.call_threads import CallThreads

METHOD = "/test.Echo/Say"
THREADS = 2


class Echo:
    """A server whose answers wait for `open`, and a channel to it."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.threads = CallThreads(THREADS)
        self.names: set[str] = set()
        self._server = grpc.server(self.threads)  # type: ignore[arg-type]
        handler = grpc.unary_unary_rpc_method_handler(self._say)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Echo", {"Say": handler}),)
        )
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def _say(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.names.add(threading.current_thread().name)
        assert self.open.wait(10)
        if request == b"wrong":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "it is wrong")
        return request

    def close(self) -> None:
        """Let it go."""
        self.channel.close()
        self._server.stop(0).wait()
        self.threads.shutdown()


@pytest.fixture(params=[True, False], ids=["known", "unknown"])
def echo(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Echo]:
    """A server on a grpcio whose insides are known, or are not."""
    assert call_threads.knows_grpcio(), "grpcio changed inside: see call_threads"
    monkeypatch.setattr(call_threads, "knows_grpcio", lambda: request.param)
    server = Echo()
    yield server
    server.close()


def say(echo: Echo) -> Any:
    """Return the method, as bytes."""
    return echo.channel.unary_unary(METHOD, bytes, bytes)


def test_more_calls_than_threads_are_all_answered_by_as_many_threads(echo: Echo) -> None:
    ask = say(echo)
    with ThreadPoolExecutor(8) as clients:
        asked = [b"%d" % number for number in range(200)]
        assert list(clients.map(ask, asked)) == asked
    assert len(echo.names) <= THREADS


def test_a_call_that_is_aborted_keeps_its_status(echo: Echo) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        say(echo)(b"wrong")
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == "it is wrong"


def test_a_call_without_its_message_is_refused_and_holds_no_thread(echo: Echo) -> None:
    stream = echo.channel.stream_unary(METHOD, bytes, bytes)
    for _ in range(THREADS + 1):
        with pytest.raises(grpc.RpcError) as raised:
            stream(iter(()))
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "exactly one request" in str(raised.value.details())
    assert say(echo)(b"on") == b"on"


def test_calls_that_are_cancelled_while_they_wait_for_a_thread_are_forgotten(echo: Echo) -> None:
    echo.open.clear()
    held = [say(echo).future(b"held") for _ in range(THREADS)]
    gone = [say(echo).future(b"gone") for _ in range(4)]
    for call in gone:
        assert call.cancel()
    echo.open.set()
    assert [call.result(10) for call in held] == [b"held"] * THREADS
    assert say(echo)(b"on") == b"on"
