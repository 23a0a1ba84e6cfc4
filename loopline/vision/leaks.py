"""Whether the splits of a dataset leak: images of one picture in two of them.

A model that was trained on a picture is measured too well on its copy. Found are copies that a
perceptual hash and a thumbprint tell (moved by a little, brighter, smaller, encoded again), and
items made from an item of another split, as augmentation makes them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from loopline.vision.duplicates import Newcomers
from loopline.vision.perceptual import THUMBPRINT_BYTES, perceptual_hashes, stack

BITS: Final = 6  # of 64, by which the hashes of two images of one picture may differ
PAIRS: Final = (("test", "train"), ("test", "val"), ("val", "train"))
"""What must not be seen in what."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An item, as far as leaks go.

    Args:
        asset: Its id.
        split: "train", "val", "test", or empty.
        thumbprint: 784 bytes; without them only its parent is looked at.
        parent: Asset it was made from; empty if none.
    """

    asset: str
    split: str
    thumbprint: bytes = b""
    parent: str = ""


@dataclass(frozen=True, slots=True)
class Leak:
    """Two items that belong together, in two splits.

    Args:
        asset: The one that is measured on.
        split: Its split.
        other: The one that is learned from.
        other_split: Its split.
        reason: They show the same picture, or one was made from the other.
    """

    asset: str
    split: str
    other: str
    other_split: str
    reason: Literal["same picture", "made from it"]


def find_leaks(samples: Iterable[Sample], bits: int = BITS) -> list[Leak]:
    """Return the leaks, those of the test split first; an item once for each pair of splits.

    Args:
        samples: Items of a dataset version; those in no split are not looked at.
        bits: How far hashes of one picture may be apart.
    """
    by_split: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_split[sample.split].append(sample)
    leaks: list[Leak] = []
    for measured, learned in PAIRS:
        leaks += _derived(by_split[measured], by_split[learned])
        leaks += _alike(by_split[measured], by_split[learned], bits)
    return leaks


def _derived(measured: Sequence[Sample], learned: Sequence[Sample]) -> list[Leak]:
    there = {sample.asset: sample for sample in measured}
    made_from = {sample.parent: sample for sample in measured if sample.parent}
    found = []
    for sample in learned:
        one = there.get(sample.parent) or made_from.get(sample.asset)
        if one is not None:
            pair = (one.asset, one.split, sample.asset, sample.split)
            found.append(Leak(*pair, "made from it"))
    return found


def _alike(measured: Sequence[Sample], learned: Sequence[Sample], bits: int) -> list[Leak]:
    known = [sample for sample in measured if len(sample.thumbprint) == THUMBPRINT_BYTES]
    new = [sample for sample in learned if len(sample.thumbprint) == THUMBPRINT_BYTES]
    if not known or not new:
        return []
    newcomers = Newcomers(stack([sample.thumbprint for sample in new]), bits)
    candidates = newcomers.like(perceptual_hashes(stack([s.thumbprint for s in known])))
    prints = {place: known[place].thumbprint for place in set(candidates.earlier.tolist())}
    found = []
    for place, earlier in sorted(newcomers.repeats(candidates, prints).items()):
        if earlier < 0:
            one, other = known[-1 - earlier], new[place]
            pair = (one.asset, one.split, other.asset, other.split)
            found.append(Leak(*pair, "same picture"))
    return found
