"""What a call says before its message, and what is said before and after the answer.

Requests' heads are compressed (HPACK, RFC 7541). A client's calls mostly repeat one head as
references into the connection's table, a dozen bytes: those are read once.
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from hpack import Decoder, HPACKError, OversizedHeaderListError

from services.inference.adapters.fronts.calls import Metadata
from services.inference.adapters.fronts.direct.frames import ConnectionFault, ErrorCode

BINARY: Final = "-bin"
CONTENT: Final = "application/grpc"
_UNITS_S: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT_DIGITS: Final = 8
_INDEXED: Final = bytes(range(0x81, 0xFF))  # a reference of one byte, which changes no table
_HEADS_REMEMBERED: Final = 64
_NOT_METADATA: Final = frozenset(
    ("te", "content-type", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding")
)
_STATUS_200: Final = b"\x88"  # the static table's entry
_PRINTABLE: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_REASON_BYTES: Final = 1_024  # of what is told; clients refuse long heads, and then know nothing
_FIELD_BYTES: Final = 32  # counted beside its name and value (RFC 9113, 6.5.2)
TOLERATED: Final = 4
BAD_REQUEST, UNSUPPORTED = 400, 415
_SPECIAL: Final = frozenset((":method", ":scheme", ":path", ":authority"))
_OF_ONE_HOP: Final = frozenset(
    ("connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade")
)


@dataclass(frozen=True, slots=True)
class Head:
    """What a call says before its message.

    Args:
        path: "/service/method".
        metadata: As the client gave it; values are bytes where keys end in "-bin".
        timeout_s: How long the client waits; None for as long as it takes.
        encoding: How its messages are compressed; "" where they are not.
        fault: Why it is no call of gRPC; "" where it is one.
        http_status: What such a fault is answered with; 0 where it is a call, too long a one.
    """

    path: str
    metadata: Metadata
    timeout_s: float | None = None
    encoding: str = ""
    fault: str = ""
    http_status: int = BAD_REQUEST


class HeadReader:
    """Reads the heads of one connection, in their order.

    Args:
        max_bytes: Of a head's names and values, each pair counted with 32 bytes more. A longer one
            is no call; one that is longer by far (`TOLERATED`) ends the connection.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._decoder = Decoder(max_header_list_size=TOLERATED * max_bytes)
        self._known: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """Return a head; ConnectionFault where the table that both sides keep is not the same."""
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            fields = list(self._decoder.decode(block, raw=True))
        except OversizedHeaderListError as error:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, str(error)) from error
        except (HPACKError, IndexError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)) from error
        head = self._bounded(fields)
        if block.translate(None, _INDEXED):
            self._known.clear()  # it may have moved the table that the others refer to
        else:
            if len(self._known) >= _HEADS_REMEMBERED:
                self._known.clear()
            self._known[block] = head
        return head

    def _bounded(self, fields: Sequence[tuple[bytes, bytes]]) -> Head:
        size = sum(len(name) + len(value) + _FIELD_BYTES for name, value in fields)
        if size <= self._max_bytes:
            return head_of(fields)
        fault = f"a head of {size} bytes: at most {self._max_bytes} are taken"
        return Head("", (), fault=fault, http_status=0)


def head_of(fields: Iterable[tuple[bytes, bytes]]) -> Head:
    """Return a head from its fields, as they came."""
    special: dict[str, str] = {}
    metadata: list[tuple[str, str | bytes]] = []
    try:
        _sort(fields, special, metadata)
    except ValueError as error:
        return Head(special.get(":path", ""), (), fault=str(error))
    path = special.get(":path", "")
    if not path or special.get(":method") != "POST":
        return Head(path, (), fault="calls of gRPC are POSTed to a path")
    if not special.get("content-type", "").startswith(CONTENT):
        return Head(path, (), fault=f"calls of gRPC are {CONTENT}", http_status=UNSUPPORTED)
    try:
        timeout_s = _timeout_s(special.get("grpc-timeout", ""))
    except ValueError:
        return Head(path, (), fault=f"grpc-timeout {special['grpc-timeout']!r} is none")
    encoding = special.get("grpc-encoding", "")
    return Head(path, tuple(metadata), timeout_s, "" if encoding == "identity" else encoding)


def _sort(
    fields: Iterable[tuple[bytes, bytes]],
    special: dict[str, str],
    metadata: list[tuple[str, str | bytes]],
) -> None:
    """Tell what the protocols use from what the client says beside; ValueError as to why not."""
    is_begun = False  # what follows the pseudo-fields
    for raw_name, raw_value in fields:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name.startswith(":"):
            if is_begun or name not in _SPECIAL or name in special:
                raise ValueError(f"{name} is out of place")
            special[name] = value
            continue
        is_begun = True
        if name != name.lower() or name in _OF_ONE_HOP:
            raise ValueError(f"{name} is no field of HTTP/2")
        if name in _NOT_METADATA:
            special[name] = value
        elif name.endswith(BINARY):
            metadata += [(name, _from_base64(name, each)) for each in value.split(",")]
        else:
            metadata.append((name, value))


def opening(metadata: Metadata = ()) -> bytes:
    """Return the block before an answer."""
    return _STATUS_200 + _field("content-type", CONTENT) + _fields(metadata)


def trailers(code: int, message: str = "", metadata: Metadata = ()) -> bytes:
    """Return the block after an answer: how the call went."""
    block = _field("grpc-status", str(code))
    if message:
        told = message.encode("utf-8", "replace")[:_REASON_BYTES].decode("utf-8", "ignore")
        block += _field("grpc-message", quote(told, safe=_PRINTABLE))
    return block + _fields(metadata)


def refused(http_status: int, reason: str) -> bytes:
    """Return the block that answers what is no call of gRPC."""
    return _field(":status", str(http_status)) + _field("grpc-message", quote(reason))


def _fields(metadata: Metadata) -> bytes:
    return b"".join(
        _field(name, value if isinstance(value, str) else base64.b64encode(value).decode())
        for name, value in metadata
    )


def _field(name: str, value: str) -> bytes:
    """Return a field that goes into no table (RFC 7541, 6.2.2)."""
    texts = (name.lower().encode(), value.encode("utf-8", "replace"))
    return b"\0" + b"".join(_length(len(text)) + text for text in texts)


def _length(value: int) -> bytes:
    """Return a number with a prefix of seven bits (RFC 7541, 5.1)."""
    if value < 127:
        return bytes((value,))
    value, found = value - 127, [127]
    while value >= 128:
        found.append(value % 128 + 128)
        value //= 128
    return bytes((*found, value))


def _from_base64(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise ValueError(f"{name} is not base64") from error


def _timeout_s(text: str) -> float | None:
    """Return a timeout; ValueError where it is none.

    >>> _timeout_s("250m")
    0.25
    """
    if not text:
        return None
    digits, unit = text[:-1], text[-1]
    if unit not in _UNITS_S or not digits.isdecimal() or len(digits) > _TIMEOUT_DIGITS:
        raise ValueError(text)
    return int(digits) * _UNITS_S[unit]
