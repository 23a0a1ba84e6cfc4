"""Labels in a COCO file: boxes, polygons and masks become a dataset's shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopline.vision import masks
from services.ingest.adapters.labels import read_table
from services.ingest.domain.labels import KnownShape
from tests.unit.ingest.shop import Shop, png

NUCLEI = Path(__file__).parents[3] / "examples" / "data" / "nuclei"

CATEGORIES = [{"id": 1, "name": "bag"}, {"id": 7, "name": "coat"}]
BOX = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [2, 3, 10, 12]}
RING = {
    "id": 2,
    "image_id": 1,
    "category_id": 1,
    "bbox": [0, 0, 9, 9],
    "segmentation": [[0, 0, 9, 0, 9, 9]],
}


def rle(height: int = 28, width: int = 28) -> str:
    mask = np.zeros((height, width), bool)
    mask[4:9, 5:20] = True
    return masks.encode(mask)


def mask(counts: str, height: int = 28, width: int = 28) -> dict[str, Any]:
    segmentation = {"size": [height, width], "counts": counts}
    return {
        "id": 3,
        "image_id": 1,
        "category_id": 1,
        "bbox": [5, 4, 15, 5],
        "segmentation": segmentation,
    }


def coco(*annotations: dict[str, Any], **image: Any) -> bytes:
    images = [{"id": 1, "file_name": "000.png", "width": 28, "height": 28} | image]
    document = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    return json.dumps(document).encode()


def test_every_kind_of_shape_is_read() -> None:
    table = read_table(coco(BOX, RING, mask(rle()), split="val", tags=["new"]), ["000.png"])
    labels = table.by_file["000.png"]
    assert labels.shapes == (
        KnownShape("coat", (2, 3, 12, 15), 1),
        KnownShape("bag", None, 2, polygon=(0, 0, 9, 0, 9, 9)),
        KnownShape("bag", None, 3, mask_rle=rle()),
    )
    assert (labels.split, labels.tags, labels.complete) == ("val", ("new",), True)
    assert table.problems == ()


def test_an_image_without_annotations_is_labeled_as_one_of_nothing() -> None:
    assert read_table(coco(), ["000.png"]).by_file["000.png"].nothing
    assert not read_table(coco(labeled=False), ["000.png"]).by_file["000.png"].nothing


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        pytest.param(coco(BOX | {"category_id": 5}), "bad_annotation", "category 5", id="class"),
        pytest.param(coco(BOX | {"bbox": [1, 2]}), "bad_annotation", "unpack", id="box"),
        pytest.param(coco(mask("5")), "bad_annotation", "784", id="mask of another size"),
        pytest.param(coco(BOX, split="left"), "unknown_split", "'left'", id="split"),
        pytest.param(coco(BOX, file_name="9.png"), "no_such_file", "'9.png'", id="file"),
    ],
)
def test_what_makes_no_sense_is_named_and_the_rest_goes_on(
    data: bytes, reason: str, words: str
) -> None:
    [problem] = read_table(data, ["000.png"]).problems
    assert problem.reason == reason
    assert words in problem.detail


def test_an_image_that_lost_an_annotation_is_not_complete() -> None:
    table = read_table(coco(BOX | {"category_id": 5}, RING), ["000.png"])
    labels = table.by_file["000.png"]
    assert len(labels.shapes) == 1
    assert not labels.complete


def test_csv_is_still_csv() -> None:
    assert read_table(b"file,class\n000.png,bag\n", ["000.png"]).by_file["000.png"].shapes


async def test_nuclei_are_imported_with_their_masks_and_splits(shop: Shop) -> None:
    for name in ("train/000-000.png", "test/000-384.png"):
        shop.bucket.put(f"nuclei/{name}", (NUCLEI / name).read_bytes())
    shop.bucket.put("nuclei/labels.json", (NUCLEI / "labels.json").read_bytes())
    head = await shop.run(prefix="nuclei/", labels_key="nuclei/labels.json")
    assert list(head.message.classes) == ["nucleus"]
    assert head.message.statistics["labeled"] == 2
    assert head.message.statistics["split:test"] == 1
    tested = (await shop.items())["000-384.png"]
    assert len(tested.shapes) >= 5
    for shape in tested.shapes:
        assert shape.mask_rle is not None
        masks.check_mask(shape.mask_rle, 128, 128)


async def test_shapes_that_do_not_fit_their_image_are_told(shop: Shop) -> None:
    """The file may say another size than the image has: what counts is the image."""
    outside = RING | {"id": 5, "segmentation": [[0, 0, 90, 0, 90, 90]]}
    shop.bucket.put("labels.json", coco(BOX, outside, mask(rle(60, 60)), width=60, height=60))
    shop.bucket.put("000.png", png(0))
    await shop.run(labels_key="labels.json")
    report = await shop.report()
    assert [(p["line"], p["reason"]) for p in report["labels"] if p["file"] == "000.png"] == [
        (3, "bad_mask"),
        (5, "outside_image"),
    ]
    item = (await shop.items())["000.png"]
    assert [shape.bbox_xyxy for shape in item.shapes] == [(2, 3, 12, 15)]
    assert not item.labeled
