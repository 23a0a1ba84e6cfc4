"""What a detector takes for what, and what its errors cost it.

Kinds of errors and their cost are those of TIDE (Bolya et al., "TIDE: a general toolbox for
identifying object detection errors", 2020): how much the mean AP50 would rise if every error of one
kind were put right and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from loopline.evaluation import cells
from loopline.evaluation.boxes import Flat, IntArray, Pairs
from loopline.evaluation.cells import Cells
from loopline.evaluation.figures import BoolArray
from loopline.evaluation.matching import interpolated_precision
from loopline.evaluation.report import ErrorKind

NEAR: Final = 0.5  # IoU from which a box is right
FAR: Final = 0.1  # IoU below which a box has nothing to do with an object

Kind = Literal["class", "localisation", "both", "duplicate", "background", "missed"]
KINDS: Final[tuple[Kind, ...]] = (
    "class",
    "localisation",
    "both",
    "duplicate",
    "background",
    "missed",
)


@dataclass(frozen=True, slots=True)
class Errors:
    """Every wrong prediction by kind, and what is missed.

    Args:
        found: `(M,)` the object that it found at IoU .5, else -1.
        kind: `(M,)` place in `KINDS`, -1 for a prediction that is right.
        meant: `(M,)` the object that a "class" or "localisation" error meant, else -1.
        missed: `(G,)` objects that nothing found and no such error meant.
    """

    found: IntArray
    kind: IntArray
    meant: IntArray
    missed: BoolArray


def find_errors(predicted: Flat, truth: Flat, pairs: Pairs, found: IntArray) -> Errors:
    """Tell of each prediction what is wrong with it.

    Args:
        predicted: All predictions.
        truth: All objects.
        pairs: All that overlap by at least `FAR`, of any classes.
        found: `(M,)` the object each found at IoU .5, or -1.
    """
    same = predicted.label[pairs.predicted] == truth.label[pairs.truth]
    near = pairs.iou >= NEAR
    doubles = np.zeros(len(predicted), bool)  # in the right place, where another one was surer
    doubles[pairs.predicted[same & near]] = True
    kind = np.full(len(predicted), KINDS.index("background"))
    meant = np.full(len(predicted), -1)
    # From the weakest claim to the strongest; a later one overwrites.
    for name, which, means in (
        ("both", ~same & ~near, False),
        ("duplicate", same & near, False),
        ("class", ~same & near, True),
        ("localisation", same & ~near & ~doubles[pairs.predicted], True),
    ):
        best = _best(pairs.taken(which), len(predicted))
        there = best >= 0
        kind[there] = KINDS.index(name)
        meant[there] = best[there] if means else -1
    right = found >= 0
    kind[right], meant[right] = -1, -1
    missed = np.ones(len(truth), bool)
    missed[found[right]] = False
    missed[meant[meant >= 0]] = False
    return Errors(found, kind, meant, missed)


def _best(pairs: Pairs, predictions: int) -> IntArray:
    """Return the object `(M,)` that each prediction overlaps most, -1 for none."""
    best = np.full(predictions, -1)
    order = np.argsort(pairs.iou, kind="stable")
    best[pairs.predicted[order]] = pairs.truth[order]
    return best


@dataclass(frozen=True, slots=True)
class Ledger:
    """What each kind of error costs.

    Args:
        predicted: All predictions.
        truth: All objects.
        errors: See `find_errors`.
        classes: How many there are.
    """

    predicted: Flat
    truth: Flat
    errors: Errors
    classes: int

    def breakdown(self, sure: BoolArray, missed: int) -> tuple[ErrorKind, ...]:
        """Return each kind of error, how often it is made and what it costs.

        Args:
            sure: `(M,)` predictions that are sure enough to be counted; the cost is over all.
            missed: Objects that those do not find.
        """
        counts = [int((sure & (self.errors.kind == index)).sum()) for index in range(len(KINDS))]
        counts[KINDS.index("missed")] = missed
        now = self._mean_ap(self._right, self.predicted.label, self._right | True)
        return tuple(
            ErrorKind(kind=kind, count=count, cost=max(0.0, self._mended(kind) - now))
            for kind, count in zip(KINDS, counts, strict=True)
        )

    @property
    def _right(self) -> BoolArray:
        return np.asarray(self.errors.kind < 0)

    def _mended(self, kind: Kind) -> float:
        """Return the mean AP50 without any error of a kind."""
        right, label = self._right, self.predicted.label
        if kind == "missed":
            return self._mean_ap(right, label, right | True, there=~self.errors.missed)
        wrong = self.errors.kind == KINDS.index(kind)
        if kind in ("class", "localisation"):
            restored = self._restorable(wrong)
            label, right = label.copy(), right | restored
            label[restored] = self.truth.label[self.errors.meant[restored]]
            wrong = wrong & ~restored
        return self._mean_ap(right, label, ~wrong)

    def _restorable(self, wrong: BoolArray) -> BoolArray:
        """Tell which would be right: for each object that nothing found, the surest that meant it.

        Where that is an error of another kind, putting this one right gains nothing (as in TIDE).
        """
        unfound = np.ones(len(self.truth), bool)
        unfound[self.errors.found[self._right]] = False
        places = np.flatnonzero(self.errors.meant >= 0)
        places = places[unfound[self.errors.meant[places]]]
        places = places[np.argsort(-self.predicted.score[places], kind="stable")]
        _, first = np.unique(self.errors.meant[places], return_index=True)
        restored = np.zeros(len(self.predicted), bool)
        restored[places[first]] = True
        return restored & wrong

    def _mean_ap(
        self,
        right: BoolArray,
        label: IntArray,
        kept: BoolArray,
        there: BoolArray | None = None,
    ) -> float:
        labels = self.truth.label if there is None else self.truth.label[there]
        objects = np.bincount(labels, minlength=self.classes)
        found = []
        for index in np.flatnonzero(objects):
            of_class = np.flatnonzero(kept & (label == index))
            of_class = of_class[np.argsort(-self.predicted.score[of_class], kind="stable")]
            hits, made = np.cumsum(right[of_class]), np.arange(1, len(of_class) + 1)
            positives = np.asarray([float(objects[index])])
            found.append(float(interpolated_precision(hits[None], made[None], positives)[0]))
        return float(np.mean(found)) if found else 0.0


def confused(predicted: Flat, truth: Flat, pairs: Pairs, classes: int, sure: BoolArray) -> Cells:
    """Return what was taken for what on each image; label K is the background.

    Boxes are paired whatever their class, the nearest first, each once, from IoU .5 on; so a box in
    the right place with the wrong name is off the diagonal, not twice with the background.

    Args:
        predicted: All predictions.
        truth: All objects.
        pairs: All that overlap, of any classes.
        classes: K.
        sure: `(M,)` predictions that are sure enough.
    """
    p, t = paired(predicted, truth, pairs.taken(sure[pairs.predicted] & (pairs.iou >= NEAR)))
    left_p = sure.copy()
    left_p[p] = False
    left_t = np.ones(len(truth), bool)
    left_t[t] = False
    nothing_p = np.full(int(left_p.sum()), classes)
    nothing_t = np.full(int(left_t.sum()), classes)
    return cells.counted(
        np.concatenate([truth.image[t], predicted.image[left_p], truth.image[left_t]]),
        np.concatenate([truth.label[t], nothing_p, truth.label[left_t]]),
        np.concatenate([predicted.label[p], predicted.label[left_p], nothing_t]),
    )


def paired(predicted: Flat, truth: Flat, pairs: Pairs) -> tuple[IntArray, IntArray]:
    """Pair boxes one to one, the nearest first; of equal ones those of the same class, then surer.

    A pair is taken once both its boxes have no nearer pair left; in each round all such pairs are
    taken together, so there are few rounds.
    """
    same = predicted.label[pairs.predicted] == truth.label[pairs.truth]
    score = predicted.score[pairs.predicted]
    left = pairs.taken(np.lexsort((-score, ~same, -pairs.iou)))
    taken_p: list[IntArray] = []
    taken_t: list[IntArray] = []
    while len(left.iou):
        places = np.arange(len(left.iou))
        first_p = np.zeros(len(places), bool)
        first_p[np.unique(left.predicted, return_index=True)[1]] = True
        first_t = np.zeros(len(places), bool)
        first_t[np.unique(left.truth, return_index=True)[1]] = True
        chosen = left.taken(first_p & first_t)
        taken_p.append(chosen.predicted)
        taken_t.append(chosen.truth)
        gone = np.isin(left.predicted, chosen.predicted) | np.isin(left.truth, chosen.truth)
        left = left.taken(~gone)
    if not taken_p:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(taken_p), np.concatenate(taken_t)
