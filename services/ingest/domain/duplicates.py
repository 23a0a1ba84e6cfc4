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
    THUMBPRINT_BYTES,
    Hashes,
    Thumbprints,
    same_picture,
    stack,
)

MAX_BITS: Final = 16
LARGE: Final = 20_000
MAX_SHARED: Final = 1024
MAX_BAND_BITS: Final = 16
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

    def close(self, probes: Hashes) -> tuple[Indices, Indices]:
        """Return pairs (index into the probes, index into the hashes), sorted, each once."""
        found = [np.empty(0, np.intp)]
        for band in self._bands:
            for probe, match in band.sharing(probes):
                distance = np.bitwise_count(probes[probe] ^ self._hashes[match])
                near = distance <= self._bits
                found.append(probe[near] * len(self._hashes) + match[near])
        return np.divmod(np.unique(np.concatenate(found)), max(len(self._hashes), 1))


def candidates(
    earlier: HashIndex, probes: Hashes, *, before: Indices | None = None
) -> Iterator[Candidates]:
    """Yield the candidates of new images, a block of them at a time.

    Args:
        earlier: The images that may have been there before.
        probes: `(N, S)` the hash of each new image in each displacement.
        before: `(N,)` of each new image, only earlier ones with a smaller index count; all if None.
    """
    count = probes.shape[1]
    step = max(1, _PROBE_BLOCK // count)
    for start in range(0, len(probes), step):
        probe, match = earlier.close(probes[start : start + step].reshape(-1))
        new, shift = np.divmod(probe, count)
        new += start
        found = Candidates(new, match, shift)
        yield found if before is None else found.only(match < before[new])


def find_near_duplicates(
    thumbprints: Thumbprints,
    hashes: Hashes,
    probes: Hashes,
    bits: int,
    known: Candidates | None = None,
    known_thumbprints: Mapping[int, bytes] | None = None,
) -> dict[int, int]:
    """Decide which of some images to drop because an earlier one shows the same.

    An image is compared with known images and with those before it that are kept themselves; so the
    answer depends on the order of the images, and on nothing else.

    Args:
        thumbprints: `(N, 28, 28)` uint8, in the order that decides who stays.
        hashes: `(N,)` their hashes.
        probes: `(N, 9)` their displaced hashes.
        bits: How far apart hashes may be.
        known: Candidates among images that are kept whatever happens; `earlier` counts them.
        known_thumbprints: Thumbprints of those, by their count.

    Returns:
        Index of each dropped image to what it repeats: -1 - k for the known image k, i for the
        image i.
    """
    repeats = _repeats_of_known(thumbprints, known, known_thumbprints or {})
    index = HashIndex(hashes, bits)
    for block in candidates(index, probes, before=np.arange(len(hashes))):
        gone = np.fromiter(repeats, np.intp, len(repeats))
        undecided = block.only(~np.isin(block.new, gone) & ~np.isin(block.earlier, gone))
        same = undecided.only(_same(thumbprints, thumbprints, undecided))
        for new, earlier in same.in_order():
            if new not in repeats and earlier not in repeats:
                repeats[new] = earlier
    return repeats


def join(blocks: Iterable[Candidates]) -> Candidates:
    """Return several blocks as one."""
    parts = list(blocks) or [Candidates(*(np.empty(0, np.intp),) * 3)]
    new, earlier, shift = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("new", "earlier", "shift")
    )
    return Candidates(new, earlier, shift)


def _repeats_of_known(
    thumbprints: Thumbprints, known: Candidates | None, known_thumbprints: Mapping[int, bytes]
) -> dict[int, int]:
    usable = sorted(k for k, v in known_thumbprints.items() if len(v) == THUMBPRINT_BYTES)
    if known is None or not usable:
        return {}
    position = np.asarray(usable, np.intp)
    pairs = known.only(np.isin(known.earlier, position))
    pairs = Candidates(pairs.new, np.searchsorted(position, pairs.earlier), pairs.shift)
    others = stack([known_thumbprints[k] for k in usable])
    repeats: dict[int, int] = {}
    for new, earlier in pairs.only(_same(thumbprints, others, pairs)).in_order():
        repeats.setdefault(new, -1 - usable[earlier])
    return repeats


def _same(new: Thumbprints, earlier: Thumbprints, pairs: Candidates) -> NDArray[np.bool_]:
    """Tell of each pair whether its thumbprints show the same picture."""
    same = np.zeros(len(pairs.new), np.bool_)
    for start in range(0, len(same), _PAIR_BLOCK):
        part = slice(start, start + _PAIR_BLOCK)
        same[part] = same_picture(
            new[pairs.new[part]], earlier[pairs.earlier[part]], pairs.shift[part]
        )
    return same
