"""Plans, slices and findings survive storage, and equal ones are equal bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.checks import Rules
from services.ingest.domain.drops import Drop, Reason
from services.ingest.domain.labels import KnownLabels, KnownShape, LabelProblem
from services.ingest.domain.plan import (
    Arrival,
    Entry,
    Findings,
    Listed,
    Plan,
    decode_findings,
    decode_slice,
    encode_findings,
    encode_slice,
    slices,
    source_uri,
)
from services.ingest.domain.request import Request
from services.ingest.domain.splits import Shares

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
shapes = st.builds(
    KnownShape,
    class_name=st.text(max_size=5),
    bbox_xyxy=st.none() | st.tuples(numbers, numbers, numbers, numbers),
    line=st.integers(0, 10**7),
    polygon=st.none() | st.lists(numbers, min_size=6, max_size=8).map(tuple),
    mask_rle=st.none() | st.text(max_size=9),
)
labels = st.builds(
    KnownLabels,
    shapes=st.lists(shapes, max_size=3).map(tuple),
    split=st.sampled_from(["", "train", "test"]),
    complete=st.booleans(),
    nothing=st.booleans(),
    tags=st.lists(st.text(max_size=4), max_size=2).map(tuple),
)
listed = st.builds(
    Listed, key=keys, etag=st.text("0123456789abcdef-"), size_bytes=st.integers(0, 2**40)
)
arrivals = st.builds(
    Arrival,
    key=keys,
    asset=st.text("0123456789abcdef", min_size=64, max_size=64),
    media_type=st.just("image/png"),
    size_bytes=st.integers(0, 2**40),
    width_px=st.integers(1, 2**31),
    height_px=st.integers(1, 2**31),
    phash=st.integers(0, 2**64 - 1),
    thumbprint=st.binary(min_size=784, max_size=784),
    labels=st.none() | labels,
)
drops = st.builds(Drop, key=keys, reason=st.sampled_from(Reason), detail=st.text(max_size=9))

PLAN = Plan(
    run_id="1" * 64,
    request=Request(
        dataset="catalogue",
        connection="customer",
        bucket="photos",
        prefix="a b/ü/",
        labels_key="labels.csv",
        rules=Rules(16, 100, 10**6, True, 6),
        classes=("coat", "bag"),
        shares=Shares(0.1, 0.2),
        actor=("external", "https://shop.example"),
    ),
    began_at="2026-01-01T00:00:00+00:00",
    objects=600,
    slice_objects=256,
    slices=("2" * 64, "3" * 64, "4" * 64),
    problems=(LabelProblem(3, "x.png", "no_such_file", "'x.png'"),),
    test_is_given=True,
    listing_digest="5" * 64,
    labels_digest="6" * 64,
)


def test_plan_survives_storage() -> None:
    assert Plan.decode(PLAN.encode()) == PLAN


@given(st.lists(st.builds(Entry, listed=listed, labels=st.none() | labels), max_size=5))
def test_slice_survives_storage(entries: list[Entry]) -> None:
    assert decode_slice(encode_slice(entries)) == entries


@given(st.lists(arrivals, max_size=3), st.lists(drops, max_size=3))
def test_findings_survive_storage(found: list[Arrival], dropped: list[Drop]) -> None:
    findings = Findings(tuple(found), tuple(dropped))
    assert decode_findings(encode_findings(findings)) == findings
    assert encode_findings(decode_findings(encode_findings(findings))) == encode_findings(findings)


def test_work_is_named_by_what_is_in_it_and_not_by_when_it_began() -> None:
    """A second reading of the same command finds the chunks of the first one done."""
    assert replace(PLAN, began_at="2027-01-01T00:00:00+00:00").work_id == PLAN.work_id
    assert replace(PLAN, slices=PLAN.slices[:2]).work_id != PLAN.work_id
    assert replace(PLAN, run_id="9" * 64).work_id != PLAN.work_id


@pytest.mark.parametrize(("index", "done"), [(0, 256), (1, 512), (2, 600)])
def test_progress_counts_the_objects_of_all_slices_up_to_one(index: int, done: int) -> None:
    assert PLAN.objects_through(index) == done


@given(st.lists(st.builds(Entry, listed=listed), max_size=50), st.integers(1, 9))
def test_slices_hold_every_entry_once_in_order(entries: list[Entry], size: int) -> None:
    cut = slices(entries, size)
    assert [entry for part in cut for entry in part] == entries
    assert all(len(part) == size for part in cut[:-1])


def test_uri_quotes_what_a_uri_cannot_hold() -> None:
    assert source_uri("customer", "photos", "a b/é#1.png") == (
        "s3://customer/photos/a%20b/%C3%A9%231.png"
    )
