"""From a detector's boxes to what a classifier is shown, and to what a pipeline tells of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.inference.domain.model import (
    BOXES,
    CLASS,
    CONFIDENCE,
    INPUT,
    LABELS,
    SCORES,
    Signature,
    TensorSpec,
)
from services.inference.domain.tensors import BYTES, FP32, INT64, Array, Arrays, FloatBatch

LABEL_NAMES = "label_names"
LEAST_PX = 1.0
"""Boxes narrower than a pixel show nothing."""
PIPELINE_SIGNATURE = Signature(
    (TensorSpec(INPUT, BYTES, (-1,)),),
    (
        TensorSpec(BOXES, FP32, (-1, -1, 4)),
        TensorSpec(SCORES, FP32, (-1, -1)),
        TensorSpec(LABELS, INT64, (-1, -1)),
        TensorSpec(LABEL_NAMES, BYTES, (-1, -1)),
        TensorSpec(CLASS, BYTES, (-1, -1)),
        TensorSpec(CONFIDENCE, FP32, (-1, -1)),
    ),
)
"""Rows are padded to the image with the most boxes: score 0, label -1, no names."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a detector found in one image, the surest first.

    Args:
        boxes: `(K, 4)`, in the image's pixels.
        scores: `(K,)`.
        labels: `(K,)`.
    """

    boxes: FloatBatch
    scores: FloatBatch
    labels: Array


def surest(
    boxes: FloatBatch, scores: FloatBatch, labels: Array, score_min: float, most: int
) -> Found:
    """Return the boxes of one image that are sure enough and not empty, at most so many."""
    sides = boxes[:, 2:] - boxes[:, :2]
    kept = np.flatnonzero((scores >= score_min) & (sides >= LEAST_PX).all(axis=1))
    order = kept[np.argsort(-scores[kept], kind="stable")][:most]
    return Found(boxes[order], scores[order], labels[order].astype(np.int64))


def window(
    box: Sequence[float], margin: float, height_px: int, width_px: int
) -> tuple[int, int, int, int]:
    """Return the rows and columns to cut out for a box: top, bottom, left, right; never empty.

    >>> window((2.0, 3.0, 6.0, 9.0), 0.25, 10, 10)
    (1, 10, 1, 7)
    """
    x_min, y_min, x_max, y_max = map(float, box)
    wider, higher = margin * (x_max - x_min), margin * (y_max - y_min)
    top = min(max(0, int(np.floor(y_min - higher))), height_px - 1)
    left = min(max(0, int(np.floor(x_min - wider))), width_px - 1)
    bottom = max(top + 1, min(height_px, int(np.ceil(y_max + higher))))
    right = max(left + 1, min(width_px, int(np.ceil(x_max + wider))))
    return top, bottom, left, right


def as_tensors(
    found: Sequence[Found],
    probabilities: FloatBatch,
    classes: Sequence[str],
    label_classes: Sequence[str],
) -> Arrays:
    """Return a pipeline's outputs, of `PIPELINE_SIGNATURE`.

    Args:
        found: Of each image.
        probabilities: `(M, C)` of all their boxes, one image after the other.
        classes: The classifier's.
        label_classes: The detector's.
    """
    count, most = len(found), max((len(one.scores) for one in found), default=0)
    boxes, scores = np.zeros((count, most, 4), np.float32), np.zeros((count, most), np.float32)
    labels, names = np.full((count, most), -1, np.int64), np.full((count, most), b"", object)
    label_names, confidences = names.copy(), np.zeros((count, most), np.float32)
    row = 0
    for index, one in enumerate(found):
        size = len(one.scores)
        if size == 0:
            continue
        of_image = probabilities[row : row + size]
        row += size
        top = of_image.argmax(axis=1)
        boxes[index, :size], scores[index, :size] = one.boxes, one.scores
        labels[index, :size] = one.labels
        label_names[index, :size] = [label_classes[label].encode() for label in one.labels]
        names[index, :size] = [classes[label].encode() for label in top]
        confidences[index, :size] = of_image[np.arange(size), top]
    return {
        BOXES: boxes,
        SCORES: scores,
        LABELS: labels,
        LABEL_NAMES: label_names,
        CLASS: names,
        CONFIDENCE: confidences,
    }
