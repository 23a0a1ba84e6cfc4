"""What is too large, too much, too late or broken is refused, and what it held is free again."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace
from typing import Any

import grpc
import pytest

from services.inference.adapters.fronts.direct import listener as listener_module
from services.inference.adapters.fronts.direct.frames import ErrorCode
from services.inference.adapters.fronts.direct.listener import DirectListener
from services.inference.adapters.fronts.grpc_options import GrpcOptions
from tests.unit.inference.direct.conftest import (
    BUDGET_BYTES,
    MESSAGE_BYTES,
    Handlers,
    listening,
    until,
)
from tests.unit.inference.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    RST_STREAM,
    WINDOW_UPDATE,
    RawClient,
    frame,
    framed,
    settings_frame,
    word,
)

OK, DEADLINE, EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 4, 8, 12, 13
WIDE = (INITIAL_WINDOW_SIZE, 2**31 - 1)
TIMEOUT_S = 20.0


def ask(kind: Any, path: str) -> Any:
    """Return a method whose messages are bytes; grpcio's stubs want them made of something."""
    return kind(path)


# --- what is refused


def test_a_method_that_is_not_there(shared: DirectListener) -> None:
    with RawClient(shared.port) as client:
        client.ask(1, "/t.T/Nothing", b"")
        assert client.answer(1).status == UNIMPLEMENTED


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(framed(b"one") + framed(b"two"), id="two"),
        pytest.param(framed(b"whole")[:-1], id="half"),
        pytest.param(framed(b"one") + b"\0\0", id="one and a bit"),
        pytest.param(b"", id="none"),
    ],
)
def test_a_unary_method_takes_one_whole_message(shared: DirectListener, data: bytes) -> None:
    with RawClient(shared.port) as client:
        head = frame(HEADERS, END_HEADERS, 1, client.head("/t.T/Echo"))
        client.send(head, frame(DATA, END_STREAM, 1, data))
        assert client.answer(1).status == UNIMPLEMENTED


def test_messages_without_end_to_a_unary_method_are_not_kept(listener: DirectListener) -> None:
    with RawClient(listener.port) as client:
        client.send(frame(HEADERS, END_HEADERS, 1, client.head("/t.T/Echo")))
        client.send(frame(DATA, 0, 1, framed(b"") * 2))
        assert client.answer(1).status == UNIMPLEMENTED
        assert listener.budget.used == 0


def test_half_a_message_ends_a_stream_with_an_error(shared: DirectListener) -> None:
    with RawClient(shared.port) as client:
        head = frame(HEADERS, END_HEADERS, 1, client.head("/t.T/Chat"))
        client.send(head, frame(DATA, END_STREAM, 1, framed(b"x") + framed(b"half")[:-1]))
        assert client.answer(1).status == INTERNAL


def test_a_message_over_the_limit_is_refused_by_its_prefix(listener: DirectListener) -> None:
    with RawClient(listener.port) as client:
        client.send(frame(HEADERS, END_HEADERS, 1, client.head("/t.T/Echo")))
        client.send(frame(DATA, 0, 1, b"\0" + word(MESSAGE_BYTES + 1)))
        answer = client.answer(1)
        assert answer.status == EXHAUSTED
        assert str(MESSAGE_BYTES) in answer["grpc-message"]
        assert client.read_until(RST_STREAM).code == ErrorCode.NO_ERROR
        assert listener.budget.used == 0


def test_an_answer_over_the_limit_is_an_error(listener: DirectListener) -> None:
    listener.bounds = replace(listener.bounds, message_bytes=1_000)
    with RawClient(listener.port) as client:
        client.ask(1, "/t.T/Count", b"1")
        assert client.answer(1).status == EXHAUSTED


@pytest.mark.parametrize("end", ["reset", "closed", "answered", "late"])
def test_messages_are_taken_as_long_as_there_is_memory_and_again_when_they_are_gone(
    listener: DirectListener, end: str
) -> None:
    claim, count = b"\0" + word(MESSAGE_BYTES - 100), BUDGET_BYTES // MESSAGE_BYTES
    more = {"grpc_timeout": "20m"} if end == "late" else {}
    with RawClient(listener.port) as holder, RawClient(listener.port) as client:
        for number in range(1, 2 * count, 2):
            head = holder.head("/t.T/Echo", **more)
            holder.send(frame(HEADERS, END_HEADERS, number, head), frame(DATA, 0, number, claim))
        until(lambda: listener.budget.used > BUDGET_BYTES - 200 or end == "late")
        if end != "late":
            client.ask(1, "/t.T/Echo", bytes(1_000))
            assert client.answer(1).status == EXHAUSTED
        for number in range(1, 2 * count, 2):
            if end == "reset":
                holder.send(frame(RST_STREAM, 0, number, word(ErrorCode.CANCEL)))
            elif end == "answered":
                rest = bytes(MESSAGE_BYTES - 100)
                pieces = [rest[at : at + 2**20] for at in range(0, len(rest), 2**20)]
                holder.send(*(frame(DATA, 0, number, each) for each in pieces))
                holder.send(frame(DATA, END_STREAM, number), settings_frame([WIDE]))
                holder.send(frame(WINDOW_UPDATE, 0, 0, word(MESSAGE_BYTES)))
                assert len(holder.answer(number).data) == MESSAGE_BYTES - 95
            elif end == "late":
                assert holder.answer(number).status == DEADLINE
        if end == "closed":
            holder.socket.close()
        until(lambda: listener.budget.used == 0)
        client.ask(3, "/t.T/Echo", bytes(1_000))
        assert client.answer(3).status == OK


def test_small_messages_count_with_what_they_take_beside_their_bytes(
    handlers: Handlers, options: GrpcOptions
) -> None:
    few = replace(options, messages_bytes=10_000)
    with listening(handlers, few) as listener, RawClient(listener.port) as client:
        client.ask(1, "/t.T/Deaf", *[b""] * 1_000)
        assert client.answer(1).status == EXHAUSTED


def test_a_message_that_never_comes_is_not_waited_for(
    handlers: Handlers, options: GrpcOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "SWEEP_S", 0.02)
    with (
        listening(handlers, options, message_s=0.05) as listener,
        RawClient(listener.port) as client,
    ):
        client.send(frame(HEADERS, END_HEADERS, 1, client.head("/t.T/Echo")))
        client.send(frame(DATA, 0, 1, b"\0" + word(1_000) + b"some"))
        assert client.answer(1).status == DEADLINE


# --- compression


@pytest.mark.parametrize("how", [grpc.Compression.Gzip, grpc.Compression.Deflate])
@pytest.mark.parametrize("method", ["Echo", "Started"])
def test_compressed_messages_are_opened(
    channel: grpc.Channel, method: str, how: grpc.Compression
) -> None:
    message = b"abc" * 10_000
    assert (
        ask(channel.unary_unary, f"/t.T/{method}")(message, compression=how, timeout=20) == message
    )


def test_compressed_messages_of_streams_are_opened(channel: grpc.Channel) -> None:
    messages = [bytes([at]) * 5_000 for at in range(5)]
    found = ask(channel.stream_stream, "/t.T/Chat")(
        iter(messages), compression=grpc.Compression.Gzip, timeout=20
    )
    assert list(found) == messages


BOMB = gzip.compress(bytes(MESSAGE_BYTES + 1))
LARGE = gzip.compress(bytes(MESSAGE_BYTES))


@pytest.mark.parametrize("method", ["Echo", "Started", "Sum"])
@pytest.mark.parametrize(
    ("encoding", "flag", "data", "status"),
    [
        pytest.param("gzip", 1, b"not gzip", INTERNAL, id="broken"),
        pytest.param("gzip", 1, gzip.compress(b"x" * 99)[:-9], INTERNAL, id="cut off"),
        pytest.param("deflate", 1, zlib.compress(b"x")[:-1], INTERNAL, id="deflate cut off"),
        pytest.param("gzip", 1, BOMB, EXHAUSTED, id="bomb"),
        pytest.param("snappy", 1, b"x", UNIMPLEMENTED, id="unknown"),
        pytest.param("identity", 1, b"x", INTERNAL, id="none"),
        pytest.param("gzip", 2, b"x", INTERNAL, id="flag"),
        pytest.param("gzip", 0, b"plain", OK, id="not compressed"),
    ],
)
def test_what_cannot_be_opened_is_said(
    shared: DirectListener, method: str, encoding: str, flag: int, data: bytes, status: int
) -> None:
    with RawClient(shared.port) as client:
        head = client.head(f"/t.T/{method}", grpc_encoding=encoding)
        body = bytes([flag]) + word(len(data)) + data
        client.send(frame(HEADERS, END_HEADERS, 1, head), frame(DATA, END_STREAM, 1, body))
        assert client.answer(1).status == status


def test_what_was_opened_counts_as_large_as_it_is(listener: DirectListener) -> None:
    """Thousands of small messages that become large ones would fill the machine otherwise."""
    with RawClient(listener.port) as client:
        head = client.head("/t.T/Never", grpc_encoding="gzip")
        body = b"\1" + word(len(LARGE)) + LARGE
        for number in (1, 3):
            client.send(frame(HEADERS, END_HEADERS, number, head))
            client.send(frame(DATA, END_STREAM, number, body))
        first = next(each.stream for each in client.frames() if each.kind == HEADERS)
        assert client.answers[first].status == EXHAUSTED
        assert listener.budget.used > MESSAGE_BYTES
        other = 4 - first
        client.send(frame(RST_STREAM, 0, other, word(ErrorCode.CANCEL)))
        until(lambda: listener.budget.used == 0)


# --- deadlines and bounds


@pytest.mark.parametrize("method", ["Never", "Wait", "Chat"])
def test_a_call_whose_time_is_over_ends_and_frees_its_place(
    listener: DirectListener, handlers: Handlers, method: str
) -> None:
    with RawClient(listener.port) as client:
        head = client.head(f"/t.T/{method}", grpc_timeout="100m")
        ends = 0 if method == "Chat" else END_STREAM
        client.send(frame(HEADERS, END_HEADERS, 1, head), frame(DATA, ends, 1, framed(b"x")))
        assert client.answer(1).status == DEADLINE
        assert handlers.cancelled.wait(TIMEOUT_S)
        until(lambda: not listener._inside and listener.budget.used == 0)


def test_calls_above_the_bound_are_refused(listener: DirectListener, options: GrpcOptions) -> None:
    with RawClient(listener.port) as client, RawClient(listener.port) as other:
        for number in range(options.calls):
            client.ask(2 * number + 1, "/t.T/Never", b"x")
        until(lambda: len(listener._inside) == options.calls)
        other.ask(1, "/t.T/Echo", b"x")
        assert other.answer(1).status == EXHAUSTED
        client.send(frame(RST_STREAM, 0, 1, word(ErrorCode.CANCEL)))
        until(lambda: len(listener._inside) == options.calls - 1)
        other.ask(3, "/t.T/Echo", b"x")
        assert other.answer(3).status == OK


def test_calls_above_those_of_a_connection_are_refused_by_their_stream(
    handlers: Handlers, options: GrpcOptions
) -> None:
    with listening(handlers, options, calls=2) as listener, RawClient(listener.port) as client:
        for number in (1, 3, 5):
            client.ask(number, "/t.T/Never", b"x")
        assert client.answer(5).reset == ErrorCode.REFUSED_STREAM
        client.send(frame(RST_STREAM, 0, 1, word(ErrorCode.CANCEL)))
        client.ask(7, "/t.T/Echo", b"x")
        assert client.answer(7).status == OK
