"""Label Studio (https://labelstud.io/guide/export): one JSON array of tasks.

Coordinates are percent of the image's sides. Rectangles, polygons, brush masks (its own run lengths
of RGBA, `brush`), and choices, which are whole-image classes. Labels are annotations of a task,
predictions its predictions; `task` and `shapes_of_result` serve the bridge too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ijson

from loopline.formats import brush
from loopline.formats.labeled import (
    BadLabels,
    LabeledImage,
    is_whole_image,
    numbered,
    of_classes,
)
from loopline.store.items import Shape

FILE = "tasks.json"
IMAGES = "images"
IMAGE, BOXES, RINGS, BRUSH, CHOICE = "image", "boxes", "polygons", "masks", "choice"
"""Names of the control tags that `labeling_config` makes."""

Json = dict[str, Any]


def image_path(image: LabeledImage) -> str:
    """Return where an image's file goes in the folder."""
    return f"{IMAGES}/{image.file_name}"


def read(path: Path) -> Iterator[LabeledImage]:
    """Yield the images of an export, or of `tasks.json` in a folder, in its order.

    Of several annotations of a task the last one that was not cancelled counts.

    Raises:
        BadLabels: It cannot be; the message names task and reason.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise BadLabels(f"there is no file {file}")
    try:
        with file.open("rb") as source:
            for record in ijson.items(source, "item", use_float=True):
                yield _image(record)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise BadLabels(f"{file.name} is not JSON: {error}") from error


def write(images: Iterable[LabeledImage], path: Path, classes: Sequence[str] | None = None) -> None:
    """Write an export, or `tasks.json` into a folder; other classes are left out."""
    file = path / FILE if path.is_dir() else path
    with file.open("w") as target:
        target.write("[")
        for at, image in enumerate(images, start=1):
            made = task(image, f"{IMAGES}/{image.file_name}", classes)
            target.write(("," if at > 1 else "") + "\n" + json.dumps({"id": at, **made}))
        target.write("\n]\n")


def task(image: LabeledImage, url: str, classes: Sequence[str] | None = None) -> Json:
    """Return an image with its labels as a task.

    Args:
        image: The image.
        url: Where Label Studio finds its file.
        classes: Labels of other classes are left out; None takes all.
    """
    data: Json = {
        IMAGE: url,
        "file_name": image.file_name,
        "width": image.width_px,
        "height": image.height_px,
        "split": image.split,
        "tags": list(image.tags),
    }
    annotations = []
    if image.labeled:
        result = result_of(of_classes(image.shapes, classes), image.width_px, image.height_px)
        annotations.append({"result": result, "was_cancelled": False, "ground_truth": False})
    return {"data": data, "annotations": annotations, "predictions": []}


def result_of(shapes: Iterable[Shape], width_px: int, height_px: int) -> list[Json]:
    """Return shapes as the `result` of an annotation or a prediction."""
    whole = [shape for shape in shapes if is_whole_image(shape)]
    drawn = [shape for shape in shapes if not is_whole_image(shape)]
    made = [_region(shape, width_px, height_px) for shape in drawn]
    if whole:
        names = [shape.class_name for shape in whole]
        choice = {"value": {"choices": names}, "from_name": CHOICE, "type": "choices"}
        made.append({"id": "choice", "to_name": IMAGE, **choice})
    return made


def _region(shape: Shape, width_px: int, height_px: int) -> Json:
    common = {
        "id": shape.id,
        "to_name": IMAGE,
        "original_width": width_px,
        "original_height": height_px,
        "image_rotation": 0,
    }
    if shape.confidence is not None:
        common["score"] = shape.confidence
    if shape.bbox_xyxy is not None:
        x0, y0, x1, y1 = shape.bbox_xyxy
        value: Json = {
            "x": 100 * x0 / width_px,
            "y": 100 * y0 / height_px,
            "width": 100 * (x1 - x0) / width_px,
            "height": 100 * (y1 - y0) / height_px,
            "rotation": 0,
            "rectanglelabels": [shape.class_name],
        }
        return common | {"value": value, "from_name": BOXES, "type": "rectanglelabels"}
    if shape.polygon is not None:
        pairs = zip(shape.polygon[0::2], shape.polygon[1::2], strict=True)
        points = [[100 * x / width_px, 100 * y / height_px] for x, y in pairs]
        value = {"points": points, "closed": True, "polygonlabels": [shape.class_name]}
        return common | {"value": value, "from_name": RINGS, "type": "polygonlabels"}
    assert shape.mask_rle is not None  # a whole image is a choice
    packed = brush.pack(shape.mask_rle, width_px, height_px)
    value = {"format": "rle", "rle": packed, "brushlabels": [shape.class_name]}
    return common | {"value": value, "from_name": BRUSH, "type": "brushlabels"}


def shapes_of_result(
    result: Iterable[Mapping[str, Any]], width_px: int, height_px: int
) -> tuple[Shape, ...]:
    """Return the shapes of an annotation's `result`; what is no shape of ours is left out.

    Raises:
        BadLabels: A region cannot be.
    """
    shapes: list[Shape] = []
    for region in result:
        try:
            shapes += _shapes(region, width_px, height_px)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise BadLabels(f"region {region.get('id')!r}: {error}") from error
    return numbered(shapes)


def _shapes(region: Mapping[str, Any], width_px: int, height_px: int) -> list[Shape]:
    kind, value, name = region.get("type"), region.get("value") or {}, str(region.get("id") or "")
    sure = region.get("score")
    common: Json = {"id": name, "confidence": None if sure is None else float(sure)}
    if kind == "choices":
        return [Shape("", str(choice)) for choice in value["choices"]]
    if kind == "rectanglelabels":
        if value.get("rotation"):
            raise ValueError("a rotated rectangle is no box")
        x, y = value["x"] * width_px / 100, value["y"] * height_px / 100
        w, h = value["width"] * width_px / 100, value["height"] * height_px / 100
        return [Shape(class_name=value[kind][0], bbox_xyxy=(x, y, x + w, y + h), **common)]
    if kind == "polygonlabels":
        ring = tuple(
            c * side / 100
            for point in value["points"]
            for c, side in zip(point, (width_px, height_px), strict=True)
        )
        return [Shape(class_name=value[kind][0], polygon=ring, **common)]
    if kind == "brushlabels":
        mask = brush.unpack(value["rle"], width_px, height_px)
        return [Shape(class_name=value[kind][0], mask_rle=mask, **common)]
    return []


def labeling_config(classes: Sequence[str], shapes: Sequence[str] = ()) -> str:
    """Return the project's configuration (XML) for these classes.

    Args:
        classes: Class names.
        shapes: What may be drawn: "whole_image", "box", "polygon", "mask"; empty for all.
    """
    from xml.sax.saxutils import quoteattr

    wanted = set(shapes or ("whole_image", "box", "polygon", "mask"))
    labels = "".join(f"<Label value={quoteattr(name)}/>" for name in classes)
    parts = [f'<Image name="{IMAGE}" value="${IMAGE}" zoom="true"/>']
    for kind, tag, name in (
        ("box", "RectangleLabels", BOXES),
        ("polygon", "PolygonLabels", RINGS),
        ("mask", "BrushLabels", BRUSH),
    ):
        if kind in wanted:
            parts.append(f'<{tag} name="{name}" toName="{IMAGE}">{labels}</{tag}>')
    if "whole_image" in wanted:
        choices = "".join(f"<Choice value={quoteattr(name)}/>" for name in classes)
        parts.append(
            f'<Choices name="{CHOICE}" toName="{IMAGE}" choice="multiple">{choices}</Choices>'
        )
    return "<View>" + "".join(parts) + "</View>"


def _image(record: Json) -> LabeledImage:
    name = record.get("id")
    try:
        data = record["data"]
        kept = [a for a in record.get("annotations") or [] if not a.get("was_cancelled")]
        result = kept[-1]["result"] if kept else []
        width, height = _size(data, result)
        file_name = str(data.get("file_name") or str(data[IMAGE]).rpartition("/")[2])
        return LabeledImage(
            file_name,
            width,
            height,
            shapes_of_result(result, width, height),
            str(data.get("split") or ""),
            tuple(data.get("tags") or ()),
            bool(kept),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadLabels(f"task {name!r}: {type(error).__name__}: {error}") from error
    except BadLabels as error:
        raise BadLabels(f"task {name!r}: {error.message}") from error


def _size(data: Mapping[str, Any], result: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    for region in result:
        if "original_width" in region:
            return int(region["original_width"]), int(region["original_height"])
    return int(data["width"]), int(data["height"])
