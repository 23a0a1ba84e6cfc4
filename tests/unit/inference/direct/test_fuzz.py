"""Whatever bytes come, cut as they may be: the same answers, no exception, and nothing is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.adapters.fronts.calls import Handler
from services.inference.adapters.fronts.direct.connection import (
    UNREAD_BYTES,
    Bounds,
    Connection,
)
from services.inference.adapters.fronts.direct.messages import MemoryBudget, Message
from services.inference.adapters.fronts.direct.stream import Stream
from tests.unit.inference.direct.conftest import Handlers
from tests.unit.inference.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    call_fields,
    frame,
    framed,
    literal,
    settings_frame,
    word,
)

EXAMPLES = 150
BOUNDS = Bounds(calls=8, message_bytes=100_000)


class Transport(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unread = 0
        self.is_closed = self.is_paused = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.unread


class Echoing:
    """A site whose every method answers with what it was sent."""

    def __init__(self) -> None:
        self.bounds = BOUNDS
        self.budget = MemoryBudget(300_000)
        self.connections: set[Connection] = set()
        self.inside: list[Stream] = []
        self._methods: dict[str, Handler] = {
            f"/t.T/{name}": handler for name, handler in Handlers().services()["t.T"].items()
        }

    def method(self, path: str) -> Handler | None:
        return self._methods.get(path)

    def began(self, stream: Stream) -> None:
        self.inside.append(stream)

    def asked(self, stream: Stream, message: Message) -> None:
        self.inside.append(stream)
        if stream.head.path != "/t.T/Never":
            stream.call.answer(bytes(message) if not hasattr(message, "open") else b"opened")

    def ended(self, stream: Stream) -> None:
        self.inside = [each for each in self.inside if each is not stream]

    def in_thread(self, work: Callable[[], None]) -> None:
        raise AssertionError("nothing blocks")

    def post(self, call: Callable[..., object], *arguments: object) -> None:
        call(*arguments)


def feed(connection: Connection, data: bytes, cuts: list[int]) -> None:
    """Give a connection bytes as a socket would, in pieces of these sizes, over and over."""
    at = turn = 0
    while at < len(data):
        room = connection.get_buffer(-1)
        assert len(room) > 0
        count = min(len(room), max(1, cuts[turn % len(cuts)]), len(data) - at)
        room[:count] = data[at : at + count]
        connection.buffer_updated(count)
        at, turn = at + count, turn + 1


def talk(data: bytes, cuts: list[int]) -> bytes:
    """Return what a connection says to bytes; afterwards nothing of it may be left."""

    async def run() -> bytes:
        site, transport = Echoing(), Transport()
        connection = Connection(site)
        connection.connection_made(transport)
        feed(connection, data, cuts)
        await asyncio.sleep(0)
        connection.pause_writing()
        connection.resume_writing()
        connection.sweep(1e9)
        connection.connection_lost(None)
        await asyncio.sleep(0)
        assert site.budget.used == 0
        assert not site.inside
        assert not site.connections
        assert not connection.streams
        return transport.written

    return asyncio.run(run())


def head(path: str, *more: tuple[str, str]) -> bytes:
    return b"".join(literal(*each) for each in (*call_fields(path), *more))


CONVERSATION = (
    PREFACE,
    settings_frame([(INITIAL_WINDOW_SIZE, 1_000)]),
    frame(HEADERS, END_HEADERS, 1, head("/t.T/Echo", ("x-bin", "AAE"), ("grpc-timeout", "5S"))),
    frame(DATA, END_STREAM, 1, framed(b"one")),
    frame(PING, 0, 0, b"12345678"),
    frame(HEADERS, PADDED | PRIORITIZED, 3, b"\x07" + bytes(5) + head("/t.T/Echo") + bytes(7)),
    frame(CONTINUATION, END_HEADERS, 3, literal("more", "yes")),
    frame(DATA, PADDED, 3, b"\x05" + framed(bytes(40_000))[:30_000] + bytes(5)),
    frame(99, 1, 2, b"unknown"),
    frame(DATA, 0, 3, framed(bytes(40_000))[30_000:]),
    frame(PRIORITY, 0, 3, bytes(5)),
    frame(DATA, END_STREAM, 3),
    frame(WINDOW_UPDATE, 0, 0, word(100_000)),
    frame(WINDOW_UPDATE, 0, 3, word(30_000)),
    settings_frame([(INITIAL_WINDOW_SIZE, 65_535)]),
    frame(HEADERS, END_HEADERS, 5, head("/t.T/Chat")),
    frame(DATA, 0, 5, framed(b"a") + framed(b"") + framed(b"half")[:6]),
    frame(HEADERS, END_HEADERS, 7, head("/t.T/Never", ("grpc-encoding", "gzip"))),
    frame(DATA, END_STREAM, 7, framed(bytes(5_000))),
    frame(RST_STREAM, 0, 5, word(8)),
    frame(HEADERS, END_HEADERS | END_STREAM, 9, head("/t.T/Nothing")),
    frame(SETTINGS, 1, 0),
    frame(HEADERS, END_HEADERS, 11, head("/t.T/Echo")),
    frame(DATA, 0, 11, b"\0" + word(90_000) + bytes(5_000)),
    frame(GOAWAY, 0, 0, bytes(8)),
)
WHOLE = b"".join(CONVERSATION)


def test_the_conversation_is_a_good_one() -> None:
    said = talk(WHOLE, [len(WHOLE)])
    assert framed(b"one") in said
    assert b"12345678" in said
    assert said.count(bytes(1_000)) >= 38  # 40,000 bytes in frames
    assert frame(GOAWAY, 0, 0)[3:9] not in said


@given(cuts=st.lists(st.integers(1, 9_000), min_size=1, max_size=20))
@settings(max_examples=EXAMPLES // 3, deadline=None)
def test_how_bytes_are_cut_changes_nothing(cuts: list[int]) -> None:
    assert talk(WHOLE, cuts) == talk(WHOLE, [len(WHOLE)])


def test_bytes_one_by_one_change_nothing() -> None:
    assert talk(WHOLE, [1]) == talk(WHOLE, [len(WHOLE)])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a conversation with frames left out, doubled, swapped, and bytes changed."""
    parts = list(CONVERSATION[1:])
    for _ in range(draw(st.integers(0, 4))):
        at, to = (draw(st.integers(0, len(parts) - 1)) for _ in range(2))
        what = draw(st.sampled_from(["drop", "double", "swap", "many", "foreign"]))
        if what == "drop" and len(parts) > 1:
            del parts[at]
        elif what == "double":
            parts.insert(to % (len(parts) + 1), parts[at])
        elif what == "swap":
            to %= len(parts)
            at %= len(parts)
            parts[at], parts[to] = parts[to], parts[at]
        elif what == "many":
            parts[at] *= draw(st.integers(2, 50))
        else:
            parts.insert(at, draw(foreign()))
    data = bytearray(CONVERSATION[0] + b"".join(parts))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(len(PREFACE), len(data) - 1))
        data[at] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(1, len(data)))]) if draw(st.booleans()) else bytes(data)


def foreign() -> st.SearchStrategy[bytes]:
    """Any frame, mostly one that makes sense somewhere."""
    return st.builds(
        frame,
        st.integers(0, 11),
        st.integers(0, 63),
        st.sampled_from([0, 1, 2, 3, 5, 7, 9, 11, 13, 15, 2**31 - 1]),
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from([head("/t.T/Echo"), framed(b"x"), word(2**31 - 1), bytes(8)]),
        ),
    )


@given(data=mutated(), cuts=st.lists(st.integers(1, 40_000), min_size=1, max_size=5))
@settings(max_examples=EXAMPLES, deadline=None)
def test_whatever_comes_raises_nothing_and_leaves_nothing(data: bytes, cuts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        unforeseen: list[str] = []
        patched.setattr(
            "services.inference.adapters.fronts.direct.connection.log.exception",
            lambda event, **_: unforeseen.append(event),
            raising=False,
        )
        talk(data, cuts)
        assert unforeseen == []


# --- time, with the same transport


async def test_a_client_that_reads_slowly_is_there() -> None:
    """What counts is that what waits becomes less, be it that more is said meanwhile."""
    site, transport = Echoing(), Transport()
    connection = Connection(site)
    connection.connection_made(transport)
    feed(connection, PREFACE + settings_frame([]), [100])
    connection.say(bytes(10_000_000))
    await asyncio.sleep(0)
    connection.pause_writing()
    is_read = not transport.is_paused
    assert is_read
    connection.say(bytes(UNREAD_BYTES + 1))
    await asyncio.sleep(0)
    assert transport.is_paused, "it is not read from"
    now_s = asyncio.get_running_loop().time()
    for second in range(300):
        if second % 30 == 0:
            connection.say(bytes(40_000))
            await asyncio.sleep(0)
        transport.unread = 11_000_000 + 40_000 * (second // 30 + 1) - 1_000 * second
        connection.sweep(now_s + second)
    for second in range(300, 300 + int(BOUNDS.silence_s + BOUNDS.answer_s) + 1):
        was_open = not transport.is_closed
        assert was_open, second
        connection.sweep(now_s + second)
    closed = transport.is_closed
    assert closed, "it reads no more"
    connection.connection_lost(None)
