"""Figures that a reviewer believes: each against a case that was worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.trainer.domain.evaluation import (
    calibration_bins,
    calibration_error,
    confusion_matrix,
    judge_classification,
    per_class,
)

CLASSES = ("a", "b", "c")
# Truth a a a a b b b c c c; predicted a a a b b b c c a c.
TARGETS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
PREDICTED = np.array([0, 0, 0, 1, 1, 1, 2, 2, 0, 2])


def certain(predicted: np.ndarray[tuple[int], np.dtype[np.int64]], sure: float = 0.8) -> np.ndarray:
    """Probabilities whose best class is the predicted one, with confidence `sure`."""
    probabilities = np.full((len(predicted), len(CLASSES)), (1 - sure) / (len(CLASSES) - 1))
    probabilities[np.arange(len(predicted)), predicted] = sure
    return probabilities


def test_rows_of_the_confusion_matrix_are_the_truth() -> None:
    assert confusion_matrix(PREDICTED, TARGETS, 3).tolist() == [[3, 1, 0], [0, 2, 1], [1, 0, 2]]


def test_precision_recall_and_f1_by_hand() -> None:
    precision, recall, f1 = per_class(confusion_matrix(PREDICTED, TARGETS, 3))
    assert precision == pytest.approx([3 / 4, 2 / 3, 2 / 3])
    assert recall == pytest.approx([3 / 4, 2 / 3, 2 / 3])
    assert f1 == pytest.approx([3 / 4, 2 / 3, 2 / 3])


def test_the_metrics_carry_macro_averages_and_every_class() -> None:
    metrics = judge_classification(certain(PREDICTED), TARGETS, CLASSES).metrics
    assert metrics["accuracy"] == pytest.approx(0.7)
    assert metrics["macro_precision"] == pytest.approx((3 / 4 + 2 / 3 + 2 / 3) / 3)
    assert metrics["macro_f1"] == pytest.approx((3 / 4 + 2 / 3 + 2 / 3) / 3)
    assert metrics["recall:b"] == pytest.approx(2 / 3)
    # All predictions are in one bin: 8 of 10 claimed, 7 of 10 right.
    assert metrics["calibration_error"] == pytest.approx(0.1)


def test_a_class_that_is_never_predicted_has_precision_zero() -> None:
    metrics = judge_classification(certain(np.zeros(10, int)), TARGETS, CLASSES).metrics
    assert metrics["precision:b"] == 0.0
    assert metrics["f1:b"] == 0.0
    assert metrics["macro_recall"] == pytest.approx(1 / 3)


def test_a_class_that_is_neither_there_nor_predicted_does_not_pull_the_averages_down() -> None:
    some = TARGETS < 2
    predicted = np.where(PREDICTED[some] == 2, 0, PREDICTED[some])
    metrics = judge_classification(certain(predicted), TARGETS[some], CLASSES).metrics
    assert metrics["macro_recall"] == pytest.approx((3 / 4 + 2 / 3) / 2)


def test_the_calibration_error_weighs_bins_by_their_share() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    targets = np.array([0, 0, 1, 1])
    bins = calibration_bins(probabilities, targets)
    assert [round(bin_.low * 15) for bin_ in bins] == [8, 13]  # (8/15, 9/15] holds .6 itself
    assert calibration_error(bins) == pytest.approx(0.75 * abs(0.9 - 2 / 3) + 0.25 * 0.6)


def test_full_certainty_falls_into_the_last_bin() -> None:
    [only] = calibration_bins(np.array([[1.0, 0.0]]), np.array([0]))
    assert only.high == 1.0


def test_the_report_says_of_every_image_what_was_predicted() -> None:
    report = judge_classification(
        certain(PREDICTED), TARGETS, CLASSES, [f"{n}" for n in range(10)]
    ).report
    assert report["predictions"][3] == {
        "asset": "3",
        "target": "a",
        "predicted": "b",
        "confidence": 0.8,
        "probabilities": [0.1, 0.8, 0.1],
    }
    json.dumps(report)


@given(
    arrays(np.float64, st.tuples(st.integers(0, 40), st.just(3)), elements=st.floats(0.01, 1)),
    st.randoms(use_true_random=False),
)
def test_every_metric_is_a_share(weights: np.ndarray, random: object) -> None:
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    targets = np.array([hash((random, n)) % 3 for n in range(len(weights))], np.int64)
    judgement = judge_classification(probabilities, targets, CLASSES)
    assert all(0 <= value <= 1 + 1e-12 for value in judgement.metrics.values())
    assert np.sum(judgement.report["confusion_matrix"]) == len(weights)
    assert not any(math.isnan(value) for value in judgement.metrics.values())
