"""Finds hashes within a few bits of others, without comparing each with each.

By pigeonhole: of two hashes at most `bits` apart, cut into more than `bits` bands, one band is
equal (or, past `LARGE` hashes, cut into half as many, one band differs in at most one bit). It is
exact as long as no band's value is shared by more than `MAX_SHARED` hashes; past that the first
ones count, so that a crowd of like images costs no more than its number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loopline.vision.perceptual import Hashes

MAX_BITS: Final = 16
LARGE: Final = 20_000
MAX_SHARED: Final = 1024
MAX_BAND_BITS: Final = 16

Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Found:
    """Pairs of hashes that are close: index into the probes, into the index, and bits apart."""

    probe: Indices
    match: Indices
    distance: NDArray[np.uint8]


class _Band:
    """Some bits of every hash, and who shares each of their values."""

    def __init__(self, hashes: Hashes, offset: int, width: int, flips: int) -> None:
        self._offset, self._width = np.uint64(offset), width
        self._flips = [0, *(1 << bit for bit in range(width))] if flips else [0]
        keys = self._keys(hashes)
        self._order = np.argsort(keys, kind="stable")
        self._starts = np.searchsorted(keys[self._order], np.arange((1 << width) + 1))

    def sharing(self, probes: Hashes) -> Iterator[tuple[Indices, Indices]]:
        """Yield pairs (index into the probes, index into the hashes)."""
        keys = self._keys(probes)
        for flip in self._flips:
            flipped = keys ^ flip
            starts = self._starts[flipped]
            counts = np.minimum(self._starts[flipped + 1] - starts, MAX_SHARED)
            probe = np.repeat(np.arange(len(probes)), counts)
            within = np.arange(len(probe)) - np.repeat(np.cumsum(counts) - counts, counts)
            yield probe, self._order[np.repeat(starts, counts) + within]

    def _keys(self, hashes: Hashes) -> Indices:
        mask = np.uint64((1 << self._width) - 1)
        return ((hashes >> self._offset) & mask).astype(np.intp)


class HashIndex:
    """Finds the hashes within `bits` bits of others.

    Args:
        hashes: `(N,)` uint64.
        bits: At most `MAX_BITS`.
    """

    def __init__(self, hashes: Hashes, bits: int) -> None:
        if not 0 <= bits <= MAX_BITS:
            raise ValueError(f"near duplicates are 0 to {MAX_BITS} bits apart, not {bits}")
        self._hashes, self._bits = hashes, bits
        flips = int(len(hashes) > LARGE)
        count = bits // 2 + 1 if flips else bits + 1
        edges = np.linspace(0, 64, max(count, 4) + 1).astype(int)
        self._bands = [
            _Band(hashes, low, min(high - low, MAX_BAND_BITS), flips)
            for low, high in pairwise(edges.tolist())
        ]

    def close(self, probes: Hashes) -> Found:
        """Return the pairs of a probe and a hash that are close, each once."""
        found = [np.empty(0, np.intp)]
        for band in self._bands:
            for probe, match in band.sharing(probes):
                distance = np.bitwise_count(probes[probe] ^ self._hashes[match])
                near = distance <= self._bits
                found.append(probe[near] * len(self._hashes) + match[near])
        probe, match = np.divmod(np.unique(np.concatenate(found)), max(len(self._hashes), 1))
        return Found(probe, match, np.bitwise_count(probes[probe] ^ self._hashes[match]))
