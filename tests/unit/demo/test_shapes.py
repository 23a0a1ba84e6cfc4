"""The customer whose labels are shapes: what is in the bucket, and what labelers know."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopline.demo.scene import drawn_scene
from loopline.demo.shapes import write_drawn
from loopline.digests import sha256_hex
from loopline.errors import Rejected
from loopline.formats import coco
from loopline.store.blobs import MemoryBlobs
from loopline.vision import masks


def test_the_last_of_the_training_images_come_without_labels(tmp_path: Path) -> None:
    bucket = MemoryBlobs()
    truth = write_drawn(bucket, "nuclei")
    assert (len(truth.labeled), len(truth.test), len(truth.unlabeled)) == (15, 7, 10)
    assert truth.objects == 32
    path = tmp_path / "labels.json"
    path.write_bytes(bucket.get(truth.labels_key))
    said = {truth.prefix + image.file_name: image for image in coco.read(path)}
    assert {key for key, image in said.items() if image.labeled} == {*truth.labeled, *truth.test}
    assert {image.split for key, image in said.items() if key in truth.unlabeled} == {"train"}
    trained = sorted(key for key, image in said.items() if image.split == "train")
    assert trained[-10:] == sorted(truth.unlabeled)


@pytest.mark.parametrize("as_boxes", [False, True])
def test_labelers_know_every_image_by_its_bytes(*, as_boxes: bool) -> None:
    bucket = MemoryBlobs()
    truth = write_drawn(bucket, "nuclei", as_boxes=as_boxes)
    for key in truth.unlabeled:
        answer = truth.answer(sha256_hex(bucket.get(key)))
        assert answer
        for shape in answer:
            assert shape["class_name"] == "nucleus"
            if as_boxes:
                assert len(shape["bbox_xyxy"]) == 4
            else:
                masks.check_mask(shape["mask_rle"], 128, 128)


def test_writing_again_writes_the_same_bytes() -> None:
    first, second = MemoryBlobs(), MemoryBlobs()
    write_drawn(first, "nuclei")
    write_drawn(second, "nuclei")
    written = {info.key: first.get(info.key) for info in first.list("")}
    assert written == {info.key: second.get(info.key) for info in second.list("")}


def test_a_recipe_without_a_scene_is_refused() -> None:
    with pytest.raises(Rejected, match="classification, detection, segmentation"):
        drawn_scene("pose")
