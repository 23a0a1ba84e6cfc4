"""Datumaro, which CVAT reads and writes with, understands what we write (`make test-external`)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopline.formats.labeled import LabeledImage
from loopline.formats.registry import find_format
from loopline.store.items import Shape
from loopline.vision import masks
from tests.unit.formats.streaming import HEIGHT, WIDTH, png

ROOT = Path(__file__).parents[2]
DATUMARO = ROOT / ".bench/peers/datumaro/bin/python"
CLIENT = Path(__file__).with_name("formats_datumaro_client.py")
pytestmark = [pytest.mark.external, pytest.mark.timeout(120)]

DISC = np.hypot(*np.mgrid[-HEIGHT // 2 : HEIGHT // 2, -WIDTH // 2 : WIDTH // 2]) < 90
BOX = (1.5, 2.25, 30.125, 40.0)
RING = (10.5, 10.0, 60.0, 12.25, 33.0, 70.5)
IMAGE = LabeledImage(
    "b.png", WIDTH, HEIGHT, split="train",
    shapes=(
        Shape("1", "coat", bbox_xyxy=BOX),
        Shape("2", "hat", polygon=RING),
        Shape("3", "coat", mask_rle=masks.encode(DISC)),
    ),
)  # fmt: skip
Told = tuple[str, str, list[float]]
THE_BOX: Told = ("coat", "bbox", [1.5, 2.25, 30.125, 40.0])
THE_RING: Told = ("hat", "polygon", list(RING))
THE_MASK: Told = ("coat", "mask", [float(DISC.sum())])
BOX_OF_RING: Told = ("hat", "bbox", [10.5, 10.0, 60.0, 70.5])
BOX_OF_MASK: Told = ("coat", "bbox", [231.0, 151.0, 410.0, 330.0])


def written(name: str, folder: Path) -> Path:
    """Write the image and its labels in one of our formats."""
    made = find_format(name)
    made.write(iter([IMAGE]), folder)
    file = folder / made.image_path(IMAGE)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(png())
    return folder


def read(folder: Path, kind: str, subset: str = "") -> list[Any]:
    """Return what Datumaro reads: id, subset and annotations of each image."""
    command = [str(DATUMARO), str(CLIENT), str(folder), kind, *([subset] if subset else [])]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert told.returncode == 0, told.stderr
    return [json.loads(line) for line in told.stdout.splitlines() if line.startswith("[")]


def assert_close(found: list[list[Any]], expected: list[Told]) -> None:
    """Compare to a hundredth of a pixel: Datumaro rounds what it reads."""
    wanted = sorted(expected)
    assert [one[:2] for one in found] == [[*one[:2]] for one in wanted]
    for (*_, figures), (*_, known) in zip(found, wanted, strict=True):
        assert figures == pytest.approx(known, abs=0.01)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        pytest.param("cvat", "cvat", [THE_BOX, THE_MASK, THE_RING], id="cvat"),
        pytest.param("voc", "voc_detection", [THE_BOX, BOX_OF_MASK, BOX_OF_RING], id="voc"),
        pytest.param("yolo", "yolo", [THE_BOX, BOX_OF_MASK, BOX_OF_RING], id="yolo"),
    ],
)
def test_datumaro_reads_our_labels(
    name: str, kind: str, expected: list[Told], tmp_path: Path
) -> None:
    subset = "train" if kind == "cvat" else ""  # which part of the file it should read
    [(id_, part, found)] = read(written(name, tmp_path), kind, subset)
    assert (id_, part) == ("b", "train")
    assert_close(found, expected)


def test_datumaro_reads_our_coco(tmp_path: Path) -> None:
    folder = written("coco", tmp_path)
    (folder / "annotations").mkdir()  # where Datumaro looks for it
    (folder / "coco.json").rename(folder / "annotations/instances_default.json")
    [(id_, _, found)] = read(folder, "coco")
    assert id_ == "b"
    assert_close(found, [THE_BOX, BOX_OF_MASK, THE_MASK, BOX_OF_RING, THE_RING])
