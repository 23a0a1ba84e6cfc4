"""Label Studio's brush masks: run lengths of RGBA bytes, packed bit by bit.

The encoding is `rle-pack` of thi.ng/umbrella, as Label Studio's editor and its SDK
(`label_studio_sdk.converter.brush`) have it: a head of 32 bits (how many values), 5 (bits of a
value less one) and 4 x 4 (bits of the four run lengths less one), then runs: one bit that says
whether one value repeats, two that choose the length's bits, the length less one, and the value,
or values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from loopline.vision import masks

WORD_BITS = 8
LENGTH_BITS = (3, 4, 8, 16)
CHANNELS = 4
_VALUES_MAX = 4 * 400_000_000


class _Bits:
    """Collects bits into bytes."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._left, self._count = 0, 0

    def put(self, value: int, bits: int) -> None:
        self._left = (self._left << bits) | value
        self._count += bits
        while self._count >= 8:
            self._count -= 8
            self._bytes.append((self._left >> self._count) & 0xFF)
        self._left &= (1 << self._count) - 1

    def done(self) -> list[int]:
        self.put(0, (8 - self._count) % 8 or 8)  # at least one bit of padding, as theirs
        return list(self._bytes)


class _Reader:
    """Reads bits off bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, bits: int) -> int:
        end = self._at + bits
        if end > 8 * len(self._data):
            raise ValueError("a brush mask is cut off")
        first, last = self._at // 8, (end + 7) // 8
        window = int.from_bytes(self._data[first:last], "big")
        self._at = end
        return (window >> (8 * last - end)) & ((1 << bits) - 1)


def pack(rle: str, width_px: int, height_px: int) -> list[int]:
    """Return a mask of ours as Label Studio's bytes."""
    mask = masks.decode(rle, width_px, height_px)
    runs = masks.run_lengths(masks.encode(mask.T))  # row-major: column-major of the transposed
    bits = _Bits()
    bits.put(width_px * height_px * CHANNELS, 32)
    bits.put(WORD_BITS - 1, 5)
    for size in LENGTH_BITS:
        bits.put(size - 1, 4)
    for at, run in enumerate(runs):
        _put_run(bits, run * CHANNELS, 255 if at % 2 else 0)
    return bits.done()


def _put_run(bits: _Bits, length: int, value: int) -> None:
    while length > 0:
        part = min(length, 1 << LENGTH_BITS[-1])
        size = next(i for i, b in enumerate(LENGTH_BITS) if part <= 1 << b)
        bits.put(1, 1)
        bits.put(size, 2)
        bits.put(part - 1, LENGTH_BITS[size])
        bits.put(value, WORD_BITS)
        length -= part


def unpack(packed: Sequence[int], width_px: int, height_px: int) -> str:
    """Return Label Studio's bytes as a mask of ours: what is not transparent is set.

    Raises:
        ValueError: It is cut off, or of another size.
    """
    reader = _Reader(bytes(packed))
    total = reader.take(32)
    if total != width_px * height_px * CHANNELS or total > _VALUES_MAX:
        raise ValueError(
            f"a brush mask of {total} values is none of a {width_px} x {height_px} image"
        )
    values = np.zeros(total, np.uint8)
    at = 0
    for length, found in _runs(reader, total):
        values[at : at + length] = found[:length]
        at += length
    alpha = values.reshape(height_px, width_px, CHANNELS)[..., CHANNELS - 1]
    return masks.encode(alpha > 0)


def _runs(reader: _Reader, total: int) -> Iterator[tuple[int, np.ndarray]]:
    word = reader.take(5) + 1
    sizes = [reader.take(4) + 1 for _ in LENGTH_BITS]
    done = 0
    while done < total:
        repeats = reader.take(1)
        length = min(reader.take(sizes[reader.take(2)]) + 1, total - done)
        if repeats:
            found = np.full(length, reader.take(word), np.uint8)
        else:
            found = np.array([reader.take(word) for _ in range(length)], np.uint8)
        done += length
        yield length, found
