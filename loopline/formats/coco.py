"""COCO (https://cocodataset.org/#format-data): one JSON file of images, annotations, categories.

Read in any order of its parts, written part by part; annotations wait in a temporary file, so that
a million of them take no memory. Boxes, polygons (one ring; several become a mask), masks as
compressed or plain run lengths. A whole-image class, which COCO has no form for, is an annotation
whose box is the image and whose `attributes` say so, as CVAT writes attributes.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import ijson

from loopline.formats.labeled import (
    BadLabels,
    LabeledImage,
    box_of,
    is_whole_image,
    numbered,
    of_classes,
)
from loopline.store.items import Shape
from loopline.vision import masks

FILE = "coco.json"
IMAGES = "images"
WHOLE_IMAGE = "whole_image"
_IMAGE_KEYS = ("id", "file_name", "width", "height")
_ROWS_AT_ONCE = 5_000
_HEAD = '{"info": {"description": "exported by Loopline"}, "licenses": [],\n"images": ['

Json = dict[str, Any]


BadAnnotation = Callable[[str, str, str], None]
"""Told of an annotation that makes no sense: the image's file name, the annotation's id, why."""


def image_path(image: LabeledImage) -> str:
    """Return where an image's file goes in the folder."""
    return f"{IMAGES}/{image.file_name}"


def read(path: Path, bad: BadAnnotation | None = None) -> Iterator[LabeledImage]:
    """Yield the images of a COCO file, in its order, with their annotations.

    Args:
        path: The JSON file, or a folder with `coco.json` or one JSON file in it.
        bad: Told of each bad annotation, which is then left out; without it the first one raises.

    Raises:
        BadLabels: It is no COCO file; the message names file, annotation and reason.
    """
    file = _file(path)
    try:
        with file.open("rb") as source, closing(sqlite3.connect("")) as spool:
            categories = dict(_each(source, "categories", _category))
            _spool(spool, source)
            for image in _records(source, "images"):
                yield _image(image, _annotations_of(spool, image), categories, bad)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise BadLabels(f"{file.name} is not JSON: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadLabels(f"{file.name}: {type(error).__name__}: {error}") from error


def read_classes(path: Path) -> list[str]:
    """Return the categories' names, in the order of their ids."""
    with _file(path).open("rb") as source:
        return [name for _, name in sorted(_each(source, "categories", _category))]


def write(images: Iterable[LabeledImage], path: Path, classes: Sequence[str] | None = None) -> None:
    """Write a COCO file.

    Args:
        images: With their labels; image ids count from 1.
        path: The JSON file, or a folder to write `coco.json` into.
        classes: Category names in the order of their ids, from 1; annotations of other classes are
            left out. None takes every class, in the order they come.
    """
    file = path / FILE if path.is_dir() else path
    category = {name: index for index, name in enumerate(classes or (), start=1)}
    with file.open("w") as target, tempfile.TemporaryFile("w+") as annotations:
        target.write(
            '{"info": {"description": "exported by Loopline"}, "licenses": [],\n"images": ['
        )
        annotation_id = 0
        for image_id, image in enumerate(images, start=1):
            target.write(_comma(image_id) + json.dumps(_image_record(image_id, image)))
            for shape in of_classes(image.shapes, classes):
                annotation_id += 1
                number = category.setdefault(shape.class_name, len(category) + 1)
                record = _annotation_record(annotation_id, image_id, number, image, shape)
                annotations.write(_comma(annotation_id) + json.dumps(record))
        target.write('],\n"annotations": [')
        annotations.seek(0)
        shutil.copyfileobj(annotations, target)
        categories = [{"id": number, "name": name} for name, number in category.items()]
        target.write('],\n"categories": ' + json.dumps(categories) + "}\n")


def _comma(number: int) -> str:
    return ",\n" if number > 1 else "\n"


def _image_record(image_id: int, image: LabeledImage) -> Json:
    record: Json = {
        "id": image_id,
        "file_name": image.file_name,
        "width": image.width_px,
        "height": image.height_px,
    }
    if image.split:
        record["split"] = image.split
    if image.tags:
        record["tags"] = list(image.tags)
    if not image.labeled:
        record["labeled"] = False
    return record


def _annotation_record(
    annotation_id: int, image_id: int, category: int, image: LabeledImage, shape: Shape
) -> Json:
    x0, y0, x1, y1 = box_of(shape, image.width_px, image.height_px)
    record: Json = {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
    }
    if shape.polygon is not None:
        record |= {
            "segmentation": [list(shape.polygon)],
            "area": masks.area_of_polygon(shape.polygon),
        }
    elif shape.mask_rle is not None:
        size = [image.height_px, image.width_px]
        record |= {
            "segmentation": {"size": size, "counts": shape.mask_rle},
            "area": masks.area(shape.mask_rle),
        }
    elif is_whole_image(shape):
        record["attributes"] = {WHOLE_IMAGE: True}
    if shape.confidence is not None:
        record["score"] = shape.confidence
    return record


def _file(path: Path) -> Path:
    if not path.is_dir():
        if not path.is_file():
            raise BadLabels(f"there is no file {path}")
        return path
    if (path / FILE).is_file():
        return path / FILE
    found = sorted([*path.glob("*.json"), *path.glob("annotations/*.json")])
    if len(found) != 1:
        raise BadLabels(f"{path} has {len(found)} JSON files: name the one to read")
    return found[0]


def _records(source: IO[bytes], part: str) -> Iterator[Json]:
    source.seek(0)
    for record in ijson.items(source, f"{part}.item", use_float=True):
        if not isinstance(record, dict):
            raise BadLabels(f"an entry of {part} is no object: {record!r}")
        yield record


def _each(source: IO[bytes], part: str, read_one: Any) -> Iterator[Any]:  # a function of a record
    return (read_one(record) for record in _records(source, part))


def _category(record: Mapping[str, Any]) -> tuple[int, str]:
    return int(record["id"]), str(record["name"])


def _spool(spool: sqlite3.Connection, source: IO[bytes]) -> None:
    """Put annotations where they can be found by image."""
    spool.execute("CREATE TABLE annotations (image TEXT, record TEXT)")
    rows: list[tuple[str, str]] = []
    for record in _records(source, "annotations"):
        if "image_id" not in record:
            raise BadLabels(f"annotation {record.get('id')!r} names no image_id")
        rows.append((str(record["image_id"]), json.dumps(record)))
        if len(rows) == _ROWS_AT_ONCE:
            spool.executemany("INSERT INTO annotations VALUES (?, ?)", rows)
            rows.clear()
    spool.executemany("INSERT INTO annotations VALUES (?, ?)", rows)
    spool.execute("CREATE INDEX by_image ON annotations (image)")


def _annotations_of(spool: sqlite3.Connection, image: Mapping[str, Any]) -> list[Json]:
    found = spool.execute(
        "SELECT record FROM annotations WHERE image = ? ORDER BY rowid", (str(image.get("id")),)
    )
    return [json.loads(record) for (record,) in found]


def _image(
    record: Json,
    annotations: Sequence[Json],
    categories: Mapping[int, str],
    bad: BadAnnotation | None,
) -> LabeledImage:
    missing = [key for key in _IMAGE_KEYS if key not in record]
    if missing:
        raise BadLabels(f"image {record.get('id')!r} has no {missing[0]}")
    width, height = int(record["width"]), int(record["height"])
    shapes = []
    for annotation in annotations:
        try:
            shapes.append(_shape(annotation, categories, width, height))
        except (KeyError, TypeError, ValueError) as error:
            if bad is None:
                raise BadLabels(
                    f"annotation {annotation.get('id')!r} of {record['file_name']}: {error}"
                ) from error
            bad(str(record["file_name"]), str(annotation.get("id", "")), str(error))
    return LabeledImage(
        str(record["file_name"]),
        width,
        height,
        numbered(shapes),
        str(record.get("split") or ""),
        tuple(record.get("tags") or ()),
        bool(record.get("labeled", True)),
    )


def _shape(record: Json, categories: Mapping[int, str], width: int, height: int) -> Shape:
    number = int(record["category_id"])
    if number not in categories:
        raise ValueError(f"there is no category {number}")
    score = record.get("score")
    common: Json = {
        "id": str(record.get("id") or ""),
        "class_name": categories[number],
        "confidence": None if score is None else float(score),
    }
    if (record.get("attributes") or {}).get(WHOLE_IMAGE):
        return Shape(**common)
    segmentation = record.get("segmentation")
    if isinstance(segmentation, dict):
        return Shape(**common, mask_rle=_mask(segmentation, width, height))
    if segmentation:
        rings = [tuple(float(value) for value in ring) for ring in segmentation]
        if len(rings) == 1 and len(rings[0]) >= 6:
            return Shape(**common, polygon=rings[0])
        if len(rings) > 1:
            drawn = masks.from_polygons(rings, width, height)
            return Shape(**common, mask_rle=masks.encode(drawn))
    x, y, w, h = (float(value) for value in record["bbox"])
    return Shape(**common, bbox_xyxy=(x, y, x + w, y + h))


def _mask(segmentation: Json, width: int, height: int) -> str:
    counts = segmentation["counts"]
    rle = counts if isinstance(counts, str) else masks.rle_of_runs(counts)
    masks.check_mask(rle, width, height)
    return rle
