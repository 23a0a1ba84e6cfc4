"""COCO: what we write is read by pycocotools and by us, as it was."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from loopline.formats import coco
from loopline.formats.labeled import BadLabels, LabeledImage
from loopline.store.items import Shape
from loopline.vision import masks

DISC = np.hypot(*np.mgrid[-15:15, -20:20]) < 9
IMAGES = [
    LabeledImage(
        "a.png",
        40,
        30,
        (
            Shape(id="1", class_name="coat"),
            Shape(id="2", class_name="shirt", bbox_xyxy=(1.1, 2.2, 11.3, 22.4), confidence=0.5),
            Shape(id="3", class_name="coat", polygon=(0.0, 0.0, 4.0, 0.0, 4.0, 8.0)),
            Shape(id="4", class_name="shirt", mask_rle=masks.encode(DISC)),
        ),
        "train",
        ("blurred",),
    ),
    LabeledImage("b.png", 40, 30),
    LabeledImage("c.png", 40, 30, labeled=False),
]


def coco_file(folder: Path, document: object) -> Path:
    path = folder / "given.json"
    path.write_text(json.dumps(document))
    return path


def one_annotation(folder: Path, **fields: object) -> Path:
    annotation = {"id": 7, "image_id": 3, "category_id": 5, "bbox": [1, 2, 3, 4], **fields}
    return coco_file(
        folder,
        {  # annotations first: the order of the parts is free
            "annotations": [annotation],
            "categories": [{"id": 5, "name": "tree"}],
            "images": [{"id": 3, "file_name": "x/y.jpg", "width": 10, "height": 8}],
        },
    )


def test_what_is_written_is_read_as_it_was(tmp_path: Path) -> None:
    coco.write(IMAGES, tmp_path)
    assert list(coco.read(tmp_path)) == IMAGES
    assert coco.read_classes(tmp_path) == ["coat", "shirt"]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
def test_pycocotools_reads_it(tmp_path: Path) -> None:
    coco.write(IMAGES, tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        peer = COCO(str(tmp_path / "coco.json"))
    assert [image["file_name"] for image in peer.loadImgs(peer.getImgIds())] == [
        "a.png", "b.png", "c.png",
    ]  # fmt: skip
    box, polygon, mask = peer.loadAnns([2, 3, 4])
    assert box["bbox"] == pytest.approx([1.1, 2.2, 10.2, 20.2])
    assert peer.annToMask(polygon).sum() > 10
    assert np.array_equal(peer.annToMask(mask).astype(bool), DISC)
    assert mask["area"] == DISC.sum()


def test_classes_give_the_ids_and_leave_others_out(tmp_path: Path) -> None:
    coco.write(IMAGES, tmp_path, classes=["belt", "shirt"])
    document = json.loads((tmp_path / "coco.json").read_text())
    assert document["categories"] == [{"id": 1, "name": "belt"}, {"id": 2, "name": "shirt"}]
    assert {a["category_id"] for a in document["annotations"]} == {2}


def test_a_ring_is_a_polygon_and_several_are_a_mask(tmp_path: Path) -> None:
    ring = [1, 1, 5, 1, 5, 5, 1, 5]
    [image] = coco.read(one_annotation(tmp_path, segmentation=[ring]))
    assert image.shapes[0].polygon == tuple(map(float, ring))
    [image] = coco.read(one_annotation(tmp_path, segmentation=[ring, [6, 6, 9, 6, 9, 7.5, 6, 7]]))
    assert image.shapes[0].mask_rle is not None
    assert image.file_name == "x/y.jpg"


def test_plain_run_lengths_are_read(tmp_path: Path) -> None:
    mask = {"size": [8, 10], "counts": [10, 4, 66]}
    [image] = coco.read(one_annotation(tmp_path, segmentation=mask))
    assert image.shapes[0].mask_rle is not None
    assert masks.run_lengths(image.shapes[0].mask_rle) == [10, 4, 66]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"category_id": 6}, "annotation 7 of x/y.jpg: there is no category 6", id="c"),
        pytest.param({"bbox": [1, 2]}, "annotation 7 of x/y.jpg", id="box"),
        pytest.param({"segmentation": {"counts": "52203"}}, "cover 16 pixels", id="mask size"),
        pytest.param({"segmentation": {"size": [8, 10]}}, "counts", id="mask without counts"),
    ],
)
def test_a_wrong_annotation_is_named_with_the_reason(
    tmp_path: Path, fields: dict[str, object], reason: str
) -> None:
    with pytest.raises(BadLabels, match=reason):
        list(coco.read(one_annotation(tmp_path, **fields)))


def test_what_is_no_coco_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadLabels, match="no file"):
        list(coco.read(tmp_path / "none.json"))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(BadLabels, match="not JSON"):
        list(coco.read(tmp_path / "bad.json"))
    with pytest.raises(BadLabels, match="no file_name"):
        list(coco.read(coco_file(tmp_path, {"images": [{"id": 1}]})))
