"""Whether a labeler and the model saw the same thing.

Whole-image classes agree when the labeler's set is the model's most confident class; drawn shapes
when they pair off one to one with the same class and an IoU of at least 0.5 of their boxes (the
threshold of PASCAL VOC). A finer agreement between several labelers is not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence

from loopline.store.items import Shape
from services.annotate.domain.shapes import is_whole_image, top_whole_image

IOU_MIN = 0.5

Box = tuple[float, float, float, float]


def agrees(labels: Sequence[Shape], predicted: Sequence[Shape]) -> bool:
    """Tell whether `labels` confirm what was predicted.

    Args:
        labels: What a person said.
        predicted: What the model had said; empty means that it saw nothing.
    """
    shown = top_whole_image(predicted)
    said = {shape.class_name for shape in labels if is_whole_image(shape)}
    if said != ({shown.class_name} if shown else set()):
        return False
    return _pair_off(
        [shape for shape in labels if not is_whole_image(shape)],
        [shape for shape in predicted if not is_whole_image(shape)],
    )


def _pair_off(labels: list[Shape], predicted: list[Shape]) -> bool:
    if len(labels) != len(predicted):
        return False
    left = list(predicted)
    for label in labels:
        best = max(left, key=lambda other: _similarity(label, other))
        if _similarity(label, best) < IOU_MIN:
            return False
        left.remove(best)
    return True


def _similarity(a: Shape, b: Shape) -> float:
    if a.class_name != b.class_name:
        return 0.0
    box_a, box_b = _box(a), _box(b)
    if box_a is None or box_b is None:
        return 1.0 if a.mask_rle == b.mask_rle else 0.0
    return iou(box_a, box_b)


def _box(shape: Shape) -> Box | None:
    if shape.polygon is not None:
        xs, ys = shape.polygon[0::2], shape.polygon[1::2]
        return min(xs), min(ys), max(xs), max(ys)
    return shape.bbox_xyxy


def iou(a: Box, b: Box) -> float:
    """Return intersection over union of two boxes `xyxy`, in [0, 1].

    >>> iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    intersection = width * height
    return intersection / (_area(a) + _area(b) - intersection)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
