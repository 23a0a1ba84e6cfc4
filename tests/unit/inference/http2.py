"""As much of HTTP/2 as rude clients need: what gRPC's own clients would never send.

`RudeClient` asks and never reads. `RawClient` sends whatever frames it is told to, and reads the
server's back.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from hpack import Decoder, Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE = range(9)
CONTINUATION = 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 4, 5
TIMEOUT_S: Final = 20.0
LAST: Final = END_STREAM | END_HEADERS


class RudeClient:
    """Calls ModelInfer over and over, and gives the server no room to answer in."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        window = struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0, window))
        self._stream = 1

    def ask(self, request: bytes) -> None:
        """Send one call."""
        path = "/inference.GRPCInferenceService/ModelInfer"
        block = b"".join(literal(name, value) for name, value in call_fields(path))
        first = frame(HEADERS, END_HEADERS, self._stream, block)
        self._socket.sendall(first + frame(DATA, END_STREAM, self._stream, framed(request)))
        self._stream += 2

    def close(self) -> None:
        """Drop the connection."""
        self._socket.close()


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of HTTP/2."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """Why a stream or the connection ended: of RST_STREAM and GOAWAY."""
        begin = 4 if self.kind == GOAWAY else 0
        return int.from_bytes(self.payload[begin : begin + 4], "big")


@dataclass(slots=True)
class Answer:
    """What came on one stream."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    data: bytes = b""
    data_frames: list[int] = field(default_factory=list)
    reset: int | None = None
    is_over: bool = False

    def __getitem__(self, name: str) -> str:
        return dict(self.fields)[name]

    @property
    def status(self) -> int:
        """Return the status of gRPC."""
        return int(self["grpc-status"])

    @property
    def messages(self) -> list[bytes]:
        """Return the messages, which are not compressed."""
        found, at = [], 0
        while at < len(self.data):
            size = int.from_bytes(self.data[at + 1 : at + 5], "big")
            found.append(self.data[at + 5 : at + 5 + size])
            at += 5 + size
        return found


class RawClient:
    """Sends frames as it is told, and reads the server's.

    Args:
        port: The server's.
        settings: What it says first; None to say nothing, not even that it speaks HTTP/2.
        receive_bytes: Of the socket's buffer for what it has not read; None for the system's.
        tls: How to speak TLS; None for plain text.
    """

    def __init__(
        self,
        port: int,
        settings: Iterable[tuple[int, int]] | None = (),
        receive_bytes: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(("127.0.0.1", port))
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.answers: dict[int, Answer] = {}
        self.others: list[Frame] = []
        self._buffer = b""
        self._decoder = Decoder()
        self.encoder = Encoder()
        if settings is not None:
            self.socket.sendall(PREFACE + settings_frame(settings))

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *frames: bytes) -> None:
        """Send frames."""
        self.socket.sendall(b"".join(frames))

    def head(self, path: str, **more: str) -> bytes:
        """Return the head of a call, as one block; `_` stands for `-` in names."""
        fields = [*call_fields(path), *((n.replace("_", "-"), v) for n, v in more.items())]
        return self.encoder.encode(fields)

    def ask(self, stream: int, path: str, *messages: bytes, **more: str) -> None:
        """Send a call, whole."""
        data, most = b"".join(map(framed, messages)), 1_000_000
        self.send(
            frame(HEADERS, END_HEADERS, stream, self.head(path, **more)),
            *(frame(DATA, 0, stream, data[at : at + most]) for at in range(0, len(data), most)),
            frame(DATA, END_STREAM, stream),
        )

    def frames(self) -> Iterator[Frame]:
        """Yield the server's frames until it closes the connection; each is kept, too."""
        while True:
            while len(self._buffer) >= 9:
                size = int.from_bytes(self._buffer[:3], "big")
                if len(self._buffer) < 9 + size:
                    break
                kind, flags, stream = struct.unpack(">BBI", self._buffer[3:9])
                found = Frame(kind, flags, stream, self._buffer[9 : 9 + size])
                self._buffer = self._buffer[9 + size :]
                self._keep(found)
                yield found
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionError:
                return
            if not more:
                return
            self._buffer += more

    def answer(self, stream: int) -> Answer:
        """Read until a stream's answer is whole, and return it."""
        frames = self.frames()
        while not self.answers.setdefault(stream, Answer()).is_over:
            assert next(frames, None) is not None, (self.others, self.answers[stream])
        return self.answers[stream]

    def read_until(self, kind: int, flags: int = 0) -> Frame:
        """Read until a frame of a kind, with these flags, comes, and return it."""
        for found in self.frames():
            if found.kind == kind and found.flags & flags == flags:
                return found
        raise AssertionError(f"closed without a frame of kind {kind}: {self.others}")

    def rest(self) -> None:
        """Read until the connection is closed."""
        for _ in self.frames():
            pass

    def _keep(self, found: Frame) -> None:
        if found.kind == HEADERS:
            answer = self.answers.setdefault(found.stream, Answer())
            fields = self._decoder.decode(found.payload)
            answer.fields += [(str(name), str(value)) for name, value in fields]
            answer.is_over |= bool(found.flags & END_STREAM)
        elif found.kind == DATA:
            answer = self.answers.setdefault(found.stream, Answer())
            answer.data += found.payload
            answer.data_frames.append(len(found.payload))
        elif found.kind == RST_STREAM:
            answer = self.answers.setdefault(found.stream, Answer())
            answer.reset, answer.is_over = found.code, True
        else:
            self.others.append(found)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2 (RFC 9113, 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings_frame(settings: Iterable[tuple[int, int]]) -> bytes:
    """Return a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *each) for each in settings))


def word(value: int) -> bytes:
    """Return a number of four bytes."""
    return struct.pack(">I", value)


def framed(message: bytes) -> bytes:
    """Return a message of gRPC with its prefix."""
    return b"\0" + word(len(message)) + message


def call_fields(path: str) -> list[tuple[str, str]]:
    """Return the fields of a call's head."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]


def literal(name: str, value: str) -> bytes:
    """Return a header field that is not indexed (RFC 7541, 6.2.2), with short name and value."""
    assert len(name) < 127
    assert len(value) < 127
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
