"""Calls of every kind and in every form that HTTP/2 allows, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from services.inference.adapters.fronts.direct.call import UNSENT_BYTES_MAX
from services.inference.adapters.fronts.direct.connection import UNREAD_BYTES
from services.inference.adapters.fronts.direct.frames import ErrorCode
from services.inference.adapters.fronts.direct.listener import DirectListener
from services.inference.adapters.fronts.grpc_options import GrpcOptions
from tests.unit.inference.direct.conftest import (
    Handlers,
    until,
)
from tests.unit.inference.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LAST,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PRIORITIZED,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    RawClient,
    frame,
    framed,
    settings_frame,
    word,
)

OK, UNKNOWN, DEADLINE, INTERNAL = 0, 2, 4, 13
WIDE = (INITIAL_WINDOW_SIZE, 2**31 - 1)
TIMEOUT_S = 20.0


def padded(data: bytes, padding: int) -> bytes:
    return bytes([padding]) + data + bytes(padding)


def ask(kind: Any, path: str) -> Any:
    """Return a method whose messages are bytes; grpcio's stubs want them made of something."""
    return kind(path)


# --- how a request may be cut into frames


def test_padding_and_priority_are_taken_off(shared: DirectListener) -> None:
    with RawClient(shared.port) as client:
        head = client.head("/t.T/Echo")
        client.send(
            frame(HEADERS, END_HEADERS | PADDED | PRIORITIZED, 1, padded(bytes(5) + head, 200)),
            frame(DATA, PADDED, 1, padded(framed(b"padded")[:4], 255)),
            frame(DATA, PADDED, 1, padded(b"", 7)),
            frame(DATA, PADDED | END_STREAM, 1, padded(framed(b"padded")[4:], 0)),
        )
        assert client.answer(1).messages == [b"padded"]
        assert client.answer(1).status == OK


def test_padding_after_bytes_that_were_read_into_place_is_taken_off(
    shared: DirectListener,
) -> None:
    message = bytes(range(256)) * 400
    with RawClient(shared.port) as client:
        client.send(
            frame(HEADERS, END_HEADERS, 1, client.head("/t.T/Echo")),
            frame(DATA, PADDED, 1, padded(framed(message)[:60_000], 255)),
            frame(DATA, PADDED | END_STREAM, 1, padded(framed(message)[60_000:], 255)),
        )
        client.read_until(SETTINGS, ACK)
        client.send(
            frame(WINDOW_UPDATE, 0, 0, word(10**6)), frame(WINDOW_UPDATE, 0, 1, word(10**6))
        )
        assert client.answer(1).messages == [message]


def test_a_head_may_go_on(shared: DirectListener) -> None:
    with RawClient(shared.port) as client:
        head = client.head("/t.T/Echo", x_long="v" * 9_000)
        client.send(
            frame(HEADERS, 0, 1, head[:1]),
            *(frame(CONTINUATION, 0, 1, head[at : at + 500]) for at in range(1, len(head), 500)),
            frame(CONTINUATION, END_HEADERS, 1),
            frame(DATA, END_STREAM, 1, framed(b"long")),
        )
        assert client.answer(1).messages == [b"long"]


def test_bytes_may_come_one_by_one(shared: DirectListener) -> None:
    with RawClient(shared.port) as client:
        client.socket.setsockopt(6, 1, 1)  # TCP_NODELAY: each is a packet
        head = frame(HEADERS, END_HEADERS, 1, client.head("/t.T/Echo"))
        for byte in head + frame(DATA, END_STREAM, 1, framed(b"slow")):
            client.send(bytes([byte]))
        assert client.answer(1).messages == [b"slow"]


@pytest.mark.parametrize("size", [0, 1, 4_091, 4_096, 32_768, 100_000])
@pytest.mark.parametrize("piece", [1, 1_000_000])
def test_a_message_may_come_in_frames_of_any_size(
    shared: DirectListener, size: int, piece: int
) -> None:
    message = bytes(at % 251 for at in range(size))
    whole = framed(message)
    piece = piece if size < 10_000 else max(piece, 777)
    with RawClient(shared.port, [WIDE]) as client:
        client.send(frame(WINDOW_UPDATE, 0, 0, word(2**30)))
        client.send(frame(HEADERS, END_HEADERS, 1, client.head("/t.T/Echo")))
        pieces = [whole[at : at + piece] for at in range(0, len(whole), piece)]
        client.send(*(frame(DATA, 0, 1, each) for each in pieces), frame(DATA, END_STREAM, 1))
        assert client.answer(1).messages == [message]


def test_a_frame_may_hold_many_messages(shared: DirectListener) -> None:
    messages = [bytes([65 + at]) * at for at in range(20)]
    with RawClient(shared.port) as client:
        client.ask(1, "/t.T/Chat", *messages)
        assert client.answer(1).messages == messages
        assert client.answer(1).status == OK


def test_trailers_end_what_the_client_says(shared: DirectListener) -> None:
    with RawClient(shared.port) as client:
        client.send(
            frame(HEADERS, END_HEADERS, 1, client.head("/t.T/Echo")),
            frame(DATA, 0, 1, framed(b"x")),
            frame(HEADERS, LAST, 1, client.encoder.encode([("x-sum", "1")])),
        )
        assert client.answer(1).messages == [b"x"]


def test_kinds_of_frames_that_nobody_knows_are_ignored(shared: DirectListener) -> None:
    with RawClient(shared.port) as client:
        client.send(frame(0xFA, 0xFF, 0, b"what"), frame(0x10, 0, 77, bytes(1_000)))
        client.ask(1, "/t.T/Echo", b"x")
        assert client.answer(1).messages == [b"x"]


def test_a_ping_is_answered_with_what_it_says(shared: DirectListener) -> None:
    with RawClient(shared.port) as client:
        client.send(frame(PING, 0, 0, b"12345678"))
        assert client.read_until(PING, ACK).payload == b"12345678"


# --- how an answer goes out


def test_an_answer_waits_for_the_streams_window(shared: DirectListener) -> None:
    message = bytes(range(200))
    with RawClient(shared.port, [(INITIAL_WINDOW_SIZE, 0)]) as client:
        client.ask(1, "/t.T/Started", message)
        client.read_until(HEADERS)
        for count in (1, 99, 5, 100):
            client.send(frame(WINDOW_UPDATE, 0, 1, word(count)))
            client.read_until(DATA)
        answer = client.answer(1)
        assert answer.data_frames == [1, 99, 5, 100]
        assert (answer.messages, answer.status) == ([message], OK)


def test_an_answer_waits_for_the_connections_window(shared: DirectListener) -> None:
    message = bytes(100_000)
    with RawClient(shared.port, [WIDE]) as client:
        client.ask(1, "/t.T/Started", message)
        frames = client.frames()
        while 1 not in client.answers or len(client.answers[1].data) < 65_535:
            next(frames)
        client.send(frame(PING, 0, 0, bytes(8)))
        client.read_until(PING, ACK)
        assert len(client.answers[1].data) == 65_535, "no more than the client takes"
        client.ask(3, "/t.T/Started", b"small")  # it waits, too
        client.send(frame(WINDOW_UPDATE, 0, 0, word(100_000)))
        assert client.answer(1).messages == [message]
        assert client.answer(3).messages == [b"small"]


def test_frames_are_as_large_as_the_client_takes(shared: DirectListener) -> None:
    message = bytes(3_000_000)
    for settings, most in (([WIDE], 16_384), ([WIDE, (MAX_FRAME_SIZE, 100_000)], 100_000)):
        with RawClient(shared.port, settings) as client:
            client.send(frame(WINDOW_UPDATE, 0, 0, word(2**30)))
            client.ask(1, "/t.T/Echo", message)
            answer = client.answer(1)
            assert answer.messages == [message]
            assert max(answer.data_frames) == most


def test_a_window_may_shrink_below_nothing_while_an_answer_waits(shared: DirectListener) -> None:
    with RawClient(shared.port, [(INITIAL_WINDOW_SIZE, 50)]) as client:
        client.ask(1, "/t.T/Echo", bytes(195))
        client.read_until(DATA)
        client.send(settings_frame([(INITIAL_WINDOW_SIZE, 10)]))  # 40 less than nothing
        client.read_until(SETTINGS, ACK)
        client.send(frame(WINDOW_UPDATE, 0, 1, word(40)), frame(PING, 0, 0, bytes(8)))
        client.read_until(PING, ACK)
        assert client.answers[1].data_frames == [50]
        client.send(settings_frame([(INITIAL_WINDOW_SIZE, 500)]))
        assert client.answer(1).messages == [bytes(195)]


def test_a_reason_fits_into_a_frame_of_the_client(shared: DirectListener) -> None:
    with RawClient(shared.port) as client:
        client.ask(1, "/t.T/Abort", "ü".encode() * 60_000)
        answer = client.answer(1)
        assert answer.status == grpc.StatusCode.FAILED_PRECONDITION.value[0]
        assert 0 < len(answer["grpc-message"]) < 8_192


# --- what handlers say


def test_a_handler_that_raises_is_logged_and_its_call_fails(shared: DirectListener) -> None:
    with capture_logs() as logs, RawClient(shared.port) as client:
        client.ask(1, "/t.T/Raise", b"by 0")
        answer = client.answer(1)
    assert (answer.status, answer["grpc-message"]) == (UNKNOWN, "ZeroDivisionError: by 0")
    assert [each["event"] for each in logs] == ["handler_failed"]


def test_what_is_no_message_of_a_method_is_not_logged(shared: DirectListener) -> None:
    with capture_logs() as logs, RawClient(shared.port) as client:
        client.ask(1, "/grpc.health.v1.Health/Check", b"\xff\xff")
        assert client.answer(1).status == INTERNAL
    assert logs == []


def test_a_handler_aborts_with_trailing_metadata(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel.unary_unary, "/t.T/Abort")("änders %".encode(), timeout=TIMEOUT_S)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "änders %"
    trailing: Any = caught.value.trailing_metadata()
    assert dict(trailing) == {"why": "because", "raw-bin": b"\xff\0"}


def test_metadata_goes_both_ways(channel: grpc.Channel, handlers: Handlers) -> None:
    said = (("plain", "text"), ("some-bin", b"\0\xff\x80"), ("plain", "again"))
    answer, call = ask(channel.unary_unary, "/t.T/Metadata").with_call(
        b"", metadata=said, timeout=TIMEOUT_S
    )
    assert answer == b"done"
    assert [each for each in handlers.seen if each[0] in ("plain", "some-bin")] == list(said)
    before = dict(call.initial_metadata())
    assert (before["before"], before["before-bin"]) == ("1", b"\0\xfe")
    assert dict(call.trailing_metadata())["after-bin"] == bytes(range(256))


def test_a_handler_sets_a_status(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="nothing"), timeout=TIMEOUT_S)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_those_who_watch_the_health_hold_no_threads(
    listener: DirectListener, channel: grpc.Channel, options: GrpcOptions
) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    watches = [
        stub.Watch(health_pb2.HealthCheckRequest(service=""), timeout=TIMEOUT_S)
        for _ in range(options.threads + 1)
    ]
    for watch in watches:
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    assert ask(channel.unary_unary, "/t.T/Echo")(b"x", timeout=TIMEOUT_S) == b"x"
    for watch in watches:
        watch.cancel()
    until(lambda: not listener._inside)


# --- streams


@pytest.mark.parametrize("settings", [[], [WIDE]], ids=["small window", "endless window"])
def test_answers_that_nobody_reads_hold_their_handler_up(
    listener: DirectListener, handlers: Handlers, settings: list[tuple[int, int]]
) -> None:
    """Whether the client gives no room, or gives all of it and does not read its socket."""
    with RawClient(listener.port, settings, receive_bytes=16_384) as client:
        client.send(frame(WINDOW_UPDATE, 0, 0, word(2**30)))
        client.ask(1, "/t.T/Count", b"400")
        until(lambda: bool(listener._inside))
        (connection,) = listener.connections
        if settings:
            until(lambda: connection.is_full)
        until(lambda: any(s.call._unsent > UNSENT_BYTES_MAX for s in list(listener._inside)))
        (stream,) = listener._inside
        assert stream.call._unsent <= UNSENT_BYTES_MAX + 64 * 1024
        held_up = handlers.sent
        assert held_up < 400
        if not settings:
            client.send(frame(WINDOW_UPDATE, 0, 1, word(2**30)))
        frames = client.frames()
        while handlers.sent == held_up:
            assert next(frames, None) is not None


def test_answers_of_many_calls_that_nobody_reads_end_the_reading(
    listener: DirectListener,
) -> None:
    with RawClient(listener.port, [WIDE], receive_bytes=16_384) as client:
        client.send(frame(WINDOW_UPDATE, 0, 0, word(2**30)))
        client.read_until(SETTINGS)
        (connection,) = listener.connections
        client.socket.setblocking(False)
        number, blocked = 1, False
        while not blocked and number < 200_000:
            head = frame(HEADERS, END_HEADERS, number, client.head("/t.T/Started"))
            pending = head + frame(DATA, END_STREAM, number, framed(bytes(1_000)))
            while pending and not blocked:
                try:
                    pending = pending[client.socket.send(pending) :]
                except BlockingIOError:
                    blocked = not connection._transport.is_reading()
            number += 2
        assert blocked, "it is not read from any more"
        assert connection._transport.get_write_buffer_size() < 4 * UNREAD_BYTES
        client.socket.setblocking(True)
        frames = client.frames()
        while not connection._transport.is_reading():
            assert next(frames, None) is not None


def test_both_sides_talk_in_turn(channel: grpc.Channel) -> None:
    asked: list[bytes] = []

    def requests() -> Iterator[bytes]:
        for number in range(50):
            asked.append(b"%d" % number)
            yield asked[-1]

    assert list(ask(channel.stream_stream, "/t.T/Chat")(requests(), timeout=TIMEOUT_S)) == asked
    total = ask(channel.stream_unary, "/t.T/Sum")(iter([bytes(70_000)] * 20), timeout=TIMEOUT_S)
    assert total == b"1400000"
    counted = ask(channel.unary_stream, "/t.T/Count")(b"20", timeout=TIMEOUT_S)
    assert [len(each) for each in counted] == [64 * 1024] * 20


@pytest.mark.parametrize("method", ["Wait", "Never", "Count", "Sum", "Chat"])
@pytest.mark.parametrize("end", ["reset", "closed"])
def test_a_client_that_leaves_ends_its_call(
    listener: DirectListener, handlers: Handlers, method: str, end: str
) -> None:
    with RawClient(listener.port) as client:
        client.send(frame(HEADERS, END_HEADERS, 1, client.head(f"/t.T/{method}")))
        ends = 0 if method in ("Sum", "Chat") else END_STREAM
        client.send(frame(DATA, ends, 1, framed(b"1000")))
        until(lambda: bool(handlers.seen or handlers.sent))
        if end == "reset":
            client.send(frame(RST_STREAM, 0, 1, word(ErrorCode.CANCEL)))
        else:
            client.socket.close()
        assert handlers.cancelled.wait(TIMEOUT_S)
        until(lambda: not listener._inside and listener.budget.used == 0)


def test_a_callback_that_fails_hinders_no_other(
    listener: DirectListener, handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: Any, context: Any) -> None:
        context.add_callback(lambda: 1 / 0)
        context.add_callback(handlers.cancelled.set)

    monkeypatch.setitem(listener._starters, "/t.T/Never", never)
    with capture_logs() as logs, RawClient(listener.port) as client:
        client.ask(1, "/t.T/Never", b"", grpc_timeout="1m")
        assert client.answer(1).status == DEADLINE
        assert handlers.cancelled.wait(TIMEOUT_S)
        until(lambda: not listener._inside)
    assert [each["event"] for each in logs] == ["callback_failed"]
