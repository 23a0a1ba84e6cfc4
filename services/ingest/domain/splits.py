"""Which split an item goes to, where nobody says.

Labeled items that fill the test split are divided class by class, so that each split has its share
of each; all others by a hash of the asset alone, so that an item has the same split whenever and in
whatever company it arrives. Images that show the same picture stay together: a test image that the
network was trained on, a pixel apart, says nothing.

The test split is frozen: it is filled by the first import that brings labels and does not name its
own, from labeled items alone, and never grows by itself afterwards; else two models, one trained
before a second import and one after, could not be compared. What looks like an image of the frozen
split goes to none.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

TRAIN, VAL, TEST, NONE = "train", "val", "test", ""
TESTED_FROM = 3
"""Labeled items of a class from which at least one is tested on, if any are to be."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of what arrives goes to each split, in [0, 1) together; the rest is for training."""

    val: float = 0.1
    test: float = 0.15


@dataclass(frozen=True, slots=True)
class Newcomer:
    """An item that needs a split.

    Args:
        asset: sha256 of the image, 64 hex digits.
        classes: Of its labels; empty where it shows nothing.
        labeled: Whether its labels are complete.
        like: The asset that shows the same picture and is there already, or stands for all that
            show it; its own where there is none.
        like_split: The split of that asset, if it has one already; None if it arrives too.
    """

    asset: str
    classes: tuple[str, ...] = ()
    labeled: bool = False
    like: str = ""
    like_split: str | None = None

    @property
    def group(self) -> str:
        """What all that show the same picture have in common."""
        return self.like or self.asset


def assign_splits(
    newcomers: Iterable[Newcomer], shares: Shares, *, test_is_open: bool
) -> dict[str, str]:
    """Return the split of each item by asset.

    Args:
        newcomers: In any order.
        shares: How much goes where.
        test_is_open: The test split is being filled.
    """
    groups: defaultdict[str, list[Newcomer]] = defaultdict(list)
    for newcomer in sorted(newcomers, key=lambda one: one.asset):
        groups[newcomer.group].append(newcomer)
    splits: dict[str, str] = {}
    to_divide: dict[str, list[Newcomer]] = {}
    for name, members in groups.items():
        given = next((m.like_split for m in members if m.like_split is not None), None)
        if given is not None:
            splits[name] = NONE if given == TEST else given
        elif test_is_open and any(member.labeled for member in members):
            to_divide[name] = members
        else:
            splits[name] = assign_split(name, shares)
    splits |= _divided(to_divide, shares)
    return {
        member.asset: _allowed(splits[name], member)
        for name, members in groups.items()
        for member in members
    }


def assign_split(asset: str, shares: Shares) -> str:
    """Return "train" or "val", by the asset alone.

    Example:
        >>> assign_split("0" * 64, Shares(val=0.0, test=0.0))
        'train'
    """
    return VAL if _place(asset) < shares.val / (1 - shares.test) else TRAIN


def _allowed(split: str, member: Newcomer) -> str:
    """Nothing is tested on that nobody labeled; it shows what is tested, so it is left out."""
    return NONE if split == TEST and not member.labeled else split


def _divided(groups: Mapping[str, Sequence[Newcomer]], shares: Shares) -> dict[str, str]:
    """Divide groups of labeled items class by class, in the order of their hashes."""
    counts = Counter(name for members in groups.values() for name in _classes(members))
    strata: defaultdict[str, list[str]] = defaultdict(list)
    for name, members in groups.items():
        # An item with several classes counts for the rarest, which can spare it least.
        rarest = min(_classes(members), key=lambda c: (counts[c], c), default="")
        strata[rarest].append(name)
    splits: dict[str, str] = {}
    for stratum, names in strata.items():
        names.sort(key=lambda name: (_place(name), name))
        sizes = [len(groups[name]) for name in names]
        tested = _count(sum(sizes), shares.test, f"{stratum}/test")
        least = 1 if shares.test and sum(sizes) >= TESTED_FROM else 0
        tested = min(max(tested, least), sum(sizes) - 1)
        validated = _count(sum(sizes), shares.val, f"{stratum}/val")
        validated = min(validated, sum(sizes) - tested - 1)  # one is left to train on
        taken = 0
        for name, size in zip(names, sizes, strict=True):
            # Each group goes where its middle falls, so that large groups do not all fall low.
            middle = taken + size / 2
            taken += size
            is_tested, is_validated = middle < tested, middle < tested + validated
            splits[name] = TEST if is_tested else VAL if is_validated else TRAIN
    return splits


def _count(items: int, share: float, name: str) -> int:
    """Return how many items are a share of them, rounded up or down as a hash of the name says.

    Else a hundred classes of three items each would all be rounded the same way.
    """
    whole, rest = divmod(items * share, 1)
    return int(whole) + (rest > _place(name))


def _classes(members: Iterable[Newcomer]) -> list[str]:
    return sorted({name for member in members for name in member.classes})


def _place(asset: str) -> float:
    """A number in [0, 1) that the asset alone decides, and nothing else is decided by."""
    digest = hashlib.sha256(b"loopline/split/1:" + asset.encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
