"""Every format: what is written is read as it was, in little memory, and by others' programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torchvision.datasets import VOCDetection

from loopline.errors import Rejected
from loopline.formats import brush, label_studio, voc, yolo
from loopline.formats.labeled import BadLabels, LabeledImage
from loopline.formats.registry import FORMATS, find_format
from loopline.store.items import Shape
from loopline.vision import masks
from tests.unit.formats import streaming
from tests.unit.formats.streaming import HEIGHT, WIDTH, png

DISC = np.hypot(*np.mgrid[-240:240, -320:320]) < 90
BOXES = ("coco", "yolo", "yolo-segment", "voc", "supervisely", "cvat", "label-studio")
RINGS = ("coco", "yolo-segment", "supervisely", "cvat", "label-studio")
MASKS = ("coco", "supervisely", "cvat", "label-studio")
WHOLE = ("coco", "voc", "supervisely", "cvat", "label-studio")
TAGS = ("coco", "supervisely", "cvat", "label-studio")
TOLERANCE_PX = 1e-6

NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")),
    min_size=1,
    max_size=12,
).filter(lambda name: name == name.strip())
POINT = st.tuples(
    st.floats(0, WIDTH, allow_subnormal=False), st.floats(0, HEIGHT, allow_subnormal=False)
)


PNG = png()


def written(name: str, images: Sequence[LabeledImage], folder: Path) -> list[LabeledImage]:
    """Return what a format reads of what it wrote."""
    made = find_format(name)
    made.write(iter(images), folder)
    for image in images:
        file = folder / made.image_path(image)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(PNG)
    return list(made.read(folder))


def one(*shapes: Shape, **fields: object) -> LabeledImage:
    return LabeledImage("a/b.png", WIDTH, HEIGHT, shapes, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BOXES)
@given(box=st.tuples(POINT, POINT), class_name=NAMES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_box_survives_to_a_millionth_of_a_pixel(
    name: str, box: tuple[tuple[float, float], tuple[float, float]], class_name: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    xs, ys = sorted(p[0] for p in box), sorted(p[1] for p in box)
    shape = Shape("1", class_name, bbox_xyxy=(xs[0], ys[0], xs[1], ys[1]))
    [image] = written(name, [one(shape, split="val")], tmp_path_factory.mktemp("made"))
    assert (image.file_name, image.width_px, image.height_px) == ("a/b.png", WIDTH, HEIGHT)
    assert image.split == "val"
    [found] = image.shapes
    assert found.class_name == class_name
    assert found.bbox_xyxy == pytest.approx(shape.bbox_xyxy, abs=TOLERANCE_PX)


@pytest.mark.parametrize("name", RINGS)
@given(points=st.lists(POINT, min_size=3, max_size=12))
@settings(max_examples=30)
def test_a_polygon_survives_to_a_millionth_of_a_pixel(
    name: str, points: list[tuple[float, float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    ring = tuple(value for point in points for value in point)
    image = one(Shape("1", "coat", polygon=ring), split="train")
    [found] = written(name, [image], tmp_path_factory.mktemp("made"))[0].shapes
    assert found.polygon == pytest.approx(ring, abs=TOLERANCE_PX)


@pytest.mark.parametrize("name", MASKS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_a_mask_survives_pixel_by_pixel(
    name: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    random = np.random.default_rng(seed)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    y, x = random.integers(0, HEIGHT - 5), random.integers(0, WIDTH - 5)
    part = mask[y : y + random.integers(1, 60), x : x + random.integers(1, 60)]
    part[:] = random.random(part.shape) < 0.7
    part[0, 0] = True
    rle = masks.encode(mask)
    image = one(Shape("1", "coat", mask_rle=rle), split="train")
    [found] = written(name, [image], tmp_path_factory.mktemp("made"))[0].shapes
    assert found.mask_rle == rle


@pytest.mark.parametrize("name", WHOLE)
def test_whole_image_classes_survive(name: str, tmp_path: Path) -> None:
    image = one(Shape("1", "coat"), Shape("2", "wet"), split="train")
    [found] = written(name, [image], tmp_path)
    shapes = [(s.class_name, s.bbox_xyxy, s.polygon, s.mask_rle) for s in found.shapes]
    assert shapes == [("coat", None, None, None), ("wet", None, None, None)]


@pytest.mark.parametrize("name", TAGS)
def test_tags_and_what_nobody_labeled_survive(name: str, tmp_path: Path) -> None:
    tagged = one(tags=("blurred", "by <night>"))
    unlabeled = LabeledImage("c.png", WIDTH, HEIGHT, labeled=False)
    found = {image.file_name: image for image in written(name, [tagged, unlabeled], tmp_path)}
    assert found["a/b.png"].tags == ("blurred", "by <night>")
    assert found["a/b.png"].labeled
    assert (found["c.png"].labeled, found["c.png"].split) == (False, "")


@pytest.mark.parametrize("name", BOXES)
def test_classes_choose_what_is_written(name: str, tmp_path: Path) -> None:
    image = one(*(Shape(c, c, bbox_xyxy=(1, 1, 9, 9)) for c in ("a", "b")), split="train")
    made = find_format(name)
    made.write([image], tmp_path, ["b"])
    file = tmp_path / made.image_path(image)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(PNG)
    [found] = made.read(tmp_path)
    assert [shape.class_name for shape in found.shapes] == ["b"]


def test_boxes_stand_for_what_yolo_detect_and_voc_cannot_hold(tmp_path: Path) -> None:
    image = one(Shape("1", "coat", mask_rle=masks.encode(DISC)), split="train")
    for name in ("yolo", "voc"):
        (tmp_path / name).mkdir()
        [found] = written(name, [image], tmp_path / name)[0].shapes
        assert found.bbox_xyxy == pytest.approx((231, 151, 410, 330), abs=TOLERANCE_PX)


def test_torchvision_reads_our_pascal_voc(tmp_path: Path) -> None:
    shapes = (
        Shape("1", "coat", bbox_xyxy=(1.5, 2, 30, 40)),
        Shape("2", "hat", bbox_xyxy=(0, 0, 5, 5)),
    )
    written("voc", [one(*shapes, split="train")], tmp_path)
    tree = ET.parse(tmp_path / "Annotations" / "a" / "b.xml")
    said = VOCDetection.parse_voc_xml(tree.getroot())["annotation"]
    assert said["filename"] == "a/b.png"
    assert [one_["name"] for one_ in said["object"]] == ["coat", "hat"]
    assert said["object"][0]["bndbox"] == {"xmin": "1.5", "ymin": "2", "xmax": "30", "ymax": "40"}


def test_pascal_vocs_own_pixels_count_from_one(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "x.xml").write_text(
        "<annotation><filename>x.jpg</filename><size><width>10</width><height>8</height></size>"
        "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>8</ymax>"
        "</bndbox></object></annotation>"
    )
    [image] = voc.read(tmp_path, one_based=True)
    assert image.shapes[0].bbox_xyxy == (0, 0, 10, 8)


def test_label_studios_own_bytes_are_read() -> None:
    rle = brush.unpack(_sdk_bytes(), 4, 2)
    assert np.array_equal(masks.decode(rle, 4, 2), [[False, True, True, False], [False] * 4])
    assert brush.pack(rle, 4, 2) == _sdk_bytes()


def _sdk_bytes() -> list[int]:
    """Pack as their SDK does, written anew from its description: values one by one, bit texts."""
    values = np.repeat(np.array([0, 255, 255, 0, 0, 0, 0, 0]), 4)
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    bits += "1" + "00" + f"{3:03b}" + f"{0:08b}"  # 4 zeros
    bits += "1" + "00" + f"{7:03b}" + f"{255:08b}"  # 8 of 255
    bits += "1" + "10" + f"{19:08b}" + f"{0:08b}"  # 20 zeros
    bits += "0" * (8 - len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def test_label_studio_keeps_the_last_annotation(tmp_path: Path) -> None:
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rectanglelabels": ["a"]}
    size = {"original_width": 100, "original_height": 50}
    region = {"id": "r", "type": "rectanglelabels", "value": value, **size}
    task = {
        "id": 3,
        "data": {"image": "/data/upload/x.jpg"},
        "annotations": [{"result": [region]}, {"result": [], "was_cancelled": True}],
    }
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    [image] = label_studio.read(tmp_path)
    assert (image.file_name, image.shapes[0].bbox_xyxy) == ("x.jpg", (10, 10, 40, 30))
    config = label_studio.labeling_config(["a & b"], ["box"])
    assert "a &amp; b" in config
    assert "RectangleLabels" in config
    assert "PolygonLabels" not in config


@pytest.mark.parametrize(
    ("name", "file", "text", "reason"),
    [
        pytest.param("voc", "Annotations/x.xml", "<a>", "x.xml is not XML", id="voc"),
        pytest.param("voc", "Annotations/x.xml", "<a/>", "x.xml: it has no size", id="voc size"),
        pytest.param("voc", "none", "", "has no Annotations", id="voc empty"),
        pytest.param(
            "cvat", "annotations.xml",
            '<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "document type", id="bomb",
        ),
        pytest.param(
            "cvat", "annotations.xml",
            '<annotations><image name="i" width="9" height="9"><box label="a" xtl="x"/></image>'
            "</annotations>", "image i", id="cvat",
        ),
        pytest.param(
            "cvat", "annotations.xml",
            '<annotations><image name="i" width="9" height="9"><mask label="a" rle="1, 2" left="8" '
            'top="8" width="3" height="1"/></image></annotations>', "cannot be", id="cvat mask",
        ),
        pytest.param("supervisely", "ds0/ann/i.json", "{}", "ds0/ann/i.json", id="supervisely"),
        pytest.param("label-studio", "tasks.json", "[{", "not JSON", id="label studio"),
        pytest.param(
            "label-studio", "tasks.json", '[{"id": 4, "data": {}}]', "task 4", id="task"
        ),
        pytest.param("yolo", "data.yaml", "names: 3", "names", id="yolo"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(
    tmp_path: Path, name: str, file: str, text: str, reason: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with pytest.raises(BadLabels, match=reason):
        list(find_format(name).read(tmp_path))


def test_a_wrong_line_of_yolo_is_named(tmp_path: Path) -> None:
    image = one(Shape("1", "coat", bbox_xyxy=(1, 1, 9, 9)), split="val")
    written("yolo", [image], tmp_path)
    (tmp_path / "labels" / "val" / "a" / "b.txt").write_text("0 .5 .5 .1 .1\n0 1 2 3\n")
    with pytest.raises(BadLabels, match=r"b.txt line 2: 3 numbers are neither"):
        list(yolo.read(tmp_path))


def test_an_unknown_format_is_refused_with_those_there_are() -> None:
    with pytest.raises(Rejected, match="there are coco, yolo"):
        find_format("tfrecord")


DOCUMENTS = ("coco", "cvat", "label-studio")
"""One document holds all images; of the other formats each image has a file of its own."""
ROOM_BYTES = 16_000_000
NAME_BYTES = 400  # of a file, in the list of a folder's files, which is sorted


def grown_bytes(name: str, count: int) -> int:
    """Return how much memory writing and reading so many images takes, more than a few do."""
    command = [sys.executable, "-m", streaming.__name__, name, str(count)]
    said = subprocess.run(command, check=True, capture_output=True, timeout=120)
    return int(json.loads(said.stdout)["grown_bytes"])


@pytest.mark.slow
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_hundred_thousand_images_stream_through_a_document(name: str) -> None:
    """Kept in memory, they would take 110 MB, their text 40 to 90 MB more."""
    assert grown_bytes(name, 100_000) < ROOM_BYTES


@pytest.mark.parametrize("name", sorted(set(FORMATS) - set(DOCUMENTS)))
def test_of_the_images_of_a_folder_only_names_are_kept(name: str) -> None:
    """Kept in memory, the images of as many files would take 7 to 11 MB."""
    assert grown_bytes(name, 8_000) < 8_000 * NAME_BYTES + 2_000_000
