"""Frames of HTTP/2 as bytes.

https://www.rfc-editor.org/rfc/rfc9113#name-frame-format
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME: Final = struct.Struct(">HBBBI")  # length in two parts, kind, flags, stream
DATA_FRAME: Final = struct.Struct(">HBBBIBI")  # with the prefix of a message of gRPC after it
WORD: Final = struct.Struct(">I")
_SETTING: Final = struct.Struct(">HI")

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE = range(9)
CONTINUATION: Final = 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6

DEFAULT_WINDOW: Final = 65_535
WINDOW_MAX: Final = 2**31 - 1
DEFAULT_FRAME_BYTES: Final = 16_384
FRAME_BYTES_MAX: Final = 2**24 - 1
MESSAGE_PREFIX_BYTES: Final = 5
PRIORITY_BYTES: Final = 5
PING_BYTES: Final = 8
GOAWAY_BYTES: Final = 8  # at least


class ErrorCode(IntEnum):
    """Why a stream or a connection ends (RFC 9113, 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ConnectionFault(Exception):
    """The peer broke the protocol: the connection ends.

    Args:
        code: What the peer is told.
        reason: In words, for its log.
    """

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame."""
    size = len(payload)
    return FRAME.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def head(flags: int, stream: int, block: bytes, most: int) -> bytes:
    """Return a block of header fields, in as many frames of at most `most` bytes as it takes."""
    if len(block) <= most:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    parts = [frame(HEADERS, flags, stream, block[:most])]
    for begin in range(most, len(block), most):
        last = END_HEADERS if begin + most >= len(block) else 0
        parts.append(frame(CONTINUATION, last, stream, block[begin : begin + most]))
    return b"".join(parts)


def settings(values: Mapping[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in values.items()))


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """Yield a SETTINGS frame's values; ConnectionFault where one is not allowed."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS cut off")
    for name, value in _SETTING.iter_unpack(payload):
        if name == ENABLE_PUSH and value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"ENABLE_PUSH of {value}")
        if name == INITIAL_WINDOW_SIZE and value > WINDOW_MAX:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"a window of {value}")
        if name == MAX_FRAME_SIZE and not DEFAULT_FRAME_BYTES <= value <= FRAME_BYTES_MAX:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"frames of {value} bytes")
        yield name, value


def window_update(stream: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, WORD.pack(increment))


def reset(stream: int, code: ErrorCode) -> bytes:
    """Return a RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, WORD.pack(code))


def goaway(last_stream: int, code: ErrorCode, reason: str = "") -> bytes:
    """Return a GOAWAY frame."""
    words = WORD.pack(last_stream) + WORD.pack(code)
    return frame(GOAWAY, 0, 0, words + reason.encode()[:256])


def word(payload: bytes) -> int:
    """Return the number that is all of a frame's payload; ConnectionFault where it is not."""
    if len(payload) != WORD.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {len(payload)} bytes")
    value: int = WORD.unpack(payload)[0]
    return value


def unpadded(flags: int, payload: bytes) -> bytes:
    """Return a frame's payload without its padding; ConnectionFault where there is too much."""
    if not flags & PADDED:
        return payload
    if not payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "padding without a length")
    if payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]
