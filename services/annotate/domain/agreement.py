"""Whether two people, or a person and a model, saw the same thing.

Whole-image classes are the same when they are equal; drawn shapes when they overlap: boxes, rings
and masks each by intersection over union, a mixed pair by their boxes where both have one. The
default threshold is that of PASCAL VOC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loopline.store.items import Shape
from loopline.vision import masks
from services.annotate.domain.shapes import is_whole_image, top_whole_image

IOU_MIN = 0.5


@dataclass(frozen=True, slots=True)
class Pair:
    """Two shapes at one place.

    Attributes:
        a: Index in the first list.
        b: Index in the second list.
        iou: How much they overlap, (0, 1].
    """

    a: int
    b: int
    iou: float


def overlap(a: Shape, b: Shape) -> float:
    """Return intersection over union of two shapes, whatever their classes; in [0, 1]."""
    if is_whole_image(a) or is_whole_image(b):
        return 1.0 if is_whole_image(a) and is_whole_image(b) else 0.0
    if a.mask_rle is not None and b.mask_rle is not None:
        return masks.iou(a.mask_rle, b.mask_rle)
    if a.polygon is not None and b.polygon is not None:
        return masks.polygon_iou(a.polygon, b.polygon)
    box_a, box_b = _box(a), _box(b)
    return masks.box_iou(box_a, box_b) if box_a and box_b else 0.0


def _box(shape: Shape) -> masks.Box | None:
    return masks.box_of_polygon(shape.polygon) if shape.polygon is not None else shape.bbox_xyxy


def pair_off(a: Sequence[Shape], b: Sequence[Shape], iou_min: float = IOU_MIN) -> list[Pair]:
    """Return which drawn shapes are at one place, one to one, best pairs first; classes aside.

    Among equal overlaps a pair of one class comes first.
    """
    found = [
        (overlap(one, other), one.class_name == other.class_name, i, j)
        for i, one in enumerate(a)
        for j, other in enumerate(b)
        if not is_whole_image(one) and not is_whole_image(other)
    ]
    found.sort(key=lambda row: (-row[0], not row[1], row[2], row[3]))
    taken_a: set[int] = set()
    taken_b: set[int] = set()
    pairs = []
    for iou, _, i, j in found:
        if iou < iou_min or iou == 0.0:
            break
        if i not in taken_a and j not in taken_b:
            taken_a.add(i)
            taken_b.add(j)
            pairs.append(Pair(i, j, iou))
    return pairs


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
    a = [shape for shape in labels if not is_whole_image(shape)]
    b = [shape for shape in predicted if not is_whole_image(shape)]
    return len(a) == len(b) == len(_of_one_class(a, b, IOU_MIN))


def agreement(a: Sequence[Shape], b: Sequence[Shape], iou_min: float = IOU_MIN) -> float:
    """Return how far two people agree on an image: the F1 score of one against the other.

    1.0 where both say that there is nothing; the same with `a` and `b` exchanged.
    """
    if not a and not b:
        return 1.0
    whole_a = {shape.class_name for shape in a if is_whole_image(shape)}
    whole_b = {shape.class_name for shape in b if is_whole_image(shape)}
    shared = len(whole_a & whole_b) + len(_of_one_class(a, b, iou_min))
    return 2 * shared / (len(a) + len(b))


def _of_one_class(a: Sequence[Shape], b: Sequence[Shape], iou_min: float) -> list[Pair]:
    pairs: list[Pair] = []
    for name in sorted({shape.class_name for shape in a}):
        ours = [i for i, shape in enumerate(a) if shape.class_name == name]
        theirs = [j for j, shape in enumerate(b) if shape.class_name == name]
        found = pair_off([a[i] for i in ours], [b[j] for j in theirs], iou_min)
        pairs += [Pair(ours[p.a], theirs[p.b], p.iou) for p in found]
    return pairs
