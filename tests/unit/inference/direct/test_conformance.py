"""Clients that break RFC 9113 are told how, and harm nobody else."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress

import grpc
import pytest

from services.inference.adapters.fronts.direct.connection import PATIENCE
from services.inference.adapters.fronts.direct.frames import ErrorCode
from services.inference.adapters.fronts.direct.listener import DirectListener
from services.inference.adapters.fronts.direct.reader import FRAME_BYTES
from services.inference.adapters.fronts.direct.stream import STREAM_WINDOW
from tests.unit.inference.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LAST,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    RawClient,
    call_fields,
    frame,
    framed,
    literal,
    settings_frame,
    word,
)

MANY = PATIENCE + 10
PROTOCOL = ErrorCode.PROTOCOL_ERROR
SIZE = ErrorCode.FRAME_SIZE_ERROR
FLOW = ErrorCode.FLOW_CONTROL_ERROR
CALM = ErrorCode.ENHANCE_YOUR_CALM
COMPRESSION = ErrorCode.COMPRESSION_ERROR
CLOSED = ErrorCode.STREAM_CLOSED

HEAD = b"".join(literal(*each) for each in call_fields("/t.T/Chat"))
ECHO = b"".join(literal(*each) for each in call_fields("/t.T/Echo"))


def opened(number: int = 1, flags: int = 0) -> bytes:
    """Return the head of a call that goes on until its client has said all."""
    return frame(HEADERS, END_HEADERS | flags, number, HEAD)


def over_the_window() -> bytes:
    """Return more than a stream takes of which nobody takes the messages."""
    head = b"".join(literal(*each) for each in call_fields("/t.T/Deaf"))
    piece = frame(DATA, 0, 1, framed(bytes(700_000)))
    return frame(HEADERS, END_HEADERS, 1, head) + frame(DATA, 0, 1, framed(b"") * 4) + piece * 6


def long_head() -> bytes:
    """Return a block of 20 KB."""
    return b"".join(literal(f"x-{index}", "v" * 100) for index in range(150))


def endless_head() -> bytes:
    """Return a small block that says one field a thousand times, by reference."""
    return b"\x40" + literal("x-field", "v" * 100)[1:] + b"\xbe" * 1_000


FAULTS = {
    # --- settings
    "first frame is no SETTINGS": (frame(PING, 0, 0, bytes(8)), PROTOCOL),
    "first frame acknowledges": (frame(SETTINGS, ACK, 0), PROTOCOL),
    "SETTINGS cut off": (frame(SETTINGS, 0, 0, bytes(5)), SIZE),
    "SETTINGS of a stream": (frame(SETTINGS, 0, 1), PROTOCOL),
    "window above 2^31-1": (settings_frame([(INITIAL_WINDOW_SIZE, 2**31)]), FLOW),
    "frames too small": (settings_frame([(MAX_FRAME_SIZE, 16_383)]), PROTOCOL),
    "frames too large": (settings_frame([(MAX_FRAME_SIZE, 2**24)]), PROTOCOL),
    "push of two": (settings_frame([(ENABLE_PUSH, 2)]), PROTOCOL),
    "SETTINGS acknowledged with more": (
        settings_frame([]) + frame(SETTINGS, ACK, 0, bytes(6)),
        SIZE,
    ),
}
LATER_FAULTS = {
    # --- heads
    "call of an even number": (opened(2), PROTOCOL),
    "call of number 0": (opened(0), PROTOCOL),
    "call of a lower number": (opened(5) + opened(3), PROTOCOL),
    "CONTINUATION of nothing": (frame(CONTINUATION, END_HEADERS, 1), PROTOCOL),
    "CONTINUATION of another": (
        frame(HEADERS, 0, 1, HEAD) + frame(CONTINUATION, END_HEADERS, 3),
        PROTOCOL,
    ),
    "head interrupted by DATA": (frame(HEADERS, 0, 1, HEAD) + frame(DATA, 0, 1), PROTOCOL),
    "head interrupted by PING": (
        frame(HEADERS, 0, 1, HEAD) + frame(PING, 0, 0, bytes(8)),
        PROTOCOL,
    ),
    "head interrupted by an unknown kind": (frame(HEADERS, 0, 1) + frame(99, 0, 0), PROTOCOL),
    "CONTINUATIONs without end": (
        frame(HEADERS, 0, 1, HEAD) + frame(CONTINUATION, 0, 1, bytes(1_000)) * 40,
        CALM,
    ),
    "empty CONTINUATIONs without end": (
        frame(HEADERS, 0, 1, HEAD) + frame(CONTINUATION, 0, 1) * MANY,
        CALM,
    ),
    "head with more padding than frame": (
        frame(HEADERS, END_HEADERS | PADDED, 1, b"\x05abc"),
        PROTOCOL,
    ),
    "head with padding of no length": (frame(HEADERS, END_HEADERS | PADDED, 1), SIZE),
    "head with half a priority": (frame(HEADERS, END_HEADERS | PRIORITIZED, 1, bytes(4)), SIZE),
    "head too large a frame": (frame(HEADERS, END_HEADERS, 1, bytes(40_000)), SIZE),
    "list of fields too long": (frame(HEADERS, END_HEADERS, 1, HEAD + endless_head()), CALM),
    "second head that does not end": (opened() + opened(), PROTOCOL),
    "head after the end": (opened(flags=END_STREAM) + opened(flags=END_STREAM), CLOSED),
    # --- HPACK
    "field of no table": (frame(HEADERS, END_HEADERS, 1, b"\xff\xff\x03"), COMPRESSION),
    "field number 0": (frame(HEADERS, END_HEADERS, 1, b"\x80"), COMPRESSION),
    "value cut off": (frame(HEADERS, END_HEADERS, 1, b"\x00\x01a\x7f"), COMPRESSION),
    "name cut off": (frame(HEADERS, END_HEADERS, 1, b"\x00\x20"), COMPRESSION),
    "nothing after a literal": (frame(HEADERS, END_HEADERS, 1, b"\x40"), COMPRESSION),
    "number without end": (frame(HEADERS, END_HEADERS, 1, b"\xff" * 30), COMPRESSION),
    "table too large": (frame(HEADERS, END_HEADERS, 1, b"\x3f\xe2\x1f"), COMPRESSION),
    "table of another size later": (frame(HEADERS, END_HEADERS, 1, b"\x82\x20"), COMPRESSION),
    "wrong Huffman": (
        frame(HEADERS, END_HEADERS, 1, b"\x00\x84\xff\xff\xff\xff\x01a"),
        COMPRESSION,
    ),
    # --- data
    "DATA of stream 0": (frame(DATA, 0, 0, b"x"), PROTOCOL),
    "DATA of a stream never opened": (frame(DATA, 0, 1, b"x"), PROTOCOL),
    "DATA of an even stream": (opened(5) + frame(DATA, 0, 2, b"x"), PROTOCOL),
    "DATA after the end": (opened(flags=END_STREAM) + frame(DATA, 0, 1, b"x"), CLOSED),
    "DATA too large a frame": (opened() + frame(DATA, 0, 1, bytes(FRAME_BYTES + 1))[:64], SIZE),
    "more padding than DATA": (opened() + frame(DATA, PADDED, 1, b"\x04abc"), PROTOCOL),
    "DATA with padding of no length": (opened() + frame(DATA, PADDED, 1), SIZE),
    "more than the stream's window": (over_the_window(), FLOW),
    # --- windows
    "window of 0": (opened() + frame(WINDOW_UPDATE, 0, 1, word(0)), PROTOCOL),
    "window of 0 of the connection": (frame(WINDOW_UPDATE, 0, 0, word(0)), PROTOCOL),
    "window without bound": (opened() + frame(WINDOW_UPDATE, 0, 1, word(2**31 - 1)), FLOW),
    "window without bound of the connection": (
        frame(WINDOW_UPDATE, 0, 0, word(2**31 - 1)),
        FLOW,
    ),
    "window without bound by SETTINGS": (
        opened()
        + frame(WINDOW_UPDATE, 0, 1, word(65_535))
        + settings_frame([(INITIAL_WINDOW_SIZE, 2**31 - 1)]),
        FLOW,
    ),
    "window cut off": (frame(WINDOW_UPDATE, 0, 0, bytes(3)), SIZE),
    "window of a stream never opened": (frame(WINDOW_UPDATE, 0, 7, word(1)), PROTOCOL),
    # --- others
    "PING too short": (frame(PING, 0, 0, bytes(7)), SIZE),
    "PING too long": (frame(PING, 0, 0, bytes(9)), SIZE),
    "PING of a stream": (frame(PING, 0, 1, bytes(8)), PROTOCOL),
    "PUSH_PROMISE": (opened() + frame(PUSH_PROMISE, END_HEADERS, 1, word(2)), PROTOCOL),
    "reset of stream 0": (frame(RST_STREAM, 0, 0, word(8)), PROTOCOL),
    "reset of a stream never opened": (frame(RST_STREAM, 0, 1, word(8)), PROTOCOL),
    "reset of an even stream": (opened(5) + frame(RST_STREAM, 0, 2, word(8)), PROTOCOL),
    "reset too short": (opened() + frame(RST_STREAM, 0, 1, bytes(3)), SIZE),
    "GOAWAY of a stream": (frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL),
    "GOAWAY too short": (frame(GOAWAY, 0, 0, bytes(7)), SIZE),
    "PRIORITY of stream 0": (frame(PRIORITY, 0, 0, bytes(5)), PROTOCOL),
    "PRIORITY too short": (frame(PRIORITY, 0, 3, bytes(4)), SIZE),
    # --- floods
    "PINGs": (frame(PING, 0, 0, bytes(8)) * MANY, CALM),
    "answers to PINGs": (frame(PING, ACK, 0, bytes(8)) * MANY, CALM),
    "SETTINGS again and again": (settings_frame([]) * MANY, CALM),
    "SETTINGS acknowledged again and again": (frame(SETTINGS, ACK, 0) * MANY, CALM),
    "empty DATA": (opened() + frame(DATA, 0, 1) * MANY, CALM),
    "PRIORITY again and again": (frame(PRIORITY, 0, 1, bytes(5)) * MANY, CALM),
    "unknown kinds": (frame(99, 0, 0) * MANY, CALM),
    "GOAWAY again and again": (frame(GOAWAY, 0, 0, bytes(8)) * MANY, CALM),
    "DATA after a reset": (
        opened() + frame(RST_STREAM, 0, 1, word(8)) + frame(DATA, 0, 1, b"x") * MANY,
        CALM,
    ),
    "rapid reset": (
        b"".join(
            opened(number) + frame(RST_STREAM, 0, number, word(8))
            for number in range(1, 2 * MANY, 2)
        ),
        CALM,
    ),
}


def answered(listener: DirectListener) -> None:
    """Make a call from a connection of its own."""
    with RawClient(listener.port) as client:
        client.ask(1, "/t.T/Echo", b"still there")
        assert client.answer(1).messages == [b"still there"]


def refusal(client: RawClient) -> int:
    """Read until the connection is closed, and return why."""
    client.rest()
    goaways = [each for each in client.others if each.kind == GOAWAY]
    assert len(goaways) == 1, client.others
    return goaways[0].code


@pytest.mark.parametrize(
    ("sent", "code"), [pytest.param(*each, id=name) for name, each in FAULTS.items()]
)
def test_a_wrong_beginning_ends_the_connection(
    shared: DirectListener, sent: bytes, code: ErrorCode
) -> None:
    with RawClient(shared.port, None) as client:
        client.send(PREFACE, sent)
        assert refusal(client) == code
    answered(shared)


@pytest.mark.parametrize(
    ("sent", "code"), [pytest.param(*each, id=name) for name, each in LATER_FAULTS.items()]
)
def test_a_fault_ends_the_connection(shared: DirectListener, sent: bytes, code: ErrorCode) -> None:
    with RawClient(shared.port) as client:
        with suppress(ConnectionError):  # it does not wait for the rest
            client.send(sent)
        assert refusal(client) == code
    answered(shared)


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01", b"P\0"]
)
def test_what_is_not_http2_is_refused(shared: DirectListener, said: bytes) -> None:
    with RawClient(shared.port, None) as client:
        client.send(said)
        assert refusal(client) == PROTOCOL
    answered(shared)


def fields(**changed: str) -> list[tuple[str, str]]:
    """Return the fields of a call with some changed; "" takes one away."""
    names = {name.replace("_", "-"): value for name, value in changed.items()}
    kept = [(n, names.pop(n.lstrip(":"), v)) for n, v in call_fields("/t.T/Echo")]
    return [each for each in (*kept, *names.items()) if each[1]]


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        pytest.param(fields(path=""), "path", id="no path"),
        pytest.param(fields(method="GET"), "POST", id="GET"),
        pytest.param(fields(method=""), "POST", id="no method"),
        pytest.param(fields(content_type="text/html"), "application/grpc", id="content"),
        pytest.param(fields(content_type=""), "application/grpc", id="no content"),
        pytest.param([("te", "trailers"), *fields(te="")], "out of place", id="late pseudo-field"),
        pytest.param([(":path", "/x"), *fields()], "out of place", id="a field twice"),
        pytest.param([(":status", "200"), *fields()], "out of place", id="an answer's field"),
        pytest.param([*fields(), ("X-Upper", "1")], "no field", id="upper case"),
        pytest.param([*fields(), ("connection", "close")], "no field", id="of one hop"),
        pytest.param(fields(grpc_timeout="1.5S"), "grpc-timeout", id="timeout"),
        pytest.param(fields(grpc_timeout="S"), "grpc-timeout", id="timeout without a number"),
        pytest.param(fields(grpc_timeout="123456789S"), "grpc-timeout", id="timeout too long"),
        pytest.param([*fields(), ("x-bin", "?")], "base64", id="binary"),
    ],
)
def test_what_is_no_call_is_answered_so_and_the_connection_goes_on(
    shared: DirectListener, head: list[tuple[str, str]], reason: str
) -> None:
    with RawClient(shared.port) as client:
        block = b"".join(literal(*each) for each in head)
        client.send(frame(HEADERS, END_HEADERS, 1, block), frame(DATA, END_STREAM, 1, framed(b"")))
        answer = client.answer(1)
        assert answer[":status"] == ("415" if reason == "application/grpc" else "400")
        assert reason in answer["grpc-message"].replace("%20", " ").replace("%2F", "/")
        client.ask(3, "/t.T/Echo", b"next")
        assert client.answer(3).messages == [b"next"]


def test_a_head_that_is_too_long_is_refused_and_the_connection_goes_on(
    shared: DirectListener,
) -> None:
    with RawClient(shared.port) as client:
        client.send(frame(HEADERS, LAST, 1, ECHO + long_head()))
        answer = client.answer(1)
        assert answer["grpc-status"] == str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
        assert "at most 16384" in answer["grpc-message"].replace("%20", " ")
        client.ask(3, "/t.T/Echo", b"next")
        assert client.answer(3).messages == [b"next"]


def test_bytes_that_are_no_text_in_a_head_are_answered(shared: DirectListener) -> None:
    with RawClient(shared.port) as client:
        block = ECHO + b"\0\x05x-bin\x02\xff\xfe"
        client.send(frame(HEADERS, LAST, 1, block))
        assert client.answer(1)[":status"] == "400"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(lambda: frame(RST_STREAM, 0, 1, word(8)), id="reset"),
        pytest.param(lambda: frame(WINDOW_UPDATE, 0, 1, word(9)), id="window"),
        pytest.param(lambda: frame(DATA, END_STREAM, 1, bytes(100)), id="data"),
        pytest.param(lambda: frame(HEADERS, LAST, 1, literal("x", "y")), id="trailers"),
        pytest.param(lambda: frame(PRIORITY, 0, 1, bytes(5)), id="priority"),
    ],
)
def test_what_comes_late_for_a_call_that_is_over_is_dropped(
    shared: DirectListener, sent: Callable[[], bytes]
) -> None:
    with RawClient(shared.port) as client:
        client.ask(1, "/t.T/Echo", b"first")
        assert client.answer(1).messages == [b"first"]
        client.send(sent())
        client.ask(3, "/t.T/Echo", b"second")
        assert client.answer(3).messages == [b"second"]


def test_the_data_that_was_on_its_way_to_a_refused_call_is_no_flood(
    shared: DirectListener,
) -> None:
    """Go sends frames of 16 KiB: a window of four MiB is 256 of them, for each call refused."""
    with RawClient(shared.port) as client:
        piece = bytes(1_024)
        for number in (1, 3):
            head = b"".join(literal(*each) for each in call_fields("/t.T/Unknown"))
            client.send(frame(HEADERS, END_HEADERS, number, head))
            client.send(frame(DATA, 0, number, piece) * MANY)
            assert client.answer(number).status == 12
        client.ask(5, "/t.T/Echo", b"still")
        assert client.answer(5).messages == [b"still"]


def test_one_settings_frame_may_hold_thousands_of_values(shared: DirectListener) -> None:
    with RawClient(shared.port) as client:
        values = [(INITIAL_WINDOW_SIZE, 1 + index % 2) for index in range(5_000)]
        client.send(settings_frame([*values, (INITIAL_WINDOW_SIZE, 65_535)]))
        client.ask(1, "/t.T/Echo", bytes(1_000))
        assert client.answer(1).messages == [bytes(1_000)]


def test_the_server_says_its_own_bounds_first(shared: DirectListener) -> None:
    with RawClient(shared.port) as client:
        first = next(client.frames())
        said = dict(struct.iter_unpack(">HI", first.payload))
        assert first.kind == SETTINGS
        assert said == {3: 1_024, 4: STREAM_WINDOW, 5: FRAME_BYTES, 6: 16 * 1024}
        assert client.read_until(SETTINGS, ACK).payload == b""
