"""Which images show a picture that is there already.

Two steps: hashes within a few bits of each other make *candidates*, thumbprints decide. New images
are looked up nine times, each time displaced a little, because a hash moves more than a picture
does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loopline.vision.hash_index import HashIndex, Indices
from loopline.vision.perceptual import (
    SHIFTS,
    THUMBPRINT_BYTES,
    Hashes,
    Thumbprints,
    perceptual_hashes,
    same_picture,
    shifted_hashes,
    stack,
)

MAX_CANDIDATES: Final = 512
"""Pairs of one image whose thumbprints are compared: the nearest."""
_CROWD_ROUNDS: Final = 8
_UNMOVED: Final = SHIFTS.index((0, 0))
_PROBE_BLOCK: Final = 2048  # hashes looked up at once
_PAIR_BLOCK: Final = 2048  # thumbprint pairs compared at once: 22 MB of float64


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


class Newcomers:
    """Images that arrive, in the order that decides who of two stays.

    Args:
        thumbprints: `(N, 28, 28)` uint8.
        bits: How far apart the hashes of images may be that show the same.
    """

    def __init__(self, thumbprints: Thumbprints, bits: int) -> None:
        self._bits = bits
        hashes = perceptual_hashes(thumbprints)
        self._copy_of = _copies(thumbprints, hashes)
        # Where the images that are looked up lie among all.
        self._places = np.delete(np.arange(len(thumbprints)), list(self._copy_of))
        self._thumbprints, self._hashes = thumbprints[self._places], hashes[self._places]
        self._probes = shifted_hashes(self._thumbprints)

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
        found = self._repeats(known, thumbprints or {})
        places = self._places.tolist()
        repeats = {places[n]: e if e < 0 else places[e] for n, e in found.items()}
        # A copy goes where its original goes.
        return repeats | {copy: repeats.get(n, n) for copy, n in self._copy_of.items()}

    def _repeats(
        self, known: Candidates | None, thumbprints: Mapping[int, bytes]
    ) -> dict[int, int]:
        repeats = self._repeats_of_known(known, thumbprints) if known is not None else {}
        for block in self._candidates(HashIndex(self._hashes, self._bits), among_us=True):
            gone = np.fromiter(repeats, np.intp, len(repeats))
            open_ = block.only(~np.isin(block.new, gone) & ~np.isin(block.earlier, gone))
            for new, earlier in self._alike(open_):
                if new not in repeats and earlier not in repeats:
                    repeats[new] = earlier
        return repeats

    def _alike(self, pairs: Candidates) -> Iterator[tuple[int, int]]:
        """Yield the pairs that show the same picture, (new, earlier), ascending."""
        yield from pairs.only(_same(self._thumbprints, self._thumbprints, pairs)).in_order()

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
        for new, earlier in pairs.only(_same(self._thumbprints, others, pairs)).in_order():
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


def _copies(thumbprints: Thumbprints, hashes: Hashes) -> dict[int, int]:
    """Return the images that have the hash of an earlier one and show the same: copy to original.

    A crowd of blank pages, or a camera that sees nothing move, is thinned out here in a few rounds:
    in each, the first image of every hash is compared with the others.
    """
    copies: dict[int, int] = {}
    waiting = np.argsort(hashes, kind="stable")
    for _ in range(_CROWD_ROUNDS):
        _, first, group = np.unique(hashes[waiting], return_index=True, return_inverse=True)
        originals = waiting[first][group]
        others = waiting != originals
        waiting, originals = waiting[others], originals[others]
        if not len(waiting):
            break
        pairs = Candidates(waiting, originals, np.full(len(waiting), _UNMOVED))
        same = _same(thumbprints, thumbprints, pairs)
        copies |= dict(zip(waiting[same].tolist(), originals[same].tolist(), strict=True))
        waiting = waiting[~same]
    return copies
