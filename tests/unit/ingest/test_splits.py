"""Splits by hash: stable, in their shares, and a test split that is frozen."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from loopline.digests import sha256_hex
from services.ingest.domain.splits import Shares, assign_split

ASSETS = [sha256_hex(str(n).encode()) for n in range(4000)]


def shares(*, test_is_open: bool) -> dict[str, float]:
    counts = Counter(assign_split(a, Shares(0.1, 0.2), test_is_open=test_is_open) for a in ASSETS)
    return {split: count / len(ASSETS) for split, count in counts.items()}


def test_splits_get_their_shares_while_the_test_split_is_open() -> None:
    found = shares(test_is_open=True)
    assert abs(found["test"] - 0.2) < 0.02
    assert abs(found["val"] - 0.1) < 0.02


def test_nothing_goes_to_a_frozen_test_split() -> None:
    found = shares(test_is_open=False)
    assert set(found) == {"train", "val"}
    assert abs(found["val"] - 0.125) < 0.02


def test_training_items_stay_training_items_when_the_test_split_freezes() -> None:
    for asset in ASSETS[:500]:
        before = assign_split(asset, Shares(), test_is_open=True)
        after = assign_split(asset, Shares(), test_is_open=False)
        assert before in (after, "test")


@given(st.binary(), st.floats(0, 0.49), st.floats(0, 0.49), st.booleans())
def test_split_depends_on_the_asset_alone(
    data: bytes, val: float, test: float, is_open: bool
) -> None:
    asset = sha256_hex(data)
    splits = {assign_split(asset, Shares(val, test), test_is_open=is_open) for _ in range(2)}
    assert len(splits) == 1
    assert splits <= {"train", "val", "test"}
