"""From submissions to items and figures."""

from __future__ import annotations

from loopline.store.items import Item, Shape
from loopline.vision.masks import box_iou as iou
from services.annotate.domain.agreement import agrees
from services.annotate.domain.corrections import (
    Correction,
    agreement_report,
    corrected,
    corrections_digest,
    figures,
    items_by_labeler,
)


def box(class_name: str, *xyxy: float, id_: str = "s") -> Shape:
    """Return a box."""
    x_min, y_min, x_max, y_max = xyxy
    return Shape(id_, class_name, bbox_xyxy=(x_min, y_min, x_max, y_max))


def said(asset: str, *classes: str, by: str = "ada", spent_s: float = 1.5) -> Correction:
    """Return a submission of whole-image classes."""
    shapes = tuple(Shape(f"s{i}", name) for i, name in enumerate(classes))
    return Correction(
        asset, (by,), shapes, digest=f"{asset}-{classes}", sequence=1, spent_s=spent_s
    )


def test_item_takes_the_labels_and_keeps_where_it_came_from() -> None:
    item = Item("a", "image/png", 10, 28, 28, source="s3://customer/a.png", tags=("new",), phash=5)
    changed = corrected(item, said("a", "coat"))
    assert changed.labeled
    assert [shape.class_name for shape in changed.shapes] == ["coat"]
    assert changed.split == "train"
    assert (changed.source, changed.tags, changed.phash) == (item.source, item.tags, item.phash)


def test_item_stays_in_the_split_it_is_in() -> None:
    item = Item("a", "image/png", 10, 28, 28, split="val")
    assert corrected(item, said("a", "coat")).split == "val"


def test_nothing_to_see_is_a_label_too() -> None:
    changed = corrected(Item("a", "image/png", 10, 28, 28), said("a"))
    assert changed.labeled
    assert changed.shapes == ()


def test_classes_agree_with_the_most_confident_prediction() -> None:
    predicted = [Shape("p0", "shirt", confidence=0.3), Shape("p1", "coat", confidence=0.6)]
    assert agrees([Shape("s", "coat")], predicted)
    assert not agrees([Shape("s", "shirt")], predicted)
    assert not agrees([], predicted)
    assert agrees([], [])


def test_boxes_agree_when_they_pair_off() -> None:
    predicted = [box("coat", 0, 0, 10, 10), box("coat", 20, 0, 30, 10)]
    assert agrees([box("coat", 21, 0, 31, 10), box("coat", 1, 0, 11, 10)], predicted)
    assert not agrees([box("coat", 0, 0, 10, 10)], predicted)
    assert not agrees([box("coat", 0, 0, 10, 10), box("shirt", 20, 0, 30, 10)], predicted)
    assert not agrees([box("coat", 0, 0, 10, 10), box("coat", 27, 0, 37, 10)], predicted)


def test_iou_of_boxes_that_only_touch_is_nothing() -> None:
    assert iou((0, 0, 1, 1), (1, 0, 2, 1)) == 0.0
    assert iou((0, 0, 2, 2), (0, 0, 2, 2)) == 1.0


def test_figures_tell_how_often_the_model_was_right() -> None:
    predicted = {"a": [Shape("p", "coat")], "b": [Shape("p", "coat")]}
    told = figures([said("a", "coat"), said("b", "shirt", by="bob"), said("c", "coat")], predicted)
    assert told == {
        "items": 3, "labelers": 2, "spent_s": 4.5, "predicted": 2, "agreed": 1, "agreement": 0.5,
    }  # fmt: skip
    assert "agreement" not in figures([said("a", "coat")], {})


def test_report_shows_prediction_and_correction_side_by_side() -> None:
    report = agreement_report([said("b", "coat"), said("a", "shirt")], {"a": [Shape("p", "coat")]})
    assert [row["asset"] for row in report] == ["a", "b"]
    assert report[0] | {"labels": ["shirt"], "predicted": ["coat"], "agreed": False} == report[0]
    assert report[1]["predicted"] is None


def test_digest_over_submissions_knows_no_order_but_every_change() -> None:
    one, two = said("a", "coat"), said("b", "coat")
    assert corrections_digest([one, two]) == corrections_digest([two, one])
    assert corrections_digest([one]) != corrections_digest([one, two])
    assert corrections_digest([said("a", "shirt"), two]) != corrections_digest([one, two])


def test_labelers_are_counted() -> None:
    assert items_by_labeler([said("a"), said("b", by="bob"), said("c")]) == {"ada": 2, "bob": 1}
