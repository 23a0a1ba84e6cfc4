"""Boxes of many images in one set of arrays, and which of them lie over which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.evaluation.figures import FloatArray

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Boxes:
    """The boxes of one image, predicted or true.

    Args:
        xyxy: `(M, 4)` float64, px of the image.
        labels: `(M,)` class indices.
        scores: `(M,)` in [0, 1]; None for the truth.
    """

    xyxy: FloatArray
    labels: IntArray
    scores: FloatArray | None = None

    @classmethod
    def none(cls) -> Boxes:
        """Return no boxes."""
        return cls(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Flat:
    """The boxes of all images.

    Args:
        image: `(M,)` place of the image.
        label: `(M,)` class index.
        xyxy: `(M, 4)`.
        score: `(M,)`; 1 for the truth.
        rank: `(M,)` place by score among those of its image and class, from 0.
    """

    image: IntArray
    label: IntArray
    xyxy: FloatArray
    score: FloatArray
    rank: IntArray

    def __len__(self) -> int:
        return len(self.label)

    @property
    def area(self) -> FloatArray:
        """`(M,)` px²."""
        return areas(self.xyxy)

    def taken(self, which: npt.NDArray[np.bool_] | IntArray) -> Flat:
        """Return some of them."""
        return Flat(
            self.image[which],
            self.label[which],
            self.xyxy[which],
            self.score[which],
            self.rank[which],
        )


@dataclass(frozen=True, slots=True)
class Pairs:
    """Predicted and true boxes of one image that overlap.

    Args:
        predicted: `(P,)` places in the predictions.
        truth: `(P,)` places in the truth.
        iou: `(P,)` intersection over union.
    """

    predicted: IntArray
    truth: IntArray
    iou: FloatArray

    def taken(self, which: npt.NDArray[np.bool_] | IntArray) -> Pairs:
        """Return some of them."""
        return Pairs(self.predicted[which], self.truth[which], self.iou[which])


def flatten(per_image: Sequence[Boxes], most: int = 0) -> Flat:
    """Put the boxes of all images into one set of arrays, ordered by image, class, falling score.

    Args:
        per_image: By image.
        most: Keep only so many of an image and class, the surest; 0 keeps all.
    """
    counts = [len(boxes) for boxes in per_image]
    image = np.repeat(np.arange(len(per_image)), counts)
    label = _joined([boxes.labels for boxes in per_image], np.int64)
    xyxy = _joined([np.reshape(boxes.xyxy, (-1, 4)) for boxes in per_image], np.float64)
    score = _joined(
        [np.ones(len(b)) if b.scores is None else b.scores for b in per_image], np.float64
    )
    order = np.lexsort((-score, label, image))  # stable: equal scores keep their order
    image, label, score = image[order], label[order], score[order]
    rank = _ranks(image, label)
    flat = Flat(image, label, xyxy.reshape(-1, 4)[order], score, rank)
    return flat.taken(rank < most) if most else flat


def areas(xyxy: FloatArray) -> FloatArray:
    """Return the areas `(M,)` of boxes `(M, 4)`; one that is inside out has none."""
    sides = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1])


def overlapping(predicted: Flat, truth: Flat, images: int, iou_min: float) -> Pairs:
    """Return the pairs of the same image, of any classes, whose IoU is at least `iou_min`."""
    p_ends = np.searchsorted(predicted.image, np.arange(images + 1))
    t_ends = np.searchsorted(truth.image, np.arange(images + 1))
    found: list[tuple[IntArray, IntArray, FloatArray]] = []
    for image in np.flatnonzero((np.diff(p_ends) > 0) & (np.diff(t_ends) > 0)):
        p, t = p_ends[image], t_ends[image]
        iou = iou_matrix(predicted.xyxy[p : p_ends[image + 1]], truth.xyxy[t : t_ends[image + 1]])
        rows, columns = np.nonzero(iou >= iou_min)
        found.append((rows + p, columns + t, iou[rows, columns]))
    return Pairs(
        _joined([one[0] for one in found], np.int64),
        _joined([one[1] for one in found], np.int64),
        _joined([one[2] for one in found], np.float64),
    )


def iou_matrix(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the intersection over union `(A, B)` of boxes `(A, 4)` and `(B, 4)`."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low, 0)
    inside = sides[..., 0] * sides[..., 1]
    union = areas(a)[:, None] + areas(b)[None, :] - inside
    return np.asarray(inside / np.where(union <= 0, 1, union))


def _ranks(image: IntArray, label: IntArray) -> IntArray:
    if not len(image):
        return np.zeros(0, np.int64)
    places = np.arange(len(image))
    first = np.ones(len(image), bool)
    first[1:] = (np.diff(image) != 0) | (np.diff(label) != 0)
    return np.asarray(places - np.maximum.accumulate(np.where(first, places, 0)))


def _joined(parts: Sequence[npt.NDArray[Any]], dtype: type) -> npt.NDArray[Any]:
    if not parts:
        return np.zeros(0, dtype)
    return np.concatenate(parts).astype(dtype, copy=False)
