"""Annotations: the shape type, its canonical document, and its columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import pyarrow as pa

from loopline.errors import Rejected
from loopline.store.rows import Document, cut, flat, list_of, nested, number

REJECTED = "rejected"  # a shape's review
SHAPE_TYPE = pa.struct(
    {
        "id": pa.string(),
        "class_name": pa.string(),
        "bbox_xyxy": list_of(pa.float64()),
        "polygon": list_of(pa.float64()),
        "mask_rle": pa.string(),
        "confidence": pa.float64(),
        "source": pa.string(),
        "edited_from": pa.string(),
        "review": pa.string(),
    }
)
"""Fields in the order of `Shape`."""
SHAPES_TYPE = list_of(SHAPE_TYPE)
REPETITIVE = tuple(
    f"shapes.list.element.{name}" for name in ("class_name", "source", "edited_from", "review")
)
"""Parquet paths in a column named "shapes" whose values repeat."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One annotation: a class on the image, or on a part of it.

    Coordinates are pixels of the decoded image, origin top left, x right, y down. No geometry at
    all means the whole image (classification).

    Args:
        id: Unique within the item.
        class_name: The class.
        bbox_xyxy: x_min, y_min, x_max, y_max.
        polygon: x0, y0, x1, y1, ...
        mask_rle: COCO compressed run-length encoding, column-major.
        confidence: A model's, in [0, 1]; None for people.
        source: "import:<run id>", "model:<model digest>" or "labeler:<name>".
        edited_from: The id of the shape that this one was edited from.
        review: "", "accepted" or "rejected".
    """

    id: str
    class_name: str
    bbox_xyxy: tuple[float, float, float, float] | None = None
    polygon: tuple[float, ...] | None = None
    mask_rle: str | None = None
    confidence: float | None = None
    source: str = ""
    edited_from: str = ""
    review: str = ""


def shape_document(shape: Shape) -> Document:
    """Return the canonical document of a shape, without fields that equal their default.

    Raises:
        Rejected: A box has not 4 numbers.
    """
    document = _geometry(shape)
    document["id"] = shape.id
    document["class_name"] = shape.class_name
    if shape.confidence is not None:
        document["confidence"] = number(shape.confidence)
    if shape.source:
        document["source"] = shape.source
    if shape.edited_from:
        document["edited_from"] = shape.edited_from
    if shape.review:
        document["review"] = shape.review
    return document


def label_document(shape: Shape) -> Document | None:
    """Return what counts of a shape as a label: class and geometry; None if it was rejected."""
    if shape.review == REJECTED:
        return None
    document = _geometry(shape)
    document["class_name"] = shape.class_name
    return document


def shapes_column(rows: Sequence[Sequence[Shape]]) -> pa.Array:
    """Return the column that holds the shapes of each row."""
    shapes = [shape for row in rows for shape in row]
    values: dict[str, list[Any]] = {
        "id": [shape.id for shape in shapes],
        "class_name": [shape.class_name for shape in shapes],
        "bbox_xyxy": [_ring(shape.bbox_xyxy) for shape in shapes],
        "polygon": [_ring(shape.polygon) for shape in shapes],
        "mask_rle": [shape.mask_rle for shape in shapes],
        "confidence": [
            None if shape.confidence is None else number(shape.confidence) for shape in shapes
        ],
        "source": [shape.source for shape in shapes],
        "edited_from": [shape.edited_from for shape in shapes],
        "review": [shape.review for shape in shapes],
    }
    fields = list(SHAPE_TYPE)
    arrays = [pa.array(values[field.name], field.type) for field in fields]
    return nested(rows, pa.StructArray.from_arrays(arrays, fields=fields))


def read_shapes(column: pa.ChunkedArray) -> Iterator[tuple[Shape, ...]]:
    """Yield the shapes of each row of what `shapes_column` made."""
    lengths, values = flat(column)
    fields: list[Iterable[Any]] = []
    for at, field in enumerate(SHAPE_TYPE):
        array = values.field(at)
        if array.null_count == len(array):
            fields.append(repeat(None, len(array)))
        elif pa.types.is_list(field.type):
            fields.append(v if v is None else tuple(v) for v in array.to_pylist())
        else:
            fields.append(array.to_pylist())
    return cut(list(map(Shape, *fields)), lengths)


def carried_classes(column: pa.ChunkedArray) -> Iterator[str]:
    """Yield the class names of the shapes that were not rejected, once per row and class."""
    lengths, shapes = flat(column)
    names = shapes.field("class_name").to_pylist()
    reviews = shapes.field("review").to_pylist()
    owners = (row for row, length in enumerate(lengths) for _ in range(length))
    carried = {
        (row, name)
        for row, name, review in zip(owners, names, reviews, strict=True)
        if review != REJECTED
    }
    return (name for _, name in carried)


def _geometry(shape: Shape) -> Document:
    document: Document = {}
    if shape.bbox_xyxy is not None:
        if len(shape.bbox_xyxy) != 4:
            raise Rejected(f"shape {shape.id!r}: a box has 4 numbers, not {len(shape.bbox_xyxy)}")
        document["bbox_xyxy"] = [number(value) for value in shape.bbox_xyxy]
    if shape.polygon is not None:
        document["polygon"] = [number(value) for value in shape.polygon]
    if shape.mask_rle is not None:
        document["mask_rle"] = shape.mask_rle
    return document


def _ring(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [number(value) for value in values]
