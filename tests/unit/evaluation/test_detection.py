"""Detectors are measured as pycocotools measures them, and their errors told apart as TIDE does."""

from __future__ import annotations

import contextlib
import io
import time
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from loopline.errors import Rejected
from loopline.evaluation import outcomes
from loopline.evaluation.boxes import Boxes
from loopline.evaluation.detection import evaluate_detection
from loopline.evaluation.images import ImageFacts
from loopline.evaluation.report import Report
from tests.unit.evaluation import worlds

NAMES = ("map", "map50", "map75", "map_small", "map_medium", "map_large")


def coco(predicted: list[Boxes], truth: list[Boxes], classes: int) -> dict[str, float]:
    annotations: list[dict[str, Any]] = [
        {"image_id": image, "category_id": int(label) + 1, "bbox": _xywh(box), "iscrowd": 0}
        for image, boxes in enumerate(truth, 1)
        for box, label in zip(boxes.xyxy, boxes.labels, strict=True)
    ]
    for number, one in enumerate(annotations, 1):
        one |= {"id": number, "area": one["bbox"][2] * one["bbox"][3]}
    detections = [
        {"image_id": image, "category_id": int(label) + 1, "bbox": _xywh(box), "score": score}
        for image, boxes in enumerate(predicted, 1)
        if boxes.scores is not None
        for box, label, score in zip(boxes.xyxy, boxes.labels, boxes.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "images": [{"id": image} for image in range(1, len(truth) + 1)],
            "categories": [{"id": label} for label in range(1, classes + 1)],
            "annotations": annotations,
        }
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(NAMES, evaluation.stats[:6].tolist(), strict=True))


def _xywh(box: np.ndarray) -> list[float]:
    return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]


def found(
    predicted: list[tuple[list[float], int, float]],
    truth: list[tuple[list[float], int]],
    classes: int = 2,
) -> Report:
    """Measure one image."""
    said = Boxes(
        np.array([box for box, _, _ in predicted], float).reshape(-1, 4),
        np.array([label for _, label, _ in predicted], np.int64),
        np.array([score for _, _, score in predicted], float),
    )
    true = Boxes(
        np.array([box for box, _ in truth], float).reshape(-1, 4),
        np.array([label for _, label in truth], np.int64),
    )
    names = [f"class{index}" for index in range(classes)]
    return evaluate_detection([said], [true], names, [ImageFacts("a" * 64, 100, 100)]).report


@pytest.mark.parametrize("seed", range(8))
def test_figures_are_those_of_pycocotools(seed: int) -> None:
    predicted, truth = worlds.boxes(np.random.default_rng(seed), 40, 4)
    metrics = evaluate_detection(predicted, truth, list("abcd")).report.metrics
    expected = coco(predicted, truth, 4)
    assert {name: metrics[name] for name in NAMES} == pytest.approx(expected, abs=1e-12)


def test_only_the_hundred_surest_of_an_image_and_class_count() -> None:
    random = np.random.default_rng(9)
    truth = worlds.boxes(random, 3, 1, objects=30)[1]
    crowds = [worlds.boxes(random, 1, 1, objects=0, invented=250)[0][0] for _ in truth]
    expected = coco(crowds, truth, 1)
    metrics = evaluate_detection(crowds, truth, ["a"]).report.metrics
    assert {name: metrics[name] for name in NAMES} == pytest.approx(expected, abs=1e-12)


def test_five_thousand_images_take_seconds() -> None:
    predicted, truth = worlds.boxes(np.random.default_rng(0), 5000, 20, 10, 20)
    began = time.process_time()
    report = evaluate_detection(predicted, truth, [f"c{i}" for i in range(20)]).report
    assert report.count == 5000
    assert time.process_time() - began < 10.0  # 0.7 s on an idle core


def test_the_confidence_of_a_class_is_where_its_f1_is_best() -> None:
    """Three objects; a prediction at .3 that finds nothing is better left out."""
    report = found(
        [([0, 0, 10, 10], 0, 0.9), ([20, 0, 30, 10], 0, 0.6), ([60, 60, 70, 70], 0, 0.3)],
        [([0, 0, 10, 10], 0), ([20, 0, 30, 10], 0), ([40, 0, 50, 10], 0)],
    )
    best = report.per_class[0].metrics
    assert (best["confidence"], best["precision"]) == (0.6, 1.0)
    assert best["recall"] == pytest.approx(2 / 3)
    assert best["f1"] == pytest.approx(0.8)


def test_a_box_with_the_wrong_name_is_off_the_diagonal_once() -> None:
    report = found([([0, 0, 10, 10], 1, 0.9)], [([0, 0, 10, 10], 0)])
    assert report.confusion is not None
    assert report.confusion.labels == ("class0", "class1", "background")
    assert report.confusion.counts == ((0, 1, 0), (0, 0, 0), (0, 0, 0))


def test_what_is_missed_and_what_is_invented_stands_beside_the_background() -> None:
    report = found(
        [
            ([0, 0, 10, 10], 0, 0.9),
            ([30, 0, 40, 10], 1, 0.9),
            ([70, 70, 80, 80], 1, 0.9),
        ],
        [([0, 0, 10, 10], 0), ([30, 0, 40, 10], 0), ([50, 50, 60, 60], 1)],
    )
    assert report.confusion is not None
    assert report.confusion.counts == ((1, 1, 0), (0, 0, 1), (0, 1, 0))


def test_images_of_a_cell_are_named_those_with_most_of_it_first() -> None:
    here, there = [0.0, 0.0, 10.0, 10.0], [30.0, 0.0, 40.0, 10.0]
    truth = [Boxes(np.array([here, there]), np.array([0, 0])) for _ in range(3)]
    said = [
        Boxes(np.array([here, there]), np.array(labels), np.array([0.9, 0.8]))
        for labels in ([0, 0], [0, 1], [1, 1])
    ]
    facts = [ImageFacts(asset, 50, 50) for asset in ("right", "half", "wrong")]
    findings = evaluate_detection(said, truth, ["class0", "class1"], facts)
    kept = outcomes.from_bytes(outcomes.to_bytes(findings.outcomes))
    assert kept.in_cell(0, 1) == ("wrong", "half")
    assert kept.in_cell(0, 0) == ("right", "half")
    assert kept.in_cell(0, 2) == ()
    assert kept.taken(np.array([1, 0])).in_cell(0, 0) == ("right", "half")
    assert findings.report.confusion is not None
    assert [(c.truth, c.predicted, c.assets) for c in findings.report.confusion.images] == [
        ("class0", "class1", ("wrong", "half"))
    ]


@pytest.mark.parametrize(
    ("box", "label", "kind"),
    [
        pytest.param([0, 0, 10, 10], 1, "class", id="right place, wrong name"),
        pytest.param([0, 0, 10, 25], 0, "localisation", id="right name, too large"),
        pytest.param([0, 0, 10, 25], 1, "both", id="wrong name and too large"),
        pytest.param([50, 50, 60, 60], 0, "background", id="nothing there"),
    ],
)
def test_an_error_is_of_one_kind(box: list[float], label: int, kind: str) -> None:
    """The other object, found, sets the confidence from which errors are counted."""
    report = found(
        [(box, label, 0.95), ([80, 80, 90, 90], 0, 0.9), ([80, 0, 90, 10], 1, 0.9)],
        [([0, 0, 10, 10], 0), ([80, 80, 90, 90], 0), ([80, 0, 90, 10], 1)],
    )
    counts = {error.kind: error.count for error in report.errors}
    assert counts == dict.fromkeys(counts, 0) | {kind: 1, "missed": 1}


def test_a_second_box_of_one_object_is_a_duplicate() -> None:
    report = found(
        [([0, 0, 10, 10], 0, 0.9), ([0, 0, 10, 11], 0, 0.89), ([40, 0, 50, 10], 0, 0.88)],
        [([0, 0, 10, 10], 0), ([40, 0, 50, 10], 0)],
    )
    counts = {error.kind: error.count for error in report.errors}
    assert counts == dict.fromkeys(counts, 0) | {"duplicate": 1}


def test_an_error_costs_what_its_absence_would_gain() -> None:
    """One of two objects is found; the other was given the wrong name: put right, AP50 is 1."""
    report = found(
        [([0, 0, 10, 10], 0, 0.9), ([40, 0, 50, 10], 1, 0.8)],
        [([0, 0, 10, 10], 0), ([40, 0, 50, 10], 0)],
    )
    costs = {error.kind: error.cost for error in report.errors}
    now = report.metrics["map50"]
    assert now == pytest.approx(51 / 101)
    assert costs["class"] == pytest.approx(1 - now)
    assert costs["localisation"] == costs["duplicate"] == costs["missed"] == 0


def test_an_object_that_is_found_anyway_gains_nothing_from_an_error_put_right() -> None:
    report = found([([0, 0, 10, 10], 0, 0.9), ([0, 0, 10, 25], 0, 0.8)], [([0, 0, 10, 10], 0)])
    assert {error.kind: error.cost for error in report.errors}["localisation"] == 0


def test_the_worst_image_has_the_most_errors_and_says_which() -> None:
    good = Boxes(np.array([[0.0, 0, 10, 10]]), np.array([0]), np.array([0.9]))
    truth = Boxes(np.array([[0.0, 0, 10, 10], [50, 50, 60, 60]]), np.array([0, 0]))
    images = [ImageFacts("a" * 64, 90, 90), ImageFacts("b" * 64, 90, 90)]
    single = Boxes(good.xyxy, good.labels)
    report = evaluate_detection([good, good], [single, truth], ["x"], images).report
    (worst,) = report.worst
    assert (worst.asset[0], worst.reason) == ("b", "1 missed, 0 wrong")
    assert [shape.verdict for shape in worst.truth] == ["missed", ""]
    assert worst.predicted[0].bbox_xyxy == (0.0, 0.0, 10.0, 10.0)


def test_a_slice_is_measured_as_if_it_were_alone() -> None:
    predicted, truth = worlds.boxes(np.random.default_rng(5), 30, 3)
    images = [ImageFacts(f"{i:064}", 50 + 800 * (i % 2), 400) for i in range(30)]
    whole = evaluate_detection(predicted, truth, list("abc"), images).report
    for one in whole.slices:
        places = [i for i, image in enumerate(images) if image.size == one.value]
        alone = evaluate_detection(
            [predicted[i] for i in places], [truth[i] for i in places], list("abc")
        ).report.metrics
        assert one.metrics["map"] == pytest.approx(alone["map"])
        assert one.metrics["map50"] == pytest.approx(alone["map50"])


def test_nothing_predicted_and_nothing_there_are_no_errors_of_the_program() -> None:
    empty = Boxes.none()
    one = Boxes(np.array([[0.0, 0, 5, 5]]), np.array([0]), np.array([0.7]))
    true = Boxes(one.xyxy, one.labels)
    for predicted, truth in (([empty], [true]), ([one], [empty]), ([empty], [empty]), ([], [])):
        metrics = evaluate_detection(predicted, truth, ["a"]).report.metrics
        assert (metrics["map"], metrics["map50"], metrics["f1"]) == (0, 0, 0)


def test_boxes_that_are_no_numbers_are_refused() -> None:
    broken = Boxes(np.array([[0, 0, np.nan, 5]]), np.array([0]), np.array([0.5]))
    with pytest.raises(Rejected, match="the model's boxes are not all numbers"):
        evaluate_detection([broken], [Boxes.none()], ["a"])


def test_a_label_that_is_none_of_the_classes_is_refused() -> None:
    strange = Boxes(np.array([[0.0, 0, 5, 5]]), np.array([3]), np.array([0.5]))
    with pytest.raises(Rejected, match="none of the classes"):
        evaluate_detection([strange], [Boxes.none()], ["a"])


# What tidecv 1.0.1 says of the worlds below, in hundredths of AP50.
TIDE = {
    0: (70.894, 12.126, 0.729, 0.334, 0.0, 2.957, 10.117),
    1: (63.739, 10.154, 0.827, 0.200, 0.0, 3.532, 15.734),
    2: (69.904, 9.234, 1.054, 0.113, 0.0, 3.350, 12.307),
    3: (69.188, 11.061, 0.902, 0.413, 0.0, 2.442, 12.129),
}


@pytest.mark.parametrize("seed", TIDE)
def test_costs_of_errors_are_those_of_tide(seed: int) -> None:
    """Up to a hundredth: tidecv rounds a recall that falls on one of the 101 points otherwise."""
    predicted, truth = worlds.boxes(np.random.default_rng(seed), 60, 4)
    random = np.random.default_rng(seed + 100)
    distinct = []
    for boxes in predicted:
        assert boxes.scores is not None
        scores = np.clip(boxes.scores + random.uniform(0, 0.009, len(boxes)), 0, 1)
        distinct.append(Boxes(boxes.xyxy, boxes.labels, scores))
    report = evaluate_detection(distinct, truth, list("abcd")).report
    found = (report.metrics["map50"], *(error.cost for error in report.errors))
    assert [100 * value for value in found] == pytest.approx(TIDE[seed], abs=0.02)
