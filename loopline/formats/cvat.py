"""CVAT for images 1.1 (https://docs.cvat.ai/docs/manual/advanced/xml_format/): one XML file.

Boxes, polygons, masks (run lengths of their crop, row by row) and tags, which are whole-image
classes. What people call a tag of an item is CVAT's tag `loopline-tag` with the attribute `name`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from loopline.formats import xml
from loopline.formats.labeled import BadLabels, LabeledImage, numbered, of_classes
from loopline.store.items import Shape
from loopline.vision import masks

FILE = "annotations.xml"
IMAGES = "images"
TAG = "loopline-tag"
UNLABELED = "loopline-unlabeled"


def image_path(image: LabeledImage) -> str:
    """Return where an image's file goes in the folder."""
    return f"{IMAGES}/{image.file_name}"


def read(path: Path) -> Iterator[LabeledImage]:
    """Yield the images of a file, or of `annotations.xml` in a folder, in its order.

    Raises:
        BadLabels: It cannot be; the message names image and reason.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise BadLabels(f"there is no file {file}")
    for image in xml.elements(file, "image"):
        try:
            yield _image(image)
        except (ValueError, KeyError) as error:
            raise BadLabels(f"{file.name}, image {image.get('name')}: {error}") from error


def write(images: Iterable[LabeledImage], path: Path, classes: Sequence[str] | None = None) -> None:
    """Write a file, or `annotations.xml` into a folder; other classes are left out.

    The labels are named at the head of the file and known at its end where `classes` is None: the
    images wait in a temporary file.
    """
    file = path / FILE if path.is_dir() else path
    names: dict[str, None] = dict.fromkeys(classes or ())
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as waiting,
        file.open("w", encoding="utf-8") as target,
    ):
        body = xml.Writer(waiting)
        for index, image in enumerate(images):
            kept = of_classes(image.shapes, classes)
            names |= dict.fromkeys(shape.class_name for shape in kept)
            _write_image(body, index, image, kept)
        made = xml.Writer(target)
        made.start("annotations")
        made.leaf("version", "1.1")
        _write_labels(made, names)
        waiting.seek(0)
        waiting.readline()  # its declaration
        target.writelines(waiting)
        made.end()


def _write_labels(made: xml.Writer, names: Iterable[str]) -> None:
    for tag in ("meta", "task", "labels"):
        made.start(tag)
    for name in names:
        made.start("label")
        made.leaf("name", name)
        made.leaf("attributes", "")
        made.end()
    for _ in range(3):
        made.end()


def _write_image(
    made: xml.Writer, index: int, image: LabeledImage, shapes: Sequence[Shape]
) -> None:
    attributes: dict[str, object] = {"id": index, "name": image.file_name}
    if image.split:
        attributes["subset"] = image.split
    made.start("image", attributes | {"width": image.width_px, "height": image.height_px})
    for shape in shapes:
        _write_shape(made, image, shape)
    for tag in (*image.tags, *(() if image.labeled else (UNLABELED,))):
        made.start("tag", {"label": TAG, "source": "manual"})
        made.leaf("attribute", tag, {"name": "name"})
        made.end()
    made.end()


def _write_shape(made: xml.Writer, image: LabeledImage, shape: Shape) -> None:
    common: dict[str, object] = {"label": shape.class_name, "source": "manual"}
    drawn: dict[str, object] = common | {"occluded": 0, "z_order": 0}
    if shape.bbox_xyxy is not None:
        ends = zip(("xtl", "ytl", "xbr", "ybr"), map(repr, shape.bbox_xyxy), strict=True)
        made.leaf("box", None, drawn | dict(ends))
    elif shape.polygon is not None:
        pairs = zip(shape.polygon[0::2], shape.polygon[1::2], strict=True)
        points = ";".join(f"{x!r},{y!r}" for x, y in pairs)
        made.leaf("polygon", None, drawn | {"points": points})
    elif shape.mask_rle is not None:
        made.leaf("mask", None, drawn | _crop(shape.mask_rle, image.width_px, image.height_px))
    else:
        made.leaf("tag", None, common)


def _crop(rle: str, width_px: int, height_px: int) -> dict[str, object]:
    """Return a mask as CVAT has it: run lengths, zeros first, over the rows of its box."""
    x0, y0, x1, y1 = (int(v) for v in masks.box_of(rle, width_px, height_px) or (0, 0, 1, 1))
    part = masks.decode(rle, width_px, height_px)[y0:y1, x0:x1]
    runs = masks.run_lengths(masks.encode(part.T))  # column-major of the transposed: row-major
    return {
        "rle": ", ".join(map(str, runs)),
        "left": x0,
        "top": y0,
        "width": x1 - x0,
        "height": y1 - y0,
    }


def _image(element: xml.Element) -> LabeledImage:
    width, height = int(xml.number(element, "width")), int(xml.number(element, "height"))
    shapes: list[Shape] = []
    tags: list[str] = []
    for one in element:
        if one.tag == "tag" and one.get("label") == TAG:
            tags += [attribute.text or "" for attribute in one.findall("attribute")]
        elif (shape := _shape(one, width, height)) is not None:
            shapes.append(shape)
    return LabeledImage(
        str(element.get("name")),
        width,
        height,
        numbered(shapes),
        element.get("subset") or "",
        tuple(tag for tag in tags if tag != UNLABELED),
        UNLABELED not in tags,
    )


def _shape(one: xml.Element, width: int, height: int) -> Shape | None:
    label = str(one.get("label"))
    if one.tag == "tag":
        return Shape("", label)
    if one.tag == "box":
        ends = [xml.number(one, name) for name in ("xtl", "ytl", "xbr", "ybr")]
        return Shape("", label, bbox_xyxy=(ends[0], ends[1], ends[2], ends[3]))
    if one.tag == "polygon":
        points = str(one.get("points")).replace(";", ",").split(",")
        return Shape("", label, polygon=tuple(float(value) for value in points))
    if one.tag == "mask":
        return Shape("", label, mask_rle=_placed(one, width, height))
    return None  # points, lines, cuboids, skeletons: none of ours


def _placed(one: xml.Element, width: int, height: int) -> str:
    left, top = int(xml.number(one, "left")), int(xml.number(one, "top"))
    w, h = int(xml.number(one, "width")), int(xml.number(one, "height"))
    runs = [int(run) for run in str(one.get("rle")).split(",")]
    if sum(runs) != w * h or left < 0 or top < 0 or left + w > width or top + h > height:
        raise ValueError(f"a mask of {w} x {h} at ({left}, {top}) cannot be")
    whole = np.zeros((height, width), bool)
    whole[top : top + h, left : left + w] = masks.decode(masks.rle_of_runs(runs), h, w).T
    return masks.encode(whole)
