"""How good a classifier is on held-out images.

Definitions are scikit-learn's with `zero_division=0`; the calibration error is the expected
calibration error of Guo et al., "On calibration of modern neural networks" (2017), over 15 bins of
equal width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

CALIBRATION_BINS: Final = 15
_DIGITS: Final = 6  # of figures in the report

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found on one split.

    Attributes:
        metrics: Figures by name: "accuracy", "macro_f1", "f1:<class>", ...
        report: The same and all that does not fit a number; JSON types only.
    """

    metrics: dict[str, float]
    report: dict[str, Any]


def judge_classification(
    probabilities: FloatArray, targets: IntArray, classes: Sequence[str], assets: Sequence[str] = ()
) -> Judgement:
    """Judge predicted probabilities against the truth.

    Args:
        probabilities: `(N, K)`, rows summing to 1.
        targets: `(N,)` true class indices, 0 to K - 1.
        classes: K class names.
        assets: N asset digests for the list of predictions; empty leaves the list out.

    Returns:
        Metrics accuracy, macro_precision, macro_recall, macro_f1, calibration_error and precision,
        recall and f1 for each class ("recall:<class>"). A class that is never predicted has
        precision 0; one that is neither there nor predicted is left out of the macro averages. No
        images give zeros.
    """
    confusion = confusion_matrix(probabilities.argmax(axis=1), targets, len(classes))
    precision, recall, f1 = per_class(confusion)
    occurs = confusion.sum(axis=1) + confusion.sum(axis=0) > 0
    bins = calibration_bins(probabilities, targets)
    metrics = {
        "accuracy": _ratio(float(np.trace(confusion)), float(confusion.sum())),
        "macro_precision": _mean(precision[occurs]),
        "macro_recall": _mean(recall[occurs]),
        "macro_f1": _mean(f1[occurs]),
        "calibration_error": calibration_error(bins),
    }
    for index, name in enumerate(classes):
        metrics[f"precision:{name}"] = float(precision[index])
        metrics[f"recall:{name}"] = float(recall[index])
        metrics[f"f1:{name}"] = float(f1[index])
    report = {
        "count": len(targets),
        "classes": list(classes),
        "metrics": {name: round(value, _DIGITS) for name, value in metrics.items()},
        "confusion_matrix": confusion.tolist(),
        "calibration": [bin_.as_json() for bin_ in bins],
        "predictions": _predictions(probabilities, targets, classes, assets),
    }
    return Judgement(metrics, report)


def confusion_matrix(predicted: IntArray, targets: IntArray, classes: int) -> IntArray:
    """Return `(K, K)` counts: row the truth, column what was predicted."""
    counts = np.bincount(targets * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def per_class(confusion: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return precision, recall and F1 `(K,)` each; 0 where there is nothing to divide by."""
    hits = np.diag(confusion).astype(np.float64)
    precision = _ratios(hits, confusion.sum(axis=0))
    recall = _ratios(hits, confusion.sum(axis=1))
    return precision, recall, _ratios(2 * precision * recall, precision + recall)


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Predictions whose confidence is in (low, high]."""

    low: float
    high: float
    share: float
    """Of all predictions."""
    confidence: float
    """Mean."""
    accuracy: float

    def as_json(self) -> dict[str, float]:
        """Return its figures by name."""
        return {name: round(getattr(self, name), _DIGITS) for name in self.__slots__}


def calibration_bins(probabilities: FloatArray, targets: IntArray) -> list[CalibrationBin]:
    """Sort predictions by their confidence; bins without any are left out."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == targets
    index = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    return [
        CalibrationBin(
            low=bin_ / CALIBRATION_BINS,
            high=(bin_ + 1) / CALIBRATION_BINS,
            share=float(members.mean()),
            confidence=float(confidence[members].mean()),
            accuracy=float(correct[members].mean()),
        )
        for bin_ in range(CALIBRATION_BINS)
        if (members := index == bin_).any()
    ]


def calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Return the mean distance of confidence from accuracy, weighted by the bins' shares."""
    return sum(bin_.share * abs(bin_.confidence - bin_.accuracy) for bin_ in bins)


def _predictions(
    probabilities: FloatArray, targets: IntArray, classes: Sequence[str], assets: Sequence[str]
) -> list[dict[str, Any]]:
    best = probabilities.argmax(axis=1)
    return [
        {
            "asset": asset,
            "target": classes[targets[row]],
            "predicted": classes[best[row]],
            "confidence": round(float(probabilities[row, best[row]]), _DIGITS),
            "probabilities": [round(float(value), _DIGITS) for value in probabilities[row]],
        }
        for row, asset in enumerate(assets)
    ]


def _ratios(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> FloatArray:
    safe = np.where(denominator == 0, 1, denominator)
    return np.asarray(np.where(denominator == 0, 0.0, numerator / safe), np.float64)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if values.size else 0.0
