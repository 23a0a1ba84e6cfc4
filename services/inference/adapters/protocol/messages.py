"""Shapes as messages have them."""

from __future__ import annotations

from loopline.contracts import BoundingBox, Shape
from loopline.store.items import Shape as StoredShape


def shape_message(shape: StoredShape) -> Shape:
    """Return a shape as messages have it."""
    message = Shape(
        id=shape.id,
        class_name=shape.class_name,
        confidence=shape.confidence,
        source=shape.source,
    )
    if shape.bbox_xyxy is not None:
        x_min, y_min, x_max, y_max = shape.bbox_xyxy
        message.bbox_xyxy.CopyFrom(BoundingBox(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max))
    elif shape.mask_rle is not None:
        message.mask.rle = shape.mask_rle
    elif shape.polygon is not None:
        message.polygon.points.extend(shape.polygon)
    return message
