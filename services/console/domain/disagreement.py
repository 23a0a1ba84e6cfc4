"""How far a label and a prediction of one image are apart. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]

IOU_MIN = 0.5
CONFIDENCE_MIN = 0.3
"""Less sure boxes say nothing that could be wrong."""


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody said of an image, or of a part of it.

    Args:
        class_name: The class.
        box: Where, xyxy in px; None for the whole image.
        confidence: How sure; 1 for people.
    """

    class_name: str
    box: Box | None = None
    confidence: float = 1.0


def disagreement(labels: Sequence[Said], predictions: Sequence[Said]) -> float:
    """Return how far they are apart, in [0, 1].

    Of whole images: how sure the model is of another class; 0 if it says one of the labels. Of
    boxes: 1 - F1, where two boxes agree if they have one class and an IoU of at least .5.

    >>> disagreement([Said("cat")], [Said("dog", confidence=0.9)])
    0.9
    """
    if any(said.box for said in (*labels, *predictions)):
        return _of_boxes(labels, [p for p in predictions if p.confidence >= CONFIDENCE_MIN])
    best = max(predictions, key=lambda said: said.confidence, default=None)
    if best is None or best.class_name in {said.class_name for said in labels}:
        return 0.0
    return best.confidence


def _of_boxes(labels: Sequence[Said], predictions: Sequence[Said]) -> float:
    if not labels and not predictions:
        return 0.0
    left = list(labels)
    matched = 0
    for said in sorted(predictions, key=lambda one: -one.confidence):
        same = [one for one in left if one.class_name == said.class_name]
        best = max(same, key=lambda one: iou(one.box, said.box), default=None)
        if best is not None and iou(best.box, said.box) >= IOU_MIN:
            left.remove(best)
            matched += 1
    return 1.0 - 2 * matched / (len(labels) + len(predictions))


def iou(a: Box | None, b: Box | None) -> float:
    """Return the intersection over union of two boxes; 0 if one is not there.

    >>> iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    if a is None or b is None:
        return 0.0
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (_area(a) + _area(b) - shared)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
