"""Finding the tensors' bytes in a ModelInferRequest without copying them.

protobuf copies each bytes field as it parses. In a large request nearly all is
`raw_input_contents`, the last field: this walks over the top level, hands out views of those bytes,
and leaves the rest before them, some hundred bytes, to protobuf.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import Final

from services.inference.domain.tensors import Buffer

_RAW_TAG: Final = 7 << 3 | 2  # field raw_input_contents, of a length and so many bytes
_RAW_TAG_BYTE: Final = bytes([_RAW_TAG])
_HEADS_REMEMBERED: Final = 512
_HEAD_REMEMBERED_BYTES: Final = 1_024
_HEADS: Final[dict[int, bytes]] = {}  # the last head, by the length of its message
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # wire types; groups were never in this message
_VARINT_BYTES_MAX: Final = 10
_END: Final = -1


def split(data: Buffer) -> tuple[bytes, list[memoryview]] | None:
    """Return what comes before the raw tensors, and a view of each of them.

    Returns:
        None where that cannot be told safely, and protobuf must see the whole: something follows
        the raw tensors, is cut off, or is of a wire type that does not belong there.
    """
    # Requests of one length mostly have one head: comparing it is quicker than walking over it.
    head = _HEADS.get(len(data), b"")
    if head and data[: len(head)] == head and data[len(head) : len(head) + 1] == _RAW_TAG_BYTE:
        at = len(head)
    else:
        at = _skip_to_raw(data)
        if at == _END:
            return None
        head = bytes(data[:at])
        _remember(len(data), head)
    view, raw = memoryview(data), []
    while at < len(data):
        if data[at] != _RAW_TAG:
            return None
        size, at = _varint(data, at + 1)
        if size < 0 or at + size > len(data):
            return None
        raw.append(view[at : at + size])
        at += size
    return head, raw


def _remember(size: int, head: bytes) -> None:
    if len(head) <= _HEAD_REMEMBERED_BYTES:
        if len(_HEADS) >= _HEADS_REMEMBERED:
            _HEADS.clear()
        _HEADS[size] = head


def _skip_to_raw(data: Buffer) -> int:
    """Return where the first raw tensor's tag is; `_END` where there is none, or no telling."""
    at = 0
    while 0 <= at < len(data):
        if data[at] == _RAW_TAG:
            return at
        tag, at = _varint(data, at)
        if tag >> 3 == 0 or tag < 0:
            return _END
        at = _skip(data, at, tag & 7)
    return _END


def _skip(data: Buffer, at: int, wire_type: int) -> int:
    """Return where the next field begins; `_END` where this one is cut off or unknown."""
    if wire_type == _LENGTH:
        size, at = _varint(data, at)
        at = at + size if size >= 0 else _END
    elif wire_type == _VARINT:
        value, at = _varint(data, at)
        at = at if value >= 0 else _END
    elif wire_type in (_FIXED64, _FIXED32):
        at += 8 if wire_type == _FIXED64 else 4
    else:
        return _END
    return at if at <= len(data) else _END


def _varint(data: Buffer, at: int) -> tuple[int, int]:
    """Return a number and where it ends; a negative number where it is cut off or too long."""
    value = 0
    for index in range(_VARINT_BYTES_MAX):
        if at + index >= len(data):
            break
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    return _END, at
