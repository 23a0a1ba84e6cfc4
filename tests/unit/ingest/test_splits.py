"""Splits: in their shares class by class, stable, frozen; look-alikes are never divided."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.digests import sha256_hex
from services.ingest.domain.splits import Newcomer, Shares, assign_split, assign_splits

ASSETS = [sha256_hex(str(n).encode()) for n in range(4000)]
SHARES = Shares(val=0.1, test=0.2)


def labeled(asset: str, *classes: str, **fields: Any) -> Newcomer:
    return Newcomer(asset, classes or ("coat",), True, **fields)


def divided(newcomers: list[Newcomer], *, test_is_open: bool = True) -> dict[str, str]:
    return assign_splits(newcomers, SHARES, test_is_open=test_is_open)


@pytest.mark.parametrize("count", [1000, 100, 37, 10])
def test_every_class_has_its_share_in_every_split(count: int) -> None:
    """To the item: what a draw without strata would only give on average."""
    sizes = {"coat": count, "shirt": 3 * count, "bag": 2 * count}
    assets = iter(ASSETS * 2)
    newcomers = [
        labeled(sha256_hex(f"{name}{n}{next(assets)}".encode()), name)
        for name, size in sizes.items()
        for n in range(size)
    ]
    splits = divided(newcomers)
    for name, size in sizes.items():
        found = Counter(splits[one.asset] for one in newcomers if one.classes == (name,))
        assert abs(found["test"] - 0.2 * size) <= 1
        assert abs(found["val"] - 0.1 * size) <= 1
        assert sum(found.values()) == size


def test_a_rare_class_is_trained_and_tested_on() -> None:
    common = [labeled(asset, "coat") for asset in ASSETS[:500]]
    rare = [labeled(asset, "hat") for asset in ASSETS[500:503]]
    splits = divided([*common, *rare])
    assert Counter(splits[one.asset] for one in rare)["test"] == 1
    assert Counter(splits[one.asset] for one in rare)["train"] >= 1


def test_a_class_with_one_item_is_trained_on() -> None:
    splits = divided([labeled(ASSETS[0], "hat"), *(labeled(a) for a in ASSETS[1:100])])
    assert splits[ASSETS[0]] == "train"


def test_an_image_with_several_classes_counts_for_the_rarest() -> None:
    """Thirty scenes show the one bicycle that is rare among cars: a fifth of them is tested."""
    cars = [labeled(asset, "car") for asset in ASSETS[:970]]
    both = [labeled(asset, "car", "bicycle") for asset in ASSETS[970:1000]]
    splits = divided([*cars, *both])
    assert abs(Counter(splits[one.asset] for one in both)["test"] - 6) <= 1


def test_many_small_classes_have_their_share_together() -> None:
    newcomers = [labeled(asset, f"class{n // 2}") for n, asset in enumerate(ASSETS)]
    found = Counter(divided(newcomers).values())
    assert abs(found["test"] / len(ASSETS) - 0.2) < 0.02


def test_the_order_of_arrival_does_not_matter() -> None:
    newcomers = [labeled(asset, f"class{n % 7}") for n, asset in enumerate(ASSETS[:500])]
    shuffled = random.Random(0).sample(newcomers, len(newcomers))
    assert divided(shuffled) == divided(newcomers)


def test_nothing_goes_to_a_frozen_test_split() -> None:
    found = Counter(divided([labeled(a) for a in ASSETS], test_is_open=False).values())
    assert set(found) == {"train", "val"}
    assert abs(found["val"] / len(ASSETS) - 0.125) < 0.02


def test_nobody_is_tested_on_what_nobody_labeled() -> None:
    splits = divided([Newcomer(asset) for asset in ASSETS[:1000]])
    assert set(splits.values()) == {"train", "val"}


@given(st.binary(), st.floats(0, 0.49), st.floats(0, 0.49))
def test_without_labels_the_asset_alone_decides(data: bytes, val: float, test: float) -> None:
    asset, shares = sha256_hex(data), Shares(val, test)
    alone = assign_splits([Newcomer(asset)], shares, test_is_open=True)[asset]
    company = [Newcomer(asset), *map(Newcomer, ASSETS[:20])]
    assert assign_splits(company, shares, test_is_open=True)[asset] == alone
    assert alone == assign_split(asset, shares)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=60))
def test_what_looks_alike_is_never_divided(drawn: list[tuple[int, int]]) -> None:
    """Whatever the groups and classes: one split, or none for what nobody labeled."""
    newcomers = [
        labeled(ASSETS[100 + n], f"class{class_}", like=ASSETS[group])
        for n, (group, class_) in enumerate(drawn)
    ]
    splits = divided(newcomers)
    by_group: dict[str, set[str]] = {}
    for one in newcomers:
        by_group.setdefault(one.like, set()).add(splits[one.asset])
    assert all(len(found) == 1 for found in by_group.values())


def test_a_burst_of_one_scene_does_not_fill_the_test_split() -> None:
    """Ninety frames of a hundred show the same: together they are more than a fifth."""
    burst = [labeled(asset, like=ASSETS[0]) for asset in ASSETS[:90]]
    others = [labeled(asset) for asset in ASSETS[90:100]]
    splits = divided([*burst, *others])
    assert splits[ASSETS[0]] == "train"


@pytest.mark.parametrize(
    ("there", "expected"), [("train", "train"), ("val", "val"), ("test", ""), ("", "")]
)
def test_what_looks_like_an_item_joins_it_but_never_a_frozen_test_split(
    there: str, expected: str
) -> None:
    newcomer = labeled(ASSETS[0], like=ASSETS[1], like_split=there)
    assert divided([newcomer], test_is_open=False) == {ASSETS[0]: expected}


def test_an_unlabeled_image_that_shows_what_is_tested_is_in_no_split() -> None:
    pairs = [
        (labeled(a, like=a), Newcomer(b, like=a))
        for a, b in zip(ASSETS[:300:2], ASSETS[1:300:2], strict=True)
    ]
    splits = divided([one for pair in pairs for one in pair])
    seen = {(splits[one.asset], splits[other.asset]) for one, other in pairs}
    assert seen == {("train", "train"), ("val", "val"), ("test", "")}
