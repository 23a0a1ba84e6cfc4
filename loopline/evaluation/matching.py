"""Which prediction found which object, and the average precision that follows: COCO's rules.

As pycocotools' `COCOeval` (tested against it), for boxes without crowds: an image's predictions of
a class, the surest first, each take the free object they overlap most. All images, classes and
thresholds are matched at once, one rank of the predictions after the other, so that 5,000 images
take a second.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from loopline.evaluation.boxes import Flat, IntArray, Pairs
from loopline.evaluation.figures import BoolArray, FloatArray

THRESHOLDS: Final = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALLS: Final = np.linspace(0.0, 1.0, 101)
PREDICTIONS_MAX: Final = 100  # of an image and class
AREAS: Final = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""Ranges of an object's area, px², both ends inside."""


@dataclass(frozen=True, slots=True)
class Matches:
    """What was found at each of T thresholds by each of M predictions.

    Args:
        truth: `(T, M)` place of the object that it found, -1 for none.
        ignored: `(T, M)` it counts neither for nor against.
        positives: `(K,)` objects of each class that count.
    """

    truth: IntArray
    ignored: BoolArray
    positives: IntArray

    @property
    def hits(self) -> BoolArray:
        """`(T, M)` it found an object that counts."""
        return np.asarray((self.truth >= 0) & ~self.ignored)


def same_class(pairs: Pairs, predicted: Flat, truth: Flat) -> Pairs:
    """Return the pairs whose classes agree."""
    return pairs.taken(predicted.label[pairs.predicted] == truth.label[pairs.truth])


def match(
    predicted: Flat,
    truth: Flat,
    pairs: Pairs,
    classes: int,
    *,
    thresholds: tuple[float, ...] = THRESHOLDS,
    area: tuple[float, float] = AREAS["all"],
) -> Matches:
    """Match predictions with objects of their class.

    Args:
        predicted: As `boxes.flatten` orders them.
        truth: The objects.
        pairs: Those of the same class, at least as near as the lowest threshold.
        classes: How many there are.
        thresholds: Of the IoU.
        area: Objects outside this range, and what finds them, do not count.
    """
    outside = _outside(truth.area, area)
    found = _greedy(predicted, pairs, outside, len(truth), thresholds)
    ignored = np.where(
        found >= 0,
        outside[np.maximum(found, 0)] if len(truth) else False,
        _outside(predicted.area, area)[None, :],
    )
    positives = np.bincount(truth.label[~outside], minlength=classes)
    return Matches(found, ignored, positives)


def _outside(area: FloatArray, limits: tuple[float, float]) -> BoolArray:
    return np.asarray((area < limits[0]) | (area > limits[1]))


def _greedy(
    predicted: Flat,
    pairs: Pairs,
    outside: BoolArray,
    objects: int,
    thresholds: tuple[float, ...],
) -> IntArray:
    """Return `(T, M)` the object each prediction takes.

    A prediction prefers objects that count, then the nearest, then (as pycocotools) the last.
    """
    rank = predicted.rank[pairs.predicted]
    order = np.lexsort((-pairs.truth, -pairs.iou, outside[pairs.truth], pairs.predicted, rank))
    pairs, rank = pairs.taken(order), rank[order]
    found = np.full(len(thresholds) * len(predicted), -1, np.int64)
    taken = np.zeros(len(thresholds) * objects, bool)
    # One row for each pair and threshold that it passes; rows of a rank stay together.
    place, level = np.nonzero(pairs.iou[:, None] >= np.minimum(thresholds, 1 - 1e-10)[None, :])
    by_rank = np.lexsort((place, level, rank[place]))
    place, level = place[by_rank], level[by_rank]
    rows = level * len(predicted) + pairs.predicted[place]
    objects_at = level * objects + pairs.truth[place]
    ends = np.searchsorted(rank[place], np.arange(rank.max(initial=-1) + 2))
    for start, end in itertools.pairwise(ends):
        row, at = rows[start:end], objects_at[start:end]
        free = ~taken[at]
        row, at = row[free], at[free]
        first = np.ones(len(row), bool)
        first[1:] = np.diff(row) != 0
        found[row[first]] = at[first] % objects
        taken[at[first]] = True
    return found.reshape(len(thresholds), len(predicted))


def interpolated_precision(
    right: npt.NDArray[Any], made: npt.NDArray[Any], positives: FloatArray
) -> FloatArray:
    """Return the average precision by COCO's 101 points of recall.

    Args:
        right: `(R, M)` weight of the right predictions down to each, the surest first; R rows are
            independent of each other (thresholds, resamples).
        made: `(R, M)` weight of all predictions down to each. Places without a right prediction may
            be left out of both: precision is highest, and recall rises, where there is one.
        positives: `(R,)` weight of the objects.

    Returns:
        `(R,)`; nan where there are no objects.
    """
    known = np.asarray(positives) > 0
    if not right.shape[1]:
        return np.where(known, 0.0, np.nan)
    envelope = _envelope(right, made)
    recall = right / np.where(known, positives, 1)[:, None]
    passed = np.searchsorted(RECALLS, recall.ravel(), side="right").reshape(recall.shape)
    new = np.diff(passed, axis=1, prepend=0)  # of the 101 recalls that this one is first to reach
    found = (envelope * new).sum(axis=1) / len(RECALLS)
    return np.asarray(np.where(known, found, np.nan))


def precision_at_recalls(
    right: npt.NDArray[Any], made: npt.NDArray[Any], positives: float
) -> FloatArray:
    """Return the best precision `(101,)` at each recall or more, of one row `(M,)`."""
    envelope = np.append(_envelope(right[None], made[None])[0], 0.0)
    return np.asarray(envelope[np.searchsorted(right / positives, RECALLS, side="left")])


def _envelope(right: npt.NDArray[Any], made: npt.NDArray[Any]) -> FloatArray:
    """Return the best precision `(R, M)` from each place on."""
    precision = right / np.where(made == 0, 1, made)
    return np.asarray(np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1])


def by_class(predicted: Flat, classes: int) -> list[IntArray]:
    """Return the places of each class's predictions, the surest first."""
    order = np.lexsort((-predicted.score, predicted.label))
    ends = np.searchsorted(predicted.label[order], np.arange(classes + 1))
    return [order[start:end] for start, end in itertools.pairwise(ends)]


def average_precisions(matches: Matches, places: list[IntArray]) -> FloatArray:
    """Return the average precision `(K, T)` of each class at each threshold; nan without objects.

    Args:
        matches: Of all predictions.
        places: See `by_class`.
    """
    hits, levels = matches.hits, len(matches.truth)
    misses = (matches.truth < 0) & ~matches.ignored
    found = np.empty((len(places), levels))
    for index, of_class in enumerate(places):
        positives = np.full(levels, float(matches.positives[index]))
        right = np.cumsum(hits[:, of_class], axis=1)
        made = right + np.cumsum(misses[:, of_class], axis=1)
        found[index] = interpolated_precision(right, made, positives)
    return found
