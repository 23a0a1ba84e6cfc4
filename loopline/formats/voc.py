"""Pascal VOC (http://host.robots.ox.ac.uk/pascal/VOC/): an XML file for each image.

    Annotations/<name>.xml   JPEGImages/<name>.jpg   ImageSets/Main/<split>.txt   labelmap.txt

`labelmap.txt` names the classes, as CVAT and Datumaro want it where they are not VOC's own twenty.

Coordinates are written as CVAT, Label Studio and LabelImg write them: from 0, with every digit. VOC
proper counts pixels from 1 and in whole numbers: say `one_based=True` to read such files. There are
boxes only: polygons and masks become theirs. A whole-image class is a box of the whole image with
`<whole_image>1</whole_image>`. Tags and ids are not kept; an image that nobody labeled has no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO

from loopline.formats import xml
from loopline.formats.labeled import (
    BadLabels,
    LabeledImage,
    box_of,
    files_below,
    is_whole_image,
    numbered,
    of_classes,
)
from loopline.store.items import Shape

ANNOTATIONS, IMAGES, SETS = "Annotations", "JPEGImages", "ImageSets/Main"
LABELS, LABELS_HEAD = "labelmap.txt", "# label:color_rgb:parts:actions"
WHOLE_IMAGE = "whole_image"


def image_path(image: LabeledImage) -> str:
    """Return where an image's file goes in the folder."""
    return f"{IMAGES}/{image.file_name}"


def read(path: Path, *, one_based: bool = False) -> Iterator[LabeledImage]:
    """Yield the annotated images of a folder, sorted by name.

    Args:
        path: The folder, or its `Annotations`.
        one_based: Whether pixels count from 1 and boxes hold their last pixel, as in VOC's own.

    Raises:
        BadLabels: A file cannot be; the message names it and the reason.
    """
    folder = path / ANNOTATIONS if (path / ANNOTATIONS).is_dir() else path
    splits = _read_splits(path)
    files = files_below(folder, ".xml")
    if not files:
        raise BadLabels(f"{path} has no {ANNOTATIONS}/*.xml")
    for file in files:
        split = splits.get(file.removesuffix(".xml"), "")
        try:
            yield _image(xml.root(folder / file), split, 1.0 if one_based else 0.0)
        except ValueError as error:
            raise BadLabels(f"{file}: {error}") from error


def write(images: Iterable[LabeledImage], path: Path, classes: Sequence[str] | None = None) -> None:
    """Write a folder; annotations of other classes than `classes` are left out."""
    (path / SETS).mkdir(parents=True, exist_ok=True)
    names: set[str] = set()
    with ExitStack() as files:
        lists: dict[str, IO[str]] = {}
        for image in images:
            if image.split and image.split not in lists:
                target = (path / SETS / f"{image.split}.txt").open("w")
                lists[image.split] = files.enter_context(target)
            if image.split:
                lists[image.split].write(image.stem + "\n")
            if image.labeled:
                names.update(shape.class_name for shape in of_classes(image.shapes, classes))
                _write_one(image, path, classes)
    lines = [f"{name}:::" for name in sorted(names) if ":" not in name]  # the format's separator
    (path / LABELS).write_text("\n".join([LABELS_HEAD, *lines, ""]), encoding="utf-8")


def _write_one(image: LabeledImage, path: Path, classes: Sequence[str] | None) -> None:
    file = path / ANNOTATIONS / f"{image.stem}.xml"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as target:
        made = xml.Writer(target)
        made.start("annotation")
        made.leaf("folder", IMAGES)
        made.leaf("filename", image.file_name)
        made.start("size")
        for name, value in (("width", image.width_px), ("height", image.height_px), ("depth", 3)):
            made.leaf(name, value)
        made.end()
        made.leaf("segmented", 0)
        for shape in of_classes(image.shapes, classes):
            _write_object(made, image, shape)
        made.end()


def _write_object(made: xml.Writer, image: LabeledImage, shape: Shape) -> None:
    made.start("object")
    made.leaf("name", shape.class_name)
    for name in ("pose", "truncated", "difficult"):
        made.leaf(name, "Unspecified" if name == "pose" else 0)
    if is_whole_image(shape):
        made.leaf(WHOLE_IMAGE, 1)
    if shape.confidence is not None:
        made.leaf("confidence", repr(shape.confidence))
    made.start("bndbox")
    box = box_of(shape, image.width_px, image.height_px)
    for name, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
        made.leaf(name, _number(float(value)))
    made.end()
    made.end()


def _number(value: float) -> str:
    """Return a coordinate; a whole one without a point, for programs that read whole ones alone."""
    return str(int(value)) if value.is_integer() else repr(value)


def _read_splits(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for split in ("train", "val", "test"):
        file = path / SETS / f"{split}.txt"
        if file.is_file():
            lines = file.read_text().splitlines()
            found |= {line.split()[0]: split for line in lines if line.strip()}
    return found


def _image(root: xml.Element, split: str, first: float) -> LabeledImage:
    size = root.find("size")
    if size is None:
        raise ValueError("it has no size")
    shapes = [_shape(one, first) for one in root.findall("object")]
    name = PurePosixPath((root.findtext("filename") or "").replace("\\", "/")).as_posix()
    if name == ".":
        raise ValueError("it has no filename")
    width, height = int(xml.number(size, "width")), int(xml.number(size, "height"))
    return LabeledImage(name, width, height, numbered(shapes), split)


def _shape(one: xml.Element, first: float) -> Shape:
    class_name, box = one.findtext("name"), one.find("bndbox")
    if not class_name:
        raise ValueError("an object has no name")
    confidence = one.findtext("confidence")
    sure = None if confidence is None else float(confidence)
    if one.findtext(WHOLE_IMAGE) == "1":
        return Shape("", class_name, confidence=sure)
    if box is None:
        raise ValueError(f"the object {class_name} has no bndbox")
    x0, y0 = xml.number(box, "xmin") - first, xml.number(box, "ymin") - first
    x1, y1 = xml.number(box, "xmax"), xml.number(box, "ymax")
    return Shape("", class_name, bbox_xyxy=(x0, y0, x1, y1), confidence=sure)
