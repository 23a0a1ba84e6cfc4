"""Items as COCO: boxes as x, y, width, height; whole-image classes as the whole image."""

from __future__ import annotations

import pytest

from loopline.client.coco import coco_document
from loopline.store.items import Item, Shape

ITEM = Item(
    asset="a" * 64,
    media_type="image/png",
    size_bytes=1,
    width_px=40,
    height_px=30,
    labeled=True,
    shapes=(
        Shape(id="1", class_name="coat"),
        Shape(id="2", class_name="shirt", bbox_xyxy=(1.0, 2.0, 11.0, 22.0), confidence=0.5),
        Shape(id="3", class_name="coat", polygon=(0.0, 0.0, 4.0, 0.0, 4.0, 8.0)),
        Shape(id="4", class_name="retired"),
    ),
)


@pytest.fixture
def document() -> dict[str, list[dict[str, object]]]:
    return coco_document([ITEM], ["coat", "shirt"], lambda item: f"{item.asset}.png")


def test_categories_follow_the_order_of_the_classes(document: dict[str, list[object]]) -> None:
    assert document["categories"] == [{"id": 1, "name": "coat"}, {"id": 2, "name": "shirt"}]


def test_boxes_become_x_y_width_height(document: dict[str, list[dict[str, object]]]) -> None:
    boxes = [annotation["bbox"] for annotation in document["annotations"]]
    assert boxes == [[0.0, 0.0, 40.0, 30.0], [1.0, 2.0, 10.0, 20.0], [0.0, 0.0, 4.0, 8.0]]
    assert document["annotations"][1]["score"] == 0.5
    assert document["annotations"][2]["segmentation"] == [[0.0, 0.0, 4.0, 0.0, 4.0, 8.0]]


def test_a_class_that_the_dataset_no_longer_has_is_left_out(
    document: dict[str, list[dict[str, object]]],
) -> None:
    assert len(document["annotations"]) == 3
