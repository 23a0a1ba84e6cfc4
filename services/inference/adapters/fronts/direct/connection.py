"""One client's connection: HTTP/2 as gRPC uses it, on the event loop's thread alone.

https://www.rfc-editor.org/rfc/rfc9113
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from services.inference.adapters.fronts.calls import Handler
from services.inference.adapters.fronts.direct import frames
from services.inference.adapters.fronts.direct.frames import ConnectionFault, ErrorCode
from services.inference.adapters.fronts.direct.heads import Head, HeadReader
from services.inference.adapters.fronts.direct.messages import MemoryBudget, Message
from services.inference.adapters.fronts.direct.reader import FRAME_BYTES, SCRATCH_BYTES, FrameReader
from services.inference.adapters.fronts.direct.stream import STREAM_WINDOW, Nobody, Stream
from services.inference.adapters.fronts.tls import identity_of

PATIENCE: Final = 1_000
"""Frames that a client may send a second beside its calls: resets, pings, settings, nothings."""
UNREAD_BYTES: Final = 1024 * 1024
"""Answers that a client may leave unread before others wait; and errors, before it is not read."""

HEAR_S: Final = 0.5  # for a client to hear that the server stops, at most
_HEARD: Final = b"draining"
_STOPS: Final = "the server stops"
log = structlog.get_logger()
_WASTE: Final = memoryview(bytearray(4_096))  # what comes after the end


@dataclass(frozen=True, slots=True)
class Bounds:
    """What connections may do.

    Args:
        connections: How many there may be.
        calls: Of one connection at once.
        message_bytes: The largest message taken or given.
        head_bytes: Of a call's head.
        begin_s: A connection that has not said what it speaks by then is closed.
        message_s: A call with one message that has not said it by then is ended.
        silence_s: After so long without a word a client is asked whether it is there.
        answer_s: How long it has to say so.
    """

    connections: int = 1_024
    calls: int = 1_024
    message_bytes: int = 64 * 1024 * 1024
    head_bytes: int = 16 * 1024
    begin_s: float = 10.0
    message_s: float = 120.0
    silence_s: float = 60.0
    answer_s: float = 20.0


class Site(Protocol):
    """What the connections of a server share."""

    bounds: Bounds
    budget: MemoryBudget
    connections: set[Connection]

    def method(self, path: str) -> Handler | None:
        """Return what answers a method; None where there is none."""
        ...

    def began(self, stream: Stream) -> None:
        """A call with a stream of messages begins."""
        ...

    def asked(self, stream: Stream, message: Message) -> None:
        """A call with one message is to be answered."""
        ...

    def ended(self, stream: Stream) -> None:
        """A call is over."""
        ...

    def in_thread(self, work: Callable[[], None]) -> None:
        """Do what may block."""
        ...

    def post(self, call: Callable[..., object], *arguments: object) -> None:
        """Call something in the event loop's thread, from any."""
        ...


class Connection(asyncio.BufferedProtocol):
    """One client's connection.

    Args:
        site: What all connections share.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.peer = self.identity = ""
        self.changed = threading.Condition(threading.Lock())  # of its calls
        self.streams: dict[int, Stream] = {}
        self.sends = self.first_window = frames.DEFAULT_WINDOW
        self.frame_bytes = frames.DEFAULT_FRAME_BYTES
        self._receives = frames.WINDOW_MAX
        self._transport: Any = None
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(self)
        self._heads = HeadReader(site.bounds.head_bytes)
        self._block: tuple[int, int, bytes] | None = None  # a head that goes on
        self._last = 0  # of the calls' numbers
        self._is_greeted = self._is_reading = self._is_draining = self._is_closed = False
        self.is_full = False  # what was said waits for its client to read
        self._unsaid: list[bytes | memoryview] = []
        self._patience = PATIENCE
        self._excused = 0  # bytes that clients may have sent to calls that were over
        self._began_s = self._moved_s = self._read_s = self._loop.time()
        self._asked_s = 0.0
        self._said_besides = 0  # since it is full
        self._said = self._read = self._unread = 0  # bytes: what was said, and what of it is read

    # --- what the event loop says

    def connection_made(self, transport: Any) -> None:
        """Greet the client, or close where there are too many."""
        self._transport = transport
        if len(self.site.connections) >= self.site.bounds.connections:
            transport.abort()
            return
        self.site.connections.add(self)
        transport.set_write_buffer_limits(UNREAD_BYTES)
        self.peer, self.identity = _peer(transport), identity_of(transport)
        offer = {
            frames.MAX_CONCURRENT_STREAMS: self.site.bounds.calls,
            frames.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            frames.MAX_FRAME_SIZE: FRAME_BYTES,
            frames.MAX_HEADER_LIST_SIZE: self.site.bounds.head_bytes,
        }
        # Messages are counted as they begin: the window of all of them together need not be small.
        self.say(frames.settings(offer))
        self.say(frames.window_update(0, frames.WINDOW_MAX - frames.DEFAULT_WINDOW))

    def connection_lost(self, _: Exception | None) -> None:
        """Let everything go."""
        self._is_closed = True
        self._unsaid.clear()
        self.site.connections.discard(self)
        streams, self.streams = list(self.streams.values()), {}
        for stream in streams:
            stream.gone()

    def pause_writing(self) -> None:
        """Answers wait with their calls; what else is said meanwhile is counted."""
        self.is_full, self._said_besides = True, 0

    def resume_writing(self) -> None:
        """It reads."""
        self.is_full = False
        if not self._is_closed:
            self._moved_s = self._loop.time()  # nobody knows what it said meanwhile
            self._transport.resume_reading()
            self._pump()

    def get_buffer(self, _: int) -> memoryview:
        """Return where the next bytes go."""
        return _WASTE if self._is_closed else self._reader.room()

    def buffer_updated(self, count: int) -> None:
        """Look at what came."""
        if self._is_closed:
            return
        self._moved_s = self._loop.time()
        self._is_reading = True
        try:
            self._reader.received(count)
        except ConnectionFault as fault:
            self._end(fault)
        except Exception:  # nothing of one client may stay half done
            log.exception("connection_failed", peer=self.peer)
            self._end(ConnectionFault(ErrorCode.INTERNAL_ERROR, "a fault of the server"))
        finally:
            self._is_reading = False
        if self._unsaid:
            self._flush()

    # --- frames

    def begin_data(self, number: int, size: int) -> Stream | Nobody:
        """See `Frames.begin_data`."""
        if self._block is not None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a head was not ended")
        self._must_be_opened(number)
        if not size:
            self._lose_patience()
        self._receives -= size
        if self._receives < frames.WINDOW_MAX // 2:
            self.say(frames.window_update(0, frames.WINDOW_MAX - self._receives))
            self._receives = frames.WINDOW_MAX
        stream = self.streams.get(number)
        if stream is None:
            self._excused -= size  # it may not know yet that the call is over
            if self._excused < 0:
                self._excused = 0
                self._lose_patience()
            return Nobody()
        stream.comes(size)
        return stream

    def take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """See `Frames.take`."""
        if not self._is_greeted and kind != frames.SETTINGS:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS come first")
        if self._block is not None and kind != frames.CONTINUATION:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a head was not ended")
        take = _TAKERS.get(kind)
        if take is None:
            self._lose_patience()  # a kind that nobody knows yet
        else:
            take(self, flags, number, payload)

    def _take_head(self, flags: int, number: int, payload: bytes) -> None:
        if number % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a call of number {number}")
        block = frames.unpadded(flags, payload)
        if flags & frames.PRIORITIZED:
            if len(block) < frames.PRIORITY_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a priority cut off")
            block = block[frames.PRIORITY_BYTES :]
        if flags & frames.END_HEADERS:
            self._begin(number, flags, block)
        else:
            self._block = (number, flags, block)

    def _take_more_head(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        _, first_flags, block = self._block
        block += payload
        self._lose_patience()
        if len(block) > SCRATCH_BYTES:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a head without end")
        self._block = None if flags & frames.END_HEADERS else (number, first_flags, block)
        if self._block is None:
            self._begin(number, first_flags, block)

    def _begin(self, number: int, flags: int, block: bytes) -> None:
        """Begin a call, or end what its client says."""
        head = self._heads.read(block)  # in any case: both sides keep count of what was said
        ends = bool(flags & frames.END_STREAM)
        if number <= self._last:
            self._end_what_it_says(number, head, ends)
            return
        self._last = number
        if self._is_draining or len(self.streams) >= self.site.bounds.calls:
            self._lose_patience()
            self._excused += 0 if ends else STREAM_WINDOW
            self.say(frames.reset(number, ErrorCode.REFUSED_STREAM))
            return
        stream = self.streams[number] = Stream(self, number, head, self.site.method(head.path))
        stream.is_said = ends
        stream.begin()
        if ends:
            stream.over(ends)

    def _end_what_it_says(self, number: int, head: Head, ends: bool) -> None:
        """Take a head after the first one of its call: it can but end what the client says."""
        self._lose_patience()
        stream = self.streams.get(number)
        if stream is None:
            if head.path:
                reason = f"call {number} after {self._last}"
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, reason)
        elif stream.is_said:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, f"a head after the end of {number}")
        elif not ends:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a second head of {number}")
        else:
            stream.over(ends)

    def _must_be_opened(self, number: int) -> None:
        if not 0 < number <= self._last or number % 2 == 0:
            reason = f"a frame of stream {number}, never opened"
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, reason)

    def _take_window(self, _: int, number: int, payload: bytes) -> None:
        increment = frames.word(payload) & frames.WINDOW_MAX
        if increment == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window that grows by nothing")
        if number:
            self._must_be_opened(number)
            stream = self.streams.get(number)
            if stream is not None:
                stream.sends = _grown(stream.sends, increment)
                stream.pump()
        else:
            was_open, self.sends = self.sends > 0, _grown(self.sends, increment)
            if not was_open:
                self._pump()

    def _take_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS of a stream")
        self._lose_patience()
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "what is acknowledged?")
            if not self._is_greeted:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS come first")
            return
        self._is_greeted = True
        # The last of each counts: thousands may stand in one frame, and calls may be many.
        for name, value in dict(frames.read_settings(payload)).items():
            if name == frames.INITIAL_WINDOW_SIZE:
                more, self.first_window = value - self.first_window, value
                for stream in self.streams.values():
                    stream.sends = _grown(stream.sends, more)
            elif name == frames.MAX_FRAME_SIZE:
                self.frame_bytes = value
        self.say(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._pump()

    def _take_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != frames.PING_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes")
        self._lose_patience()
        if not flags & frames.ACK:
            self.say(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif payload == _HEARD:
            self._refuse_calls()

    def _take_reset(self, _: int, number: int, payload: bytes) -> None:
        frames.word(payload)
        self._must_be_opened(number)
        self._lose_patience()
        stream = self.streams.get(number)
        if stream is not None:
            self.forget(stream)
            stream.gone()

    def _take_goaway(self, _: int, number: int, payload: bytes) -> None:
        """It opens no more calls; those it opened are answered."""
        self._lose_patience()
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY of a stream")
        if len(payload) < frames.GOAWAY_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY cut off")

    def _take_priority(self, _: int, number: int, payload: bytes) -> None:
        """Calls are answered as they can be: RFC 9113 gave priorities up."""
        self._lose_patience()
        if not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY of no stream")
        if len(payload) != frames.PRIORITY_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"PRIORITY of {len(payload)} bytes")

    def _take_promise(self, *_: object) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients push nothing")

    def _pump(self) -> None:
        for stream in list(self.streams.values()):
            if self.sends <= 0 or self.is_full:
                return
            stream.pump()

    def _lose_patience(self) -> None:
        self._patience -= 1
        if self._patience < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too much that asks nothing")

    # --- what is said

    def say(self, data: bytes | memoryview) -> None:
        """Send bytes, together with what is said until the event loop is done with what it does."""
        if self._is_closed:
            return
        if not self._unsaid and not self._is_reading:
            self._loop.call_soon(self._flush)
        self._unsaid.append(data)

    def excuse(self, stream: Stream) -> None:
        """The client may go on to send to a call that is over, until it knows."""
        self._excused += stream.receives

    def forget(self, stream: Stream) -> None:
        """A call is over."""
        self.streams.pop(stream.number, None)
        if self._is_draining and not self.streams:
            self._close()

    def drain(self) -> None:
        """Take no new calls; close once those that run are answered.

        The client is told first, and its calls are refused only once it must have heard: what it
        sent meanwhile is answered (RFC 9113, 6.8).
        """
        self.say(frames.goaway(frames.WINDOW_MAX, ErrorCode.NO_ERROR, _STOPS))
        self.say(frames.frame(frames.PING, 0, 0, _HEARD))
        self._loop.call_later(HEAR_S, self._refuse_calls)

    def _refuse_calls(self) -> None:
        if not self._is_draining:
            self._is_draining = True
            self.say(frames.goaway(self._last, ErrorCode.NO_ERROR, _STOPS))
            if not self.streams:
                self._close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def sweep(self, now_s: float) -> None:
        """Close the connection if nothing more is to be expected of it. Called every second."""
        self._patience = PATIENCE
        bounds = self.site.bounds
        unread, read = self._transport.get_write_buffer_size(), self._read
        self._read = self._said - unread
        if self._unread and self._read > read:
            self._moved_s = now_s  # it takes what waited: it is there
        if not unread or self._read > read:
            self._read_s = now_s
        self._unread = unread
        silent_s = now_s - self._moved_s
        longest_s = bounds.silence_s + bounds.answer_s
        is_mute = not self._is_greeted and now_s - self._began_s > bounds.begin_s
        for stream in list(self.streams.values()):
            stream.sweep()
        if is_mute or max(silent_s, now_s - self._read_s) > longest_s:
            self.abort()
        elif silent_s > bounds.silence_s and self._asked_s <= self._moved_s:
            self._asked_s = now_s
            self.say(frames.frame(frames.PING, 0, 0, bytes(frames.PING_BYTES)))

    def _flush(self) -> None:
        said, self._unsaid = self._unsaid, []
        size = sum(map(len, said))
        self._said += size
        if self.is_full:
            self._said_besides += size
            if self._said_besides > UNREAD_BYTES and not self._is_closed:
                self._transport.pause_reading()  # each error would be kept for who reads none
        if len(said) == 1:
            self._transport.write(said[0])
        elif said:
            self._transport.writelines(said)

    def _end(self, fault: ConnectionFault) -> None:
        self.say(frames.goaway(self._last, fault.code, fault.reason))
        self._close()

    def _close(self) -> None:
        self._flush()
        self._is_closed = True
        self._transport.close()


_TAKERS: Final[dict[int, Callable[[Connection, int, int, bytes], None]]] = {
    frames.HEADERS: Connection._take_head,
    frames.CONTINUATION: Connection._take_more_head,
    frames.WINDOW_UPDATE: Connection._take_window,
    frames.SETTINGS: Connection._take_settings,
    frames.PING: Connection._take_ping,
    frames.RST_STREAM: Connection._take_reset,
    frames.GOAWAY: Connection._take_goaway,
    frames.PUSH_PROMISE: Connection._take_promise,
    frames.PRIORITY: Connection._take_priority,
}


def _grown(window: int, increment: int) -> int:
    if window + increment > frames.WINDOW_MAX:
        raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window without bound")
    return window + increment


def _peer(transport: asyncio.BaseTransport) -> str:
    """Return who calls, as grpcio writes it."""
    address = transport.get_extra_info("peername")
    if not isinstance(address, tuple):
        return "unix:"
    host, port = address[:2]
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
