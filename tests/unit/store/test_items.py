"""Rows: their digests, their columns, their counters, and the digest of a split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.digests import sha256_hex
from loopline.errors import Rejected
from loopline.store.items import (
    DELIVERIES,
    ITEMS,
    PREDICTIONS,
    DeliveredObject,
    Item,
    Prediction,
    Shape,
    split_digest,
)
from loopline.testing.rows import asset, item, labeled

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DIGESTS = st.binary(min_size=1, max_size=4).map(sha256_hex)
SHAPES = st.builds(
    Shape,
    id=TEXT,
    class_name=TEXT,
    bbox_xyxy=st.none() | st.tuples(FLOATS, FLOATS, FLOATS, FLOATS),
    polygon=st.none() | st.lists(FLOATS, max_size=8).map(tuple),
    mask_rle=st.none() | TEXT,
    confidence=st.none() | st.floats(0, 1),
    source=TEXT,
    edited_from=TEXT,
    review=st.sampled_from(["", "accepted", "rejected"]),
)
SHAPE_LISTS = st.lists(SHAPES, max_size=3).map(tuple)
ITEM_ROWS = st.builds(
    Item,
    asset=DIGESTS,
    media_type=TEXT,
    size_bytes=st.integers(0, 2**63),
    width_px=st.integers(0, 2**32 - 1),
    height_px=st.integers(0, 2**32 - 1),
    split=st.sampled_from(["", "train", "val", "test"]),
    tags=st.lists(TEXT, max_size=2).map(tuple),
    source=TEXT,
    phash=st.integers(0, 2**64 - 1),
    thumbprint=st.binary(max_size=1024),
    labeled=st.booleans(),
    shapes=SHAPE_LISTS,
    parent=st.just("") | DIGESTS,
)


@given(st.lists(ITEM_ROWS, max_size=5))
def test_items_come_back_as_they_were(rows: list[Item]) -> None:
    assert ITEMS.rows(ITEMS.encode(rows)) == rows


@given(
    st.lists(
        st.builds(Prediction, DIGESTS, SHAPE_LISTS, st.lists(FLOATS, max_size=4).map(tuple)),
        max_size=5,
    )
)
def test_predictions_come_back_as_they_were(rows: list[Prediction]) -> None:
    assert PREDICTIONS.rows(PREDICTIONS.encode(rows)) == rows


@given(st.lists(st.builds(DeliveredObject, DIGESTS, TEXT, DIGESTS, DIGESTS, DIGESTS), max_size=5))
def test_delivered_objects_come_back_as_they_were(rows: list[DeliveredObject]) -> None:
    assert DELIVERIES.rows(DELIVERIES.encode(rows)) == rows


@given(ITEM_ROWS, ITEM_ROWS)
def test_rows_have_the_same_digest_if_and_only_if_they_are_equal(one: Item, other: Item) -> None:
    assert (ITEMS.row_digest(one) == ITEMS.row_digest(other)) == (one == other)


@given(ITEM_ROWS)
def test_a_row_read_back_has_the_digest_it_was_written_with(row: Item) -> None:
    (again,) = ITEMS.rows(ITEMS.encode([row]))
    assert ITEMS.row_digest(again) == ITEMS.row_digest(row)


def test_a_rows_digest_is_the_documented_one_for_ever() -> None:
    """Versions in the log name these digests: a change of either line breaks every one of them."""
    plain = Item("a" * 64, "image/png", 1, 2, 3)
    box = Shape("1", "shirt", bbox_xyxy=(0, 1, 2.5, 3), confidence=0.5, source="model:x")
    full = replace(plain, split="test", tags=("b", "a"), phash=2**64 - 1, thumbprint=b"\x00\xff")
    assert ITEMS.row_digest(plain) == (
        "44d0e5fd10fde8692aa443b27cb8db228c6d1b07e67b344b746225b46705be64"
    )
    assert ITEMS.row_digest(replace(full, labeled=True, shapes=(box,), source="s3://x/ü")) == (
        "99b5c6984024ba5654c4718b05fd12a08660008fa29044c04f51dfe08c18ccbd"
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("media_type", "image/jpeg", id="media_type"),
        pytest.param("size_bytes", 2, id="size_bytes"),
        pytest.param("width_px", 2, id="width_px"),
        pytest.param("height_px", 2, id="height_px"),
        pytest.param("split", "test", id="split"),
        pytest.param("tags", ("x",), id="tags"),
        pytest.param("source", "s3://elsewhere", id="source"),
        pytest.param("phash", 1, id="phash"),
        pytest.param("thumbprint", b"x", id="thumbprint"),
        pytest.param("labeled", True, id="labeled"),
        pytest.param("shapes", (Shape("1", "coat"),), id="shapes"),
        pytest.param("parent", "b" * 64, id="parent"),
    ],
)
def test_every_field_of_an_item_is_part_of_its_digest(field: str, value: Any) -> None:
    assert ITEMS.row_digest(replace(item(1), **{field: value})) != ITEMS.row_digest(item(1))


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(Shape("1", "coat", bbox_xyxy=(1, 2, 3, 4)), id="whole numbers"),
        pytest.param(Shape("1", "coat", polygon=(-0.0, 1, 2, 3, 4, 5)), id="minus zero"),
    ],
)
def test_equal_numbers_have_equal_digests(shape: Shape) -> None:
    row = item(1, shapes=(shape,))
    (again,) = ITEMS.rows(ITEMS.encode([row]))
    assert again == row
    assert ITEMS.row_digest(again) == ITEMS.row_digest(row)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param(replace(item(1), asset="A" * 64), "64 lower-case hex", id="upper case id"),
        pytest.param(replace(item(1), asset="a" * 63), "64 lower-case hex", id="short id"),
        pytest.param(replace(item(1), asset="photo.png"), "64 lower-case hex", id="name as id"),
        pytest.param(item(1, thumbprint=b"x" * 1025), "1024", id="large thumbprint"),
        pytest.param(item(1, phash=2**64), "canonical form", id="hash of 65 bits"),
        pytest.param(item(1, phash=-1), "does not fit", id="negative hash"),
        pytest.param(item(1, split=None), "has no split", id="no split"),
        pytest.param(item(1, split=3), "does not fit", id="number as split"),
        pytest.param(item(1, source="\ud800"), "canonical form", id="lone surrogate"),
        pytest.param(
            item(1, shapes=(Shape("1", "coat", bbox_xyxy=(0, 0, float("nan"), 1)),)),
            "not finite",
            id="NaN in a box",
        ),
        pytest.param(
            item(1, shapes=(Shape("1", "coat", confidence=float("inf")),)),
            "not finite",
            id="infinite confidence",
        ),
        pytest.param(
            item(1, shapes=(Shape("1", "coat", bbox_xyxy=(0, 0, 1)),)),  # type: ignore[arg-type]
            "4 numbers",
            id="box of three numbers",
        ),
    ],
)
def test_a_row_that_cannot_be_kept_is_refused_with_its_reason(row: Item, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        ITEMS.encode([item(2), row])


def test_a_text_that_says_null_is_no_missing_number() -> None:
    assert ITEMS.rows(ITEMS.encode([item(1, tags=("null",))]))[0].tags == ("null",)


def test_columns_that_were_not_read_have_their_default() -> None:
    table = ITEMS.encode([labeled(1, "coat", thumbprint=b"x")]).select(["asset", "split"])
    assert ITEMS.rows(table) == [Item(asset(1), "", 0, 0, 0, split="train")]


def test_statistics_count_items_by_split_label_and_class() -> None:
    both = (Shape("1", "coat"), Shape("2", "shirt"), Shape("3", "coat"))
    rows = [
        item(1),
        labeled(2, "coat"),
        labeled(3, "shirt", "test"),
        labeled(4, "", shapes=both),
        item(5, split="test"),
        labeled(6, "", shapes=(Shape("1", "bag", review="rejected"),)),
    ]
    assert ITEMS.statistics(ITEMS.encode(rows)) == {
        "class:coat": 2,
        "class:shirt": 2,
        "items": 6,
        "labeled": 4,
        "labeled:test": 1,
        "labeled:train": 3,
        "split:test": 2,
        "split:train": 3,
    }


@given(st.permutations([labeled(n, "coat", "test") for n in range(6)]))
def test_a_splits_digest_does_not_know_the_order(rows: list[Item]) -> None:
    assert split_digest(rows) == split_digest(labeled(n, "coat", "test") for n in range(6))


def test_a_split_without_rows_has_no_digest() -> None:
    assert split_digest([]) == ""


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param(labeled(1, "coat", tags=("x",), phash=5), True, id="tags and hash"),
        pytest.param(
            labeled(1, "", shapes=(Shape("9", "coat", source="model:y", confidence=0.5),)),
            True,
            id="who drew it",
        ),
        pytest.param(
            labeled(1, "", shapes=(Shape("1", "coat", review="accepted"),)), True, id="accepted"
        ),
        pytest.param(
            labeled(1, "", shapes=(Shape("2", "bag", review="rejected"), Shape("1", "coat"))),
            True,
            id="a rejected one more",
        ),
        pytest.param(labeled(1, "shirt"), False, id="class"),
        pytest.param(labeled(2, "coat"), False, id="asset"),
        pytest.param(item(1, labeled=True), False, id="no shape"),
        pytest.param(
            labeled(1, "", shapes=(Shape("1", "coat", bbox_xyxy=(0, 0, 1, 1)),)), False, id="box"
        ),
        pytest.param(
            labeled(1, "", shapes=(Shape("1", "coat"), Shape("2", "coat"))), False, id="twice"
        ),
    ],
)
def test_a_splits_digest_is_about_assets_and_labels(other: Item, same: bool) -> None:
    assert (split_digest([other]) == split_digest([labeled(1, "coat")])) == same


def test_the_order_of_shapes_is_no_part_of_the_labels() -> None:
    shapes = (Shape("1", "coat"), Shape("2", "bag", bbox_xyxy=(0, 0, 1, 1)))
    one, other = item(1, shapes=shapes), item(1, shapes=shapes[::-1])
    assert split_digest([one]) == split_digest([other])
