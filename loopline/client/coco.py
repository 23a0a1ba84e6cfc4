"""Items as a COCO document (https://cocodataset.org/#format-data).

A whole-image class, which COCO has no form for, becomes an annotation whose box is the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loopline.store.items import Item, Shape


def coco_document(
    items: Sequence[Item], classes: Sequence[str], file_name: Callable[[Item], str]
) -> dict[str, Any]:
    """Return the COCO document of `items`.

    Args:
        items: The items, in order; image ids count from 1.
        classes: Category names, in the order of their ids, which count from 1.
        file_name: Names an item's image file.
    """
    category = {name: index for index, name in enumerate(classes, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, item in enumerate(items, start=1):
        images.append(
            {
                "id": image_id,
                "file_name": file_name(item),
                "width": item.width_px,
                "height": item.height_px,
            }
        )
        for shape in item.shapes:
            if shape.class_name in category:
                annotations.append(
                    _annotation(len(annotations) + 1, image_id, category, item, shape)
                )
    categories = [{"id": index, "name": name} for name, index in category.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def _annotation(
    annotation_id: int, image_id: int, category: dict[str, int], item: Item, shape: Shape
) -> dict[str, Any]:
    x0, y0, x1, y1 = _extent(item, shape)
    annotation: dict[str, Any] = {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category[shape.class_name],
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
    }
    if shape.polygon:
        annotation["segmentation"] = [list(shape.polygon)]
    elif shape.mask_rle:
        annotation["segmentation"] = {
            "size": [item.height_px, item.width_px],
            "counts": shape.mask_rle,
        }
    if shape.confidence is not None:
        annotation["score"] = shape.confidence
    return annotation


def _extent(item: Item, shape: Shape) -> tuple[float, float, float, float]:
    if shape.bbox_xyxy:
        return shape.bbox_xyxy
    if shape.polygon:
        xs, ys = shape.polygon[0::2], shape.polygon[1::2]
        return min(xs), min(ys), max(xs), max(ys)
    return 0.0, 0.0, float(item.width_px), float(item.height_px)
