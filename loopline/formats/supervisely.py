"""Supervisely: a project folder (docs.supervisely.com, "Supervisely annotation format").

    meta.json   <dataset>/ann/<file name>.json   <dataset>/img/<file name>

A dataset of the project is a split; items without one are in `ds0`. Rectangles, polygons and
bitmaps (a PNG in base64 of zlib, at its origin); a whole-image class is the image's tag `class`;
other tags are tags.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.formats.labeled import (
    BadLabels,
    LabeledImage,
    files_below,
    is_whole_image,
    numbered,
    of_classes,
)
from loopline.store.items import Shape
from loopline.vision import masks

META = "meta.json"
NO_SPLIT = "ds0"
CLASS_TAG, CONFIDENCE_TAG, UNLABELED_TAG = "class", "confidence", "unlabeled"
_COLOURS = ("#D0021B", "#F5A623", "#7ED321", "#4A90E2", "#9013FE", "#50E3C2", "#8B572A", "#BD10E0")
_PIXELS_MAX = 200_000_000  # of a bitmap, before it is unpacked

Json = dict[str, Any]


def image_path(image: LabeledImage) -> str:
    """Return where an image's file goes in the folder."""
    return f"{image.split or NO_SPLIT}/img/{image.file_name}"


def read(path: Path) -> Iterator[LabeledImage]:
    """Yield the images of a project, dataset by dataset, sorted by name.

    Raises:
        BadLabels: A file cannot be; the message names it and the reason.
    """
    folders = sorted(folder for folder in path.glob("*/ann") if folder.is_dir())
    if not folders:
        raise BadLabels(f"{path} has no <dataset>/ann")
    for folder in folders:
        dataset = folder.parent.name
        for file in files_below(folder, ".json"):
            name = file.removesuffix(".json")
            try:
                yield _image(json.loads((folder / file).read_bytes()), name, dataset)
            except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
                raise BadLabels(f"{dataset}/ann/{name}.json: {error}") from error


def write(images: Iterable[LabeledImage], path: Path, classes: Sequence[str] | None = None) -> None:
    """Write a project; shapes of other classes than `classes` are left out."""
    names: dict[str, None] = dict.fromkeys(classes or ())
    tags: dict[str, None] = {}
    for image in images:
        kept = of_classes(image.shapes, classes)
        names |= dict.fromkeys(shape.class_name for shape in kept)
        tags |= dict.fromkeys(image.tags)
        file = path / (image.split or NO_SPLIT) / "ann" / f"{image.file_name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(_document(image, kept)))
    (path / META).write_text(json.dumps(_meta(list(names), list(tags))))


def _meta(names: Sequence[str], tags: Sequence[str]) -> Json:
    return {
        "classes": [
            {"title": name, "shape": "any", "color": _COLOURS[at % len(_COLOURS)]}
            for at, name in enumerate(names)
        ],
        "tags": [
            {"name": CLASS_TAG, "value_type": "oneof_string", "values": list(names)},
            {"name": CONFIDENCE_TAG, "value_type": "any_number"},
            *({"name": tag, "value_type": "none"} for tag in (UNLABELED_TAG, *tags)),
        ],
        "projectType": "images",
    }


def _document(image: LabeledImage, shapes: Sequence[Shape]) -> Json:
    said = [
        {"name": CLASS_TAG, "value": shape.class_name} for shape in shapes if is_whole_image(shape)
    ]
    other = [*image.tags, *(() if image.labeled else (UNLABELED_TAG,))]
    drawn = [shape for shape in shapes if not is_whole_image(shape)]
    return {
        "description": "",
        "tags": [*said, *({"name": tag, "value": None} for tag in other)],
        "size": {"height": image.height_px, "width": image.width_px},
        "objects": [_object(shape, at, image) for at, shape in enumerate(drawn, start=1)],
    }


def _object(shape: Shape, at: int, image: LabeledImage) -> Json:
    sure = shape.confidence
    made: Json = {
        "id": at,
        "classTitle": shape.class_name,
        "tags": [] if sure is None else [{"name": CONFIDENCE_TAG, "value": sure}],
    }
    if shape.mask_rle is not None:
        bitmap = _bitmap(shape.mask_rle, image.width_px, image.height_px)
        return made | {"geometryType": "bitmap", "bitmap": bitmap}
    if shape.polygon is not None:
        kind, flat = "polygon", shape.polygon
    else:
        assert shape.bbox_xyxy is not None  # a whole image is a tag
        kind, flat = "rectangle", shape.bbox_xyxy
    points = [[flat[i], flat[i + 1]] for i in range(0, len(flat), 2)]
    return made | {"geometryType": kind, "points": {"exterior": points, "interior": []}}


def _bitmap(rle: str, width_px: int, height_px: int) -> Json:
    import cv2

    x0, y0, x1, y1 = (int(v) for v in masks.box_of(rle, width_px, height_px) or (0, 0, 1, 1))
    part = masks.decode(rle, width_px, height_px)[y0:y1, x0:x1]
    _, png = cv2.imencode(".png", part.astype(np.uint8) * 255)
    data = base64.b64encode(zlib.compress(png.tobytes())).decode()
    return {"data": data, "origin": [x0, y0]}


def _image(document: Json, name: str, dataset: str) -> LabeledImage:
    width, height = int(document["size"]["width"]), int(document["size"]["height"])
    tags = document.get("tags") or []
    shapes = [Shape("", str(tag["value"])) for tag in tags if tag["name"] == CLASS_TAG]
    shapes += [_shape(one, width, height) for one in document.get("objects") or []]
    names = [str(tag["name"]) for tag in tags if tag["name"] != CLASS_TAG]
    return LabeledImage(
        name,
        width,
        height,
        numbered(shapes),
        "" if dataset == NO_SPLIT else dataset,
        tuple(tag for tag in names if tag != UNLABELED_TAG),
        UNLABELED_TAG not in names,
    )


def _shape(one: Mapping[str, Any], width: int, height: int) -> Shape:
    title, kind = str(one["classTitle"]), one["geometryType"]
    sure = next((t["value"] for t in one.get("tags") or [] if t["name"] == CONFIDENCE_TAG), None)
    confidence = None if sure is None else float(sure)
    if kind == "bitmap":
        mask = masks.encode(_unpacked(one["bitmap"], width, height))
        return Shape("", title, mask_rle=mask, confidence=confidence)
    points = one["points"]["exterior"]
    flat = tuple(float(value) for point in points for value in point)
    if kind == "polygon":
        return Shape("", title, polygon=flat, confidence=confidence)
    if kind == "rectangle" and len(flat) == 4:
        xs, ys = sorted(flat[0::2]), sorted(flat[1::2])
        return Shape("", title, bbox_xyxy=(xs[0], ys[0], xs[1], ys[1]), confidence=confidence)
    raise ValueError(f"the geometry {kind!r} is none of rectangle, polygon, bitmap")


def _unpacked(bitmap: Mapping[str, Any], width: int, height: int) -> npt.NDArray[np.bool_]:
    import cv2

    unpacker = zlib.decompressobj()
    png = unpacker.decompress(base64.b64decode(bitmap["data"]), _PIXELS_MAX)
    part = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if part is None:
        raise ValueError("a bitmap is no PNG")
    if part.ndim == 3:
        part = part[..., -1]
    x, y = (int(value) for value in bitmap["origin"])
    h, w = part.shape
    if x < 0 or y < 0 or x + w > width or y + h > height:
        raise ValueError(f"a bitmap of {w} x {h} at ({x}, {y}) leaves the image")
    whole = np.zeros((height, width), bool)
    whole[y : y + h, x : x + w] = part > 0
    return whole
