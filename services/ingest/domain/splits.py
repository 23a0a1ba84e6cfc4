"""Which split an item goes to, where nobody says.

By a hash of the asset, so that an item has the same split whenever and in whatever company it
arrives. The test split is frozen: it is filled by the first import that brings labels and does not
name its own, from labeled items alone, and never grows by itself afterwards; else two models, one
trained before a second import and one after, could not be compared.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

TRAIN, VAL, TEST = "train", "val", "test"


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of what arrives goes to each split, in [0, 1) together; the rest is for training."""

    val: float = 0.1
    test: float = 0.15


def assign_split(asset: str, shares: Shares, *, test_is_open: bool) -> str:
    """Return "train", "val" or "test".

    Args:
        asset: sha256 of the image, 64 hex digits.
        shares: How much goes where.
        test_is_open: The item is labeled, and the test split is being filled.

    Example:
        >>> assign_split("0" * 64, Shares(val=0.0, test=0.0), test_is_open=True)
        'train'
    """
    place = _place(asset)
    if place < shares.test:
        if test_is_open:
            return TEST
        place = place / shares.test  # what would be tested is divided as the rest is
    else:
        place = (place - shares.test) / (1 - shares.test)
    return VAL if place < shares.val / (1 - shares.test) else TRAIN


def _place(asset: str) -> float:
    """A number in [0, 1) that the asset alone decides, and nothing else is decided by."""
    digest = hashlib.sha256(b"loopline/split/1:" + asset.encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
