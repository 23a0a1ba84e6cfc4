"""YOLO (https://docs.ultralytics.com/datasets/): a text file for each image, and `data.yaml`.

    data.yaml   images/<split>/<name>.jpg   labels/<split>/<name>.txt

A line is `class cx cy w h` (detect) or `class x0 y0 x1 y1 ...` (segment), in shares of the image's
sides, written with every digit so that a box comes back to 1e-9 px. Sizes are not in the files:
they are read from the images beside them. `detect` makes boxes of polygons and masks; `segment`
makes rings of polygons and masks, holes filled. A whole-image class is a box of the whole image.
Tags, ids and whose work it is are not kept; an item without a split goes to `train`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import yaml

from loopline.formats.labeled import (
    BadLabels,
    LabeledImage,
    box_of,
    files_below,
    is_whole_image,
    numbered,
    rings_of,
)
from loopline.store.items import Shape
from loopline.vision.headers import read_header

FILE = "data.yaml"
SPLITS = ("train", "val", "test")
_LABELS, _IMAGES, _SUFFIX = "labels", "images", ".txt"
_BOX_VALUES = (4, 5)  # the fifth is a confidence
Size = tuple[int, int]


def image_path(image: LabeledImage) -> str:
    """Return where an image's file goes in the folder."""
    return f"{_IMAGES}/{_split(image)}/{image.file_name}"


def read(path: Path) -> Iterator[LabeledImage]:
    """Yield the images of a folder, split by split, sorted by name.

    Raises:
        BadLabels: `data.yaml` or a line cannot be; the message names file, line and reason.
    """
    classes = read_classes(path)
    for split in SPLITS:
        for file in files_below(path / _IMAGES / split):
            yield _read_one(path, file, split, classes)


def read_classes(path: Path) -> list[str]:
    """Return the class names, in the order of their numbers."""
    file = path / FILE
    try:
        names = yaml.safe_load(file.read_text())["names"]
        if isinstance(names, dict):
            names = [names[number] for number in sorted(names)]
        return [str(name) for name in names]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise BadLabels(f"{file} does not say the names of classes: {error}") from error


def write_detect(
    images: Iterable[LabeledImage], path: Path, classes: Sequence[str] | None = None
) -> None:
    """Write a folder of boxes; `classes` as in `coco.write`."""
    _write(images, path, classes, _box_lines)


def write_segment(
    images: Iterable[LabeledImage], path: Path, classes: Sequence[str] | None = None
) -> None:
    """Write a folder of outlines; `classes` as in `coco.write`."""
    _write(images, path, classes, _ring_lines)


def _write(
    images: Iterable[LabeledImage],
    path: Path,
    classes: Sequence[str] | None,
    lines_of: Callable[[LabeledImage, Shape], Iterator[str]],
) -> None:
    number = {name: index for index, name in enumerate(classes or ())}
    for image in images:
        if not image.labeled:
            continue
        file = path / _LABELS / _split(image) / (image.stem + _SUFFIX)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w") as target:
            for shape in image.shapes:
                if classes is not None and shape.class_name not in number:
                    continue
                index = number.setdefault(shape.class_name, len(number))
                target.writelines(f"{index} {line}\n" for line in lines_of(image, shape))
    described = {
        "path": ".",
        **{split: f"{_IMAGES}/{split}" for split in SPLITS},
        "names": {index: name for name, index in number.items()},
    }
    for split in SPLITS:
        (path / _IMAGES / split).mkdir(parents=True, exist_ok=True)
    (path / FILE).write_text(yaml.safe_dump(described, sort_keys=False, allow_unicode=True))


def _split(image: LabeledImage) -> str:
    return image.split or SPLITS[0]


def _box_lines(image: LabeledImage, shape: Shape) -> Iterator[str]:
    width, height = image.width_px, image.height_px
    x0, y0, x1, y1 = box_of(shape, width, height)
    centre = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height)
    yield " ".join(map(repr, (*centre, (x1 - x0) / width, (y1 - y0) / height)))


def _ring_lines(image: LabeledImage, shape: Shape) -> Iterator[str]:
    if shape.bbox_xyxy is not None or is_whole_image(shape):
        yield from _box_lines(image, shape)
        return
    for ring in rings_of(shape, image.width_px, image.height_px):
        sides = (image.width_px, image.height_px) * (len(ring) // 2)
        yield " ".join(repr(value / side) for value, side in zip(ring, sides, strict=True))


def _read_one(path: Path, name: str, split: str, classes: Sequence[str]) -> LabeledImage:
    header = read_header((path / _IMAGES / split / name).read_bytes())
    size = header.width_px, header.height_px
    labels = (path / _LABELS / split / name).with_suffix(_SUFFIX)
    if not labels.is_file():
        return LabeledImage(name, *size, split=split, labeled=False)
    shapes = []
    with labels.open() as lines:
        for at, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                shapes.append(_shape(line.split(), classes, size))
            except (ValueError, IndexError) as error:
                raise BadLabels(f"{labels.name} line {at}: {error}") from error
    return LabeledImage(name, *size, numbered(shapes), split)


def _shape(words: Sequence[str], classes: Sequence[str], size: Size) -> Shape:
    number, values = int(words[0]), [float(word) for word in words[1:]]
    if not 0 <= number < len(classes):
        raise ValueError(f"there is no class {number}")
    width, height = size
    if len(values) in _BOX_VALUES:
        cx, cy, w, h = values[:4]
        box = (
            (cx - w / 2) * width, (cy - h / 2) * height,
            (cx + w / 2) * width, (cy + h / 2) * height,
        )  # fmt: skip
        confidence = values[4] if len(values) > 4 else None
        return Shape("", classes[number], bbox_xyxy=box, confidence=confidence)
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"{len(values)} numbers are neither a box nor an outline")
    sides = (width, height) * (len(values) // 2)
    ring = tuple(value * side for value, side in zip(values, sides, strict=True))
    return Shape("", classes[number], polygon=ring)
