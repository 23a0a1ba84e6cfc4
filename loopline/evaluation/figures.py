"""Arithmetic that the three tasks share: ratios, curves, calibration, curves for drawing."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from loopline.evaluation.report import CURVE_POINTS_MAX, Calibration, CalibrationBin

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]

CALIBRATION_BINS: Final = 15
TEMPERATURE_RANGE: Final = (0.05, 20.0)
_GOLDEN: Final = (5**0.5 - 1) / 2


def ratios(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> FloatArray:
    """Divide, 0 where there is nothing to divide by."""
    above, below = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    safe = np.where(below == 0, 1.0, below)
    return np.asarray(np.where(below == 0, 0.0, above / safe), np.float64)


def mean(values: npt.ArrayLike) -> float:
    """Return the mean, 0 of nothing."""
    array = np.asarray(values, np.float64)
    return float(array.mean()) if array.size else 0.0


def sampled(x: FloatArray, y: FloatArray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return a curve, `x` ascending, thinned to at most `CURVE_POINTS_MAX` points, ends kept."""
    if len(x) > CURVE_POINTS_MAX:
        # By distance along x, so that steep parts of a fine curve do not eat all points.
        wanted = np.linspace(float(x[0]), float(x[-1]), CURVE_POINTS_MAX)
        places = np.unique(np.clip(np.searchsorted(x, wanted), 0, len(x) - 1))
        x, y = x[places], y[places]
    return tuple(map(float, x)), tuple(map(float, y))


def calibration_bins(
    confidence: FloatArray, correct: npt.NDArray[Any]
) -> tuple[CalibrationBin, ...]:
    """Sort predictions by confidence into 15 bins of equal width; empty ones are left out.

    Args:
        confidence: `(N,)` in [0, 1].
        correct: `(N,)` whether, or how much, each is right, in [0, 1].
    """
    index = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    counts = np.bincount(index, minlength=CALIBRATION_BINS)
    confidences = np.bincount(index, confidence, CALIBRATION_BINS)
    corrects = np.bincount(index, correct, CALIBRATION_BINS)
    return binned(counts, confidences, corrects)


def binned(
    counts: npt.NDArray[Any], confidences: npt.NDArray[Any], corrects: npt.NDArray[Any]
) -> tuple[CalibrationBin, ...]:
    """Return the bins from sums over each: predictions, their confidence, how many are right."""
    total = counts.sum()
    width = 1 / len(counts)
    return tuple(
        CalibrationBin(
            low=bin_ * width,
            high=(bin_ + 1) * width,
            share=float(counts[bin_] / total),
            confidence=float(confidences[bin_] / counts[bin_]),
            accuracy=float(corrects[bin_] / counts[bin_]),
        )
        for bin_ in np.flatnonzero(counts)
    )


def calibration_error(bins: tuple[CalibrationBin, ...]) -> float:
    """Return the expected calibration error (Guo et al., 2017)."""
    return sum(bin_.share * abs(bin_.confidence - bin_.accuracy) for bin_ in bins)


def calibration(confidence: FloatArray, correct: npt.NDArray[Any]) -> Calibration:
    """Return the calibration of predictions that are right or wrong."""
    bins = calibration_bins(confidence, correct)
    return Calibration(bins=bins, error=calibration_error(bins))


def best_temperature(log_probabilities: FloatArray, targets: IntArray) -> float:
    """Return the temperature of the softmax with the least cross-entropy on these images.

    Golden-section search over its logarithm; the loss has one minimum there.

    Args:
        log_probabilities: `(N, K)`; any logits do.
        targets: `(N,)`.
    """
    low, high = np.log(TEMPERATURE_RANGE[0]), np.log(TEMPERATURE_RANGE[1])
    while high - low > 1e-4:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        left_loss = _loss(log_probabilities, targets, float(np.exp(left)))
        if left_loss <= _loss(log_probabilities, targets, float(np.exp(right))):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def tempered(log_probabilities: FloatArray, temperature: float) -> FloatArray:
    """Return the softmax `(N, K)` of logits at a temperature."""
    scaled = log_probabilities / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    exponents = np.exp(scaled)
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def _loss(log_probabilities: FloatArray, targets: IntArray, temperature: float) -> float:
    right = tempered(log_probabilities, temperature)[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(right, 1e-300)).mean())


def roc(scores: FloatArray, positive: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return false and true positive rates at every distinct score, from (0, 0) to (1, 1)."""
    order = np.argsort(-scores, kind="stable")
    ends = _ends_of_ties(scores[order])
    hits = np.cumsum(positive[order])[ends]
    false = (ends + 1) - hits
    start = np.zeros(1)
    return (
        np.concatenate([start, ratios(false, (~positive).sum())]),
        np.concatenate([start, ratios(hits, positive.sum())]),
    )


def precision_recall(scores: FloatArray, positive: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return recall, ascending, and precision at every distinct score, the highest first."""
    order = np.argsort(-scores, kind="stable")
    ends = _ends_of_ties(scores[order])
    hits = np.cumsum(positive[order])[ends]
    return ratios(hits, positive.sum()), ratios(hits, ends + 1)


def average_precision(recall: FloatArray, precision: FloatArray) -> float:
    """Return the step-wise area under a precision-recall curve, as scikit-learn defines it."""
    return float(np.sum(np.diff(np.concatenate([[0.0], recall])) * precision))


def area_under(x: FloatArray, y: FloatArray) -> float:
    """Return the area under a curve by trapezoids."""
    return float(np.trapezoid(y, x))


def _ends_of_ties(ordered: FloatArray) -> npt.NDArray[np.int64]:
    """Return the last place of each run of equal values."""
    if not len(ordered):
        return np.zeros(0, np.int64)
    return np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
