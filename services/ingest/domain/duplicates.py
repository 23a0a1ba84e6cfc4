"""Which images show a picture that is there already.

Two steps: hashes within a few bits of each other make *candidates*, thumbprints decide. New images
are looked up nine times, each time displaced a little, because a hash moves more than a picture
does.

The search is by pigeonhole: of two hashes at most `bits` apart, cut into more than `bits` bands,
one band is equal (or, past `LARGE` images, cut into half as many, one band differs in at most one
bit). It is exact as long as no band's value is shared by more than `MAX_SHARED` images; past that
the first ones count, so that ten thousand blank pages cost no more than ten thousand photos.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.ingest.domain.perceptual import (
    SHIFTS,
    THUMBPRINT_BYTES,
    Hashes,
    Thumbprints,
    perceptual_hashes,
    same_picture,
    shifted_hashes,
    stack,
)

MAX_BITS: Final = 16
LARGE: Final = 20_000
MAX_SHARED: Final = 1024
MAX_BAND_BITS: Final = 16
MAX_CANDIDATES: Final = 512
"""Pairs of one image whose thumbprints are compared: the nearest."""
_PROBE_BLOCK: Final = 2048  # hashes looked up at once
_PAIR_BLOCK: Final = 2048  # thumbprint pairs compared at once: 22 MB of float64

Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs of a new image and an earlier one whose hashes are close.

    Args:
        new: `(P,)` index of the new image.
        earlier: `(P,)` index of the earlier one.
        shift: `(P,)` by which displacement of the new one.
    """

    new: Indices
    earlier: Indices
    shift: Indices

    def only(self, chosen: NDArray[np.bool_]) -> Candidates:
        """Return the pairs that are chosen."""
        return Candidates(self.new[chosen], self.earlier[chosen], self.shift[chosen])

    def in_order(self) -> Iterator[tuple[int, int]]:
        """Yield (new, earlier), ascending."""
        order = np.lexsort((self.earlier, self.new))
        yield from zip(self.new[order].tolist(), self.earlier[order].tolist(), strict=True)


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


class Newcomers:
    """Images that arrive, in the order that decides who of two stays.

    Args:
        thumbprints: `(N, 28, 28)` uint8.
        bits: How far apart the hashes of images may be that show the same.
    """

    def __init__(self, thumbprints: Thumbprints, bits: int) -> None:
        self._thumbprints, self._bits = thumbprints, bits
        self._hashes = perceptual_hashes(thumbprints)
        self._probes = shifted_hashes(thumbprints)

    def like(self, known: Hashes) -> Candidates:
        """Return candidates among images that are there already; `earlier` counts those."""
        return _joined(self._candidates(HashIndex(known, self._bits)))

    def repeats(
        self, known: Candidates | None = None, thumbprints: Mapping[int, bytes] | None = None
    ) -> dict[int, int]:
        """Decide which images show what a known image shows, or one before them that stays itself.

        Args:
            known: What `like` found.
            thumbprints: Those of the known images that it names, by their count.

        Returns:
            Index of each such image to what it repeats: -1 - k for the known image k, i for the
            newcomer i.
        """
        repeats = self._repeats_of_known(known, thumbprints or {}) if known is not None else {}
        for block in self._candidates(HashIndex(self._hashes, self._bits), among_us=True):
            gone = np.fromiter(repeats, np.intp, len(repeats))
            open_ = block.only(~np.isin(block.new, gone) & ~np.isin(block.earlier, gone))
            for new, earlier in open_.only(self._same(self._thumbprints, open_)).in_order():
                if new not in repeats and earlier not in repeats:
                    repeats[new] = earlier
        return repeats

    def _candidates(self, earlier: HashIndex, *, among_us: bool = False) -> Iterator[Candidates]:
        """Yield candidates, some newcomers at a time, in their order."""
        step = _PROBE_BLOCK // len(SHIFTS)
        for start in range(0, len(self._probes), step):
            found = earlier.close(self._probes[start : start + step].reshape(-1))
            new, shift = np.divmod(found.probe, len(SHIFTS))
            pairs = Candidates(new + start, found.match, shift)
            before = pairs.earlier < pairs.new if among_us else np.ones(len(new), np.bool_)
            yield _nearest(pairs.only(before), found.distance[before])

    def _repeats_of_known(
        self, known: Candidates, thumbprints: Mapping[int, bytes]
    ) -> dict[int, int]:
        usable = sorted(k for k, v in thumbprints.items() if len(v) == THUMBPRINT_BYTES)
        position = np.asarray(usable, np.intp)
        pairs = known.only(np.isin(known.earlier, position))
        pairs = Candidates(pairs.new, np.searchsorted(position, pairs.earlier), pairs.shift)
        others = stack([thumbprints[k] for k in usable])
        repeats: dict[int, int] = {}
        for new, earlier in pairs.only(self._same(others, pairs)).in_order():
            repeats.setdefault(new, -1 - usable[earlier])
        return repeats

    def _same(self, earlier: Thumbprints, pairs: Candidates) -> NDArray[np.bool_]:
        """Tell of each pair whether its thumbprints show the same picture."""
        same = np.zeros(len(pairs.new), np.bool_)
        for start in range(0, len(same), _PAIR_BLOCK):
            part = slice(start, start + _PAIR_BLOCK)
            new = self._thumbprints[pairs.new[part]]
            same[part] = same_picture(new, earlier[pairs.earlier[part]], pairs.shift[part])
        return same


def _nearest(pairs: Candidates, distance: NDArray[np.uint8]) -> Candidates:
    """Return the nearest `MAX_CANDIDATES` pairs of each newcomer."""
    order = np.lexsort((pairs.earlier, distance, pairs.new))
    new = pairs.new[order]
    rank = np.arange(len(new)) - np.searchsorted(new, new)
    return Candidates(new, pairs.earlier[order], pairs.shift[order]).only(rank < MAX_CANDIDATES)


def _joined(blocks: Iterable[Candidates]) -> Candidates:
    parts = list(blocks) or [Candidates(*(np.empty(0, np.intp),) * 3)]
    new, earlier, shift = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("new", "earlier", "shift")
    )
    return Candidates(new, earlier, shift)
