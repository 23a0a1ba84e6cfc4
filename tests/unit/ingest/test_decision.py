"""What an import makes of what arrived: the same answer in whatever order it arrived."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from loopline.digests import sha256_hex
from loopline.errors import Rejected
from loopline.store.items import Item, Shape
from services.ingest.domain.decision import (
    Decision,
    Head,
    Repeat,
    allowed_classes,
    decide,
    merged,
    without_copies,
)
from services.ingest.domain.drops import Drop, Reason
from services.ingest.domain.labels import Box, KnownLabels, KnownShape
from services.ingest.domain.plan import Arrival, Findings, Plan
from tests.unit.ingest.test_plan import PLAN

FREE = replace(PLAN, request=replace(PLAN.request, classes=()), problems=(), test_is_given=False)

NEW = Head()


def arrival(key: str, content: str = "", **fields: Any) -> Arrival:
    asset = sha256_hex((content or key).encode())
    return Arrival(key, asset, "image/png", 500, 28, 20, 1, b"", **fields)


def labeled(class_name: str, box: Box | None = None, **fields: Any) -> KnownLabels:
    return KnownLabels((KnownShape(class_name, box, 2),), **fields)


def decided(
    *arrivals: Arrival,
    head: Head = NEW,
    repeats: dict[str, Repeat] | None = None,
    plan: Plan = FREE,
) -> Decision:
    findings = merged([Findings(arrivals, ())])
    return decide(plan, findings, without_copies(findings.arrivals), head, repeats or {})


def test_order_of_arrival_does_not_matter() -> None:
    arrivals = [
        arrival(f"{n:02}.png", content=str(n % 7), labels=labeled("bag")) for n in range(30)
    ]
    drops = [Drop(f"bad {n}", Reason.CORRUPT) for n in range(5)]
    decisions = set()
    for seed in range(5):
        random.Random(seed).shuffle(arrivals)
        random.Random(seed).shuffle(drops)
        halves = [Findings(tuple(arrivals[i::2]), tuple(drops[i::2])) for i in range(2)]
        findings = merged(halves)
        unique = without_copies(findings.arrivals)
        decisions.add(decide(FREE, findings, unique, Head(), {}).report(FREE))
    assert len(decisions) == 1


def test_first_key_of_equal_bytes_stays() -> None:
    decision = decided(arrival("b.png", "same"), arrival("a.png", "same"), arrival("c.png", "same"))
    assert [item.source for item in decision.items] == [PLAN.uri_of("a.png")]
    assert [(d.key, d.reason, d.repeats) for d in decision.drops] == [
        ("b.png", Reason.EXACT_DUPLICATE, "a.png"),
        ("c.png", Reason.EXACT_DUPLICATE, "a.png"),
    ]


def test_labeled_copy_stays_so_that_no_label_is_lost() -> None:
    decision = decided(arrival("a.png", "same"), arrival("b.png", "same", labels=labeled("bag")))
    [item] = decision.items
    assert item.labeled
    assert [drop.key for drop in decision.drops] == ["a.png"]


def test_copies_that_are_labeled_differently_are_told() -> None:
    decision = decided(
        arrival("a.png", "same", labels=labeled("bag", split="train")),
        arrival("b.png", "same", labels=labeled("coat", split="test")),
    )
    assert [p.reason for p in decision.problems] == ["conflicting_split", "conflicting_labels"]
    assert [shape.class_name for shape in decision.items[0].shapes] == ["bag"]


def test_unknown_class_leaves_the_image_unlabeled_and_is_told() -> None:
    decision = decided(arrival("a.png", labels=labeled("hat")), plan=replace(PLAN, problems=()))
    assert not decision.items[0].labeled
    assert [(p.file, p.reason) for p in decision.problems] == [("a.png", "unknown_class")]


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        pytest.param((0.0, 0.0, 28.0, 20.0), (0.0, 0.0, 28.0, 20.0), id="all-of-it"),
        pytest.param((-0.4, 1.0, 28.9, 20.0), (0.0, 1.0, 28.0, 20.0), id="rounding"),
        pytest.param((-2.0, 1.0, 5.0, 5.0), None, id="left"),
        pytest.param((1.0, 1.0, 5.0, 22.0), None, id="below"),
        pytest.param((100.0, 100.0, 120.0, 120.0), None, id="far-away"),
        pytest.param((28.0, 1.0, 28.5, 5.0), None, id="on-the-edge"),
    ],
)
def test_box_outside_its_image_is_left_out_and_told(box: Box, inside: Box | None) -> None:
    decision = decided(arrival("a.png", labels=labeled("bag", box)))
    [item] = decision.items
    assert [shape.bbox_xyxy for shape in item.shapes] == ([inside] if inside else [])
    assert item.labeled is (inside is not None)
    assert [p.reason for p in decision.problems] == ([] if inside else ["outside_image"])


def test_image_with_one_bad_row_keeps_the_good_ones_and_counts_as_unlabeled() -> None:
    """Half of the boxes of an image would teach a model that the rest is background."""
    decision = decided(arrival("a.png", labels=labeled("bag", complete=False)))
    [item] = decision.items
    assert (len(item.shapes), item.labeled) == (1, False)


def test_classes_are_those_found_if_nobody_names_them() -> None:
    arrivals = [arrival(f"{n}.png", labels=labeled(name)) for n, name in enumerate("cab")]
    assert decided(*arrivals).classes == ("a", "b", "c")


def test_classes_of_the_dataset_stay_in_their_order() -> None:
    head = Head(classes=("z", "a"))
    decision = decided(arrival("a.png", labels=labeled("b")), head=head)
    assert decision.classes == ("z", "a")
    assert [p.reason for p in decision.problems] == ["unknown_class"]


def test_command_may_add_classes_but_not_take_any_away() -> None:
    assert allowed_classes(("a", "z", "b"), ("z", "a")) == ("a", "z", "b")
    with pytest.raises(Rejected, match="lack 'z'"):
        allowed_classes(("a", "b"), ("z", "a"))
    with pytest.raises(Rejected, match="'a' is named twice"):
        allowed_classes(("a", "a"), ())


def test_near_duplicate_is_dropped_with_what_it_repeats() -> None:
    first, second = arrival("a.png"), arrival("b.png")._replace(thumbprint=bytes(784))
    decision = decided(first, second, repeats={second.asset: Repeat("a.png", first.asset)})
    assert [item.asset for item in decision.items] == [first.asset]
    picture = b64encode(second.thumbprint).decode()
    dropped = Drop("b.png", Reason.NEAR_DUPLICATE, "the same picture", "a.png", picture)
    assert decision.drops == (dropped,)


def test_report_shows_what_was_dropped_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingest.domain.decision.PICTURES_MAX", 2)
    first, *others = (arrival(f"{n}.png")._replace(thumbprint=bytes(784)) for n in range(4))
    repeats = {one.asset: Repeat("0.png", first.asset) for one in others}
    decision = decided(first, *others, repeats=repeats)
    drops = json.loads(decision.report(FREE))["drops"]
    assert [len(drop["picture"]) > 1_000 for drop in drops] == [True, True, False]


def item_of(found: Arrival, **fields: Any) -> Item:
    [item] = decided(found).items
    return replace(item, **fields)


def test_known_image_is_neither_added_nor_dropped() -> None:
    found = arrival("a.png")
    decision = decided(found, head=Head(items={found.asset: item_of(found)}))
    assert (decision.items, decision.drops) == ((), ())
    assert decision.counts["known"] == 1


def test_label_that_became_known_reaches_the_item_that_is_there() -> None:
    found = arrival("a.png", labels=labeled("bag"))
    before = item_of(arrival("a.png"), tags=("new",), split="val")
    decision = decided(found, head=Head(items={found.asset: before}))
    [item] = decision.items
    assert (item.labeled, item.tags, item.split) == (True, ("new",), "val")


def test_what_a_labeler_said_is_not_overwritten() -> None:
    found = arrival("a.png", labels=labeled("bag"))
    corrected = item_of(found, labeled=True, shapes=(Shape("1", "coat", source="labeler:anna"),))
    decision = decided(found, head=Head(items={found.asset: corrected}))
    assert decision.items == ()


def test_test_split_is_filled_by_a_first_import_that_names_none() -> None:
    arrivals = [arrival(f"{n}.png", labels=labeled("bag")) for n in range(200)]
    decision = decided(*arrivals)
    assert 10 < sum(item.split == "test" for item in decision.items) < 70


@pytest.mark.parametrize(
    ("plan", "head"),
    [
        pytest.param(replace(FREE, test_is_given=True), Head(), id="labels-name-it"),
        pytest.param(FREE, Head(has_test_split=True), id="dataset-has-it"),
    ],
)
def test_frozen_test_split_does_not_grow_by_itself(plan: Plan, head: Head) -> None:
    arrivals = [arrival(f"{n}.png", labels=labeled("bag")) for n in range(200)]
    assert all(item.split != "test" for item in decided(*arrivals, plan=plan, head=head).items)


def test_unlabeled_image_is_never_tested_on() -> None:
    arrivals = [arrival(f"{n}.png") for n in range(200)]
    assert all(item.split in ("train", "val") for item in decided(*arrivals).items)


def test_split_that_the_labels_give_counts() -> None:
    given = KnownLabels(split="val")
    assert decided(arrival("a.png", labels=given)).items[0].split == "val"


def test_counts_add_up() -> None:
    decision = decided(
        arrival("a.png", labels=labeled("bag")), arrival("b.png", "a.png"), arrival("c.png")
    )
    assert decision.counts == {
        "listed": 600,
        "added": 2,
        "known": 0,
        "labeled": 1,
        "dropped": 1,
        "dropped:exact_duplicate": 1,
        "label_problems": 0,
        "leaks": 0,
    }


KEEPING = replace(
    FREE,
    request=replace(FREE.request, rules=replace(FREE.request.rules, drop_near_duplicates=False)),
)


def test_look_alikes_that_are_kept_are_in_one_split() -> None:
    arrivals = [arrival(f"{n:03}.png", labels=labeled("bag")) for n in range(200)]
    repeats = {
        one.asset: Repeat(arrivals[n - 1].key, arrivals[n - 1].asset)
        for n, one in enumerate(arrivals)
        if n % 2
    }
    decision = decided(*arrivals, repeats=repeats, plan=KEEPING)
    splits = {item.asset: item.split for item in decision.items}
    assert len(splits) == 200
    assert all(splits[asset] == splits[repeat.asset] for asset, repeat in repeats.items())
    assert set(splits.values()) == {"train", "val", "test"}
    assert decision.leaks == ()


def test_what_looks_like_a_frozen_test_item_is_in_no_split() -> None:
    one = arrival("a.png", labels=labeled("bag"))
    there = Repeat("f" * 64, "f" * 64, "test")
    decision = decided(
        one, repeats={one.asset: there}, plan=KEEPING, head=Head(has_test_split=True)
    )
    assert [item.split for item in decision.items] == [""]


def test_splits_that_the_labels_give_may_leak_and_the_report_says_so() -> None:
    tested = arrival("a.png", labels=labeled("bag", split="test"))
    trained = arrival("b.png", labels=labeled("bag", split="train"))
    repeats = {trained.asset: Repeat("a.png", tested.asset)}
    decision = decided(tested, trained, repeats=repeats, plan=KEEPING)
    assert decision.counts["leaks"] == 1
    [leak] = decision.leaks
    assert (leak.key, leak.split, leak.like, leak.like_split) == ("b.png", "train", "a.png", "test")
    assert b'"leaks":[{"key":"b.png"' in decision.report(KEEPING)
