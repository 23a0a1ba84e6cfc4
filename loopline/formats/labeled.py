"""What every format reads and writes: images with their labels, one at a time.

Decides what of an item is a label, and how a shape becomes one that a format can hold; leaves files
to the formats. Nothing here or in a format holds more than one image's labels in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from loopline.errors import Rejected
from loopline.store.items import Item, Shape
from loopline.store.shapes import REJECTED
from loopline.vision import masks

EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/bmp": ".bmp",
    "image/tiff": ".tif",
    "image/gif": ".gif",
}


class BadLabels(Rejected):
    """A file of labels is not what its format says."""


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """An image and what is said of it.

    Args:
        file_name: Its file, relative to the folder of images, `/` between folders.
        width_px: Of the decoded image.
        height_px: Of the decoded image.
        shapes: Its labels; a shape without geometry speaks of the whole image.
        split: "train", "val", "test" or "" for none.
        tags: Names that people gave.
        labeled: Somebody said what is on it; no shapes then means that nothing is.
    """

    file_name: str
    width_px: int
    height_px: int
    shapes: tuple[Shape, ...] = ()
    split: str = ""
    tags: tuple[str, ...] = ()
    labeled: bool = True

    @property
    def stem(self) -> str:
        """The file name without its extension."""
        return str(PurePosixPath(self.file_name).with_suffix(""))


def image_file(item: Item) -> str:
    """Return the name an item's image is exported under."""
    return item.asset + EXTENSIONS.get(item.media_type, ".img")


def labeled_image(item: Item) -> LabeledImage:
    """Return an item as formats write it; shapes that a review rejected are no labels."""
    shapes = tuple(shape for shape in item.shapes if shape.review != REJECTED)
    name = image_file(item)
    return LabeledImage(
        name, item.width_px, item.height_px, shapes, item.split, item.tags, item.labeled
    )


def files_below(folder: Path, suffix: str = "") -> list[str]:
    """Return the files below a folder, sorted, relative to it, `/` between folders.

    As texts: a hundred thousand paths would take hundreds of megabytes.
    """
    found = []
    for parent, _, names in os.walk(folder):
        below = os.path.relpath(parent, folder)
        prefix = "" if below == "." else below.replace(os.sep, "/") + "/"
        found += [prefix + name for name in names if name.endswith(suffix)]
    return sorted(found)


def is_whole_image(shape: Shape) -> bool:
    """Tell whether a shape speaks of the whole image (classification)."""
    return shape.bbox_xyxy is None and shape.polygon is None and shape.mask_rle is None


def box_of(shape: Shape, width_px: int, height_px: int) -> masks.Box:
    """Return the box `xyxy` around a shape; the whole image for one without geometry."""
    if shape.bbox_xyxy is not None:
        return shape.bbox_xyxy
    if shape.polygon is not None:
        return masks.box_of_polygon(shape.polygon)
    if shape.mask_rle is not None:
        found = masks.box_of(shape.mask_rle, width_px, height_px)
        if found is not None:
            return found
    return 0.0, 0.0, float(width_px), float(height_px)


def rings_of(shape: Shape, width_px: int, height_px: int) -> list[masks.Polygon]:
    """Return the outer rings of a polygon or mask, those of a box's corners for a box."""
    if shape.polygon is not None:
        return [shape.polygon]
    if shape.mask_rle is not None:
        return masks.to_polygons(masks.decode(shape.mask_rle, width_px, height_px))
    x0, y0, x1, y1 = box_of(shape, width_px, height_px)
    return [(x0, y0, x1, y0, x1, y1, x0, y1)]


def of_classes(shapes: Iterable[Shape], classes: Iterable[str] | None) -> tuple[Shape, ...]:
    """Return the shapes of these classes; all of them if None."""
    if classes is None:
        return tuple(shapes)
    known = set(classes)
    return tuple(shape for shape in shapes if shape.class_name in known)


def numbered(shapes: Iterable[Shape]) -> tuple[Shape, ...]:
    """Return shapes with ids that are unique within the image: those given where they are."""
    made: list[Shape] = []
    used: set[str] = set()
    for index, shape in enumerate(shapes, start=1):
        name = shape.id or str(index)
        while name in used:
            name += "'"
        used.add(name)
        made.append(shape if shape.id == name else replace(shape, id=name))
    return tuple(made)
