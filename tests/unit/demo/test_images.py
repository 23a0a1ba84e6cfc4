"""The demo's bucket: real images, stated bad files, and a truth that holds."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from loopline.demo.images import read_pictures, sample_path, write_arrivals, write_catalogue
from loopline.demo.planting import KINDS
from loopline.errors import Rejected
from loopline.store.blobs import MemoryBlobs


def keys(bucket: MemoryBlobs, prefix: str = "") -> set[str]:
    return {info.key for info in bucket.list(prefix)}


def test_sample_is_small_and_balanced() -> None:
    assert sample_path().stat().st_size < 6_000_000
    parts = Counter((picture.part, picture.class_name) for picture in read_pictures())
    assert len({class_name for _, class_name in parts}) == 10
    for part, per_class in [("labeled", 150), ("unlabeled", 300), ("test", 150), ("spare", 60)]:
        assert {count for (name, _), count in parts.items() if name == part} == {per_class}


def test_every_image_of_the_sample_is_another_28_px_picture() -> None:
    pictures = read_pictures()
    assert len({picture.data for picture in pictures}) == len(pictures) == 6600
    for picture in pictures[::50]:
        image = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert image is not None
        assert (image.shape, image.dtype) == ((28, 28), np.uint8)


def test_truth_names_every_object_below_the_prefix_once() -> None:
    bucket = MemoryBlobs()
    truth = write_catalogue(bucket)
    named = [*truth.labeled, *truth.test, *truth.unlabeled, *truth.planted]
    assert len(named) == len(set(named)) == truth.objects == 6365
    assert keys(bucket, truth.prefix) == set(named)
    assert keys(bucket) - set(named) == {truth.labels_key}
    assert len(truth.classes_by_asset) == 6000 + truth.planted_by_reason()["near_duplicate"]


def test_labels_file_holds_the_known_labels_and_nothing_of_the_others() -> None:
    bucket = MemoryBlobs()
    truth = write_catalogue(bucket)
    rows = list(csv.DictReader(io.StringIO(bucket.get(truth.labels_key).decode())))
    said = {truth.prefix + row["file"]: row["class"] for row in rows}
    assert said == truth.labeled | truth.test
    assert {row["split"] for row in rows} == {"", "test"}
    assert sum(row["split"] == "test" for row in rows) == 1500


def test_planted_files_are_as_many_as_stated() -> None:
    truth = write_catalogue(MemoryBlobs())
    stated: Counter[str] = Counter()
    for kind in KINDS:
        stated[kind.reason] += kind.count
    assert truth.planted_by_reason() == dict(stated)


def test_some_names_have_spaces_and_accents() -> None:
    truth = write_catalogue(MemoryBlobs())
    odd = [key for key in truth.unlabeled if " " in key and not key.isascii()]
    assert len(odd) >= 20


def test_writing_again_writes_the_same() -> None:
    buckets = MemoryBlobs(), MemoryBlobs()
    first, second = (write_catalogue(bucket) for bucket in buckets)
    assert first == second
    assert all(buckets[0].get(key) == buckets[1].get(key) for key in keys(buckets[0]))


def test_arrivals_are_new_images_without_labels() -> None:
    bucket = MemoryBlobs()
    truth = write_catalogue(bucket)
    before = {bucket.get(key) for key in keys(bucket)}
    arrived = write_arrivals(bucket, count=50)
    assert len(arrived) == 50
    assert not set(arrived) & (set(truth.unlabeled) | set(truth.planted))
    assert not {bucket.get(key) for key in arrived} & before


def write_folder(root: Path, classes: int = 3, count: int = 40) -> None:
    pictures = iter(read_pictures())
    for n in range(classes):
        for m in range(count):
            path = root / f"class {n}" / f"{m}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(next(pictures).data)


def test_own_images_are_divided_the_same_way_every_time(tmp_path: Path) -> None:
    write_folder(tmp_path)
    first, second = (write_catalogue(MemoryBlobs(), images=tmp_path) for _ in range(2))
    assert first == second
    assert first.classes == ("class 0", "class 1", "class 2")
    assert len(first.labeled) == len(first.test) == 30
    assert len(first.unlabeled) == 54


def test_names_of_own_images_do_not_tell_their_class(tmp_path: Path) -> None:
    write_folder(tmp_path)
    truth = write_catalogue(MemoryBlobs(), images=tmp_path)
    assert not any("class" in key for key in truth.unlabeled)


def test_folder_that_cannot_be_divided_is_named(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="0 folders"):
        write_catalogue(MemoryBlobs(), images=tmp_path)
    write_folder(tmp_path, classes=2, count=3)
    with pytest.raises(Rejected, match="3 images: 4 or more are needed"):
        write_catalogue(MemoryBlobs(), images=tmp_path)


def test_own_image_that_cannot_be_read_spoils_nothing(tmp_path: Path) -> None:
    """It lies in the bucket as the customer has it: finding it is the import's work."""
    write_folder(tmp_path, count=400)
    for number in range(0, 400, 7):
        (tmp_path / "class 0" / f"{number}.png").write_bytes(b"no picture")
    truth = write_catalogue(MemoryBlobs(), images=tmp_path)
    assert set(truth.planted_by_reason()) >= {"exact_duplicate", "near_duplicate", "too_small"}
