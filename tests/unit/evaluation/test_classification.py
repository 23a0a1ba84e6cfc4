"""Classifiers are measured as scikit-learn measures them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from loopline.errors import Rejected
from loopline.evaluation.classification import evaluate_classification
from loopline.evaluation.images import ImageFacts
from tests.unit.evaluation import worlds

CLASSES = ["coat", "dress", "shirt", "bag", "boot", "hat", "scarf"]


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_scikit_learn(seed: int) -> None:
    probabilities, targets = worlds.probabilities(np.random.default_rng(seed), 400, len(CLASSES))
    found = evaluate_classification(probabilities, targets, CLASSES).report.metrics
    predicted = probabilities.argmax(axis=1)
    labels = range(len(CLASSES))
    expected = {
        "accuracy": reference.accuracy_score(targets, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(targets, predicted),
        "top_3_accuracy": reference.top_k_accuracy_score(targets, probabilities, k=3),
        "top_5_accuracy": reference.top_k_accuracy_score(targets, probabilities, k=5),
        "roc_auc": reference.roc_auc_score(targets, probabilities, multi_class="ovr"),
        "log_loss": reference.log_loss(targets, probabilities),
    }
    for average in ("macro", "weighted"):
        names = (f"{average}_precision", f"{average}_recall", f"{average}_f1")
        values = reference.precision_recall_fscore_support(
            targets, predicted, average=average, zero_division=0
        )
        expected |= dict(zip(names, values, strict=False))
    precision, recall, f1, _ = reference.precision_recall_fscore_support(
        targets, predicted, labels=labels, zero_division=0
    )
    for index, name in enumerate(CLASSES):
        own = (targets == index).astype(int)
        expected |= {
            f"precision:{name}": precision[index],
            f"recall:{name}": recall[index],
            f"f1:{name}": f1[index],
            f"auc:{name}": reference.roc_auc_score(own, probabilities[:, index]),
        }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_the_area_of_a_precision_recall_curve_is_the_average_precision() -> None:
    probabilities, targets = worlds.probabilities(np.random.default_rng(1), 300, 3)
    report = evaluate_classification(probabilities, targets, CLASSES[:3]).report
    for curve in (curve for curve in report.curves if curve.kind == "precision_recall"):
        index = CLASSES.index(curve.name)
        expected = reference.average_precision_score(targets == index, probabilities[:, index])
        assert curve.area == pytest.approx(expected)
        assert len(curve.x) <= 101
        assert list(curve.x) == sorted(curve.x)


def test_ties_of_probabilities_count_as_one_step() -> None:
    probabilities = np.round(worlds.probabilities(np.random.default_rng(2), 200, 2)[0], 1)
    targets = np.random.default_rng(3).integers(0, 2, 200)
    found = evaluate_classification(probabilities, targets, ["a", "b"]).report.metrics
    assert found["auc:b"] == pytest.approx(reference.roc_auc_score(targets, probabilities[:, 1]))


def test_the_confusion_has_the_truth_in_rows() -> None:
    probabilities = np.eye(3)[[0, 1, 1, 2]]
    report = evaluate_classification(probabilities, np.array([0, 0, 1, 2]), CLASSES[:3]).report
    assert report.confusion is not None
    assert report.confusion.counts == ((1, 1, 0), (0, 1, 0), (0, 0, 1))


def test_calibration_compares_confidence_with_what_is_right() -> None:
    """Ten images at .8, seven of them right: a calibration error of .1."""
    probabilities = np.tile([0.8, 0.2], (10, 1))
    targets = np.array([0] * 7 + [1] * 3)
    calibration = evaluate_classification(probabilities, targets, ["a", "b"]).report.calibration
    assert calibration is not None
    (bin_,) = calibration.bins
    assert (bin_.confidence, bin_.accuracy, bin_.share) == pytest.approx((0.8, 0.7, 1.0))
    assert calibration.error == pytest.approx(0.1)


def test_the_temperature_that_spoilt_a_calibration_is_found_again() -> None:
    random = np.random.default_rng(4)
    honest = random.dirichlet(np.ones(4), 20_000)
    targets = (honest.cumsum(axis=1) > random.random((20_000, 1))).argmax(axis=1)
    spoilt = honest**2.5 / (honest**2.5).sum(axis=1, keepdims=True)
    calibration = evaluate_classification(spoilt, targets, list("abcd")).report.calibration
    assert calibration is not None
    assert calibration.temperature == pytest.approx(2.5, rel=0.05)
    assert calibration.error_after is not None
    assert calibration.error > 0.1 > 0.01 > calibration.error_after


def test_the_worst_are_wrong_and_the_surest_of_them_come_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.99, 0.01]])
    images = [ImageFacts(asset=str(i) * 64, width_px=28, height_px=28) for i in range(4)]
    report = evaluate_classification(
        probabilities, np.array([0, 0, 1, 1]), ["coat", "shirt"], images
    ).report
    assert [view.asset[0] for view in report.worst] == ["3", "1", "2"]
    assert report.worst[0].reason == "shirt, taken for coat (0.99)"


def test_images_are_also_measured_by_tag_size_and_source() -> None:
    probabilities = np.eye(2)[[0, 0, 1, 1]]
    images = [
        ImageFacts("0" * 64, 64, 64, ("autumn",), "s3://shop/a/0.png"),
        ImageFacts("1" * 64, 900, 900, ("autumn", "blurred"), "s3://shop/a/1.png"),
        ImageFacts("2" * 64, 900, 900, (), "s3://shop/b/2.png"),
        ImageFacts("3" * 64, 64, 64, (), "s3://shop/b/3.png"),
    ]
    report = evaluate_classification(
        probabilities, np.array([0, 1, 1, 1]), ["a", "b"], images
    ).report
    found = {(one.by, one.value): (one.count, one.metrics["accuracy"]) for one in report.slices}
    assert found == {
        ("tag", "autumn"): (2, 0.5),
        ("tag", "blurred"): (1, 0.0),
        ("size", "small"): (2, 1.0),
        ("size", "large"): (2, 0.5),
        ("source", "s3://shop/a"): (2, 0.5),
        ("source", "s3://shop/b"): (2, 1.0),
    }


def test_a_division_that_divides_nothing_is_left_out() -> None:
    images = [ImageFacts(str(i) * 64, 30, 30, (), "s3://shop/a.png") for i in range(2)]
    report = evaluate_classification(np.eye(2), np.array([0, 1]), ["a", "b"], images).report
    assert report.slices == ()


def test_a_class_that_is_nowhere_is_left_out_of_the_averages() -> None:
    report = evaluate_classification(
        np.eye(3)[[0, 1, 1]], np.array([0, 1, 0]), ["a", "b", "never"]
    ).report
    assert report.metrics["macro_recall"] == pytest.approx(0.75)
    assert report.per_class[2].count == 0
    assert "auc:never" not in report.metrics


def test_no_images_give_zeros() -> None:
    report = evaluate_classification(np.zeros((0, 2)), np.zeros(0, np.int64), ["a", "b"]).report
    assert (report.count, report.metrics["accuracy"], report.metrics["macro_f1"]) == (0, 0.0, 0.0)


def test_probabilities_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(Rejected, match="not all numbers"):
        evaluate_classification(np.array([[np.nan, 1.0]]), np.array([0]), ["a", "b"])


def test_probabilities_of_other_classes_are_refused() -> None:
    with pytest.raises(Rejected, match="1 images and 3 classes were expected"):
        evaluate_classification(np.array([[0.5, 0.5]]), np.array([0]), ["a", "b", "c"])
