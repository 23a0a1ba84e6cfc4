"""Masks are measured as scikit-learn measures labels of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from loopline.errors import Rejected
from loopline.evaluation.images import ImageFacts
from loopline.evaluation.segmentation import UNKNOWN, SegmentationTally
from loopline.vision import masks
from tests.unit.evaluation import worlds

CLASSES = ["nucleus", "vessel", "gland"]


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_scikit_learn(seed: int) -> None:
    maps = worlds.label_maps(np.random.default_rng(seed), 6, 3)
    tally = SegmentationTally(CLASSES)
    for predicted, truth in maps:
        tally.add(predicted, truth)
    report = tally.finish().report
    said = np.concatenate([predicted.ravel() for predicted, _ in maps])
    true = np.concatenate([truth.ravel() for _, truth in maps])
    iou = reference.jaccard_score(true, said, labels=[1, 2, 3], average=None)
    dice = reference.f1_score(true, said, labels=[1, 2, 3], average=None)
    assert [one.metrics["iou"] for one in report.per_class] == pytest.approx(list(iou))
    assert [one.metrics["dice"] for one in report.per_class] == pytest.approx(list(dice))
    assert report.metrics["mean_iou"] == pytest.approx(iou.mean())
    assert report.metrics["mean_dice"] == pytest.approx(dice.mean())
    assert report.metrics["pixel_accuracy"] == pytest.approx((true == said).mean())
    assert report.metrics["background_iou"] == pytest.approx(
        reference.jaccard_score(true == 0, said == 0)
    )
    assert report.confusion is not None
    expected = reference.confusion_matrix(true, said, labels=[1, 2, 3, 0])
    assert report.confusion.counts == tuple(map(tuple, expected.tolist()))


def square(left: int, right: int) -> np.ndarray:
    made = np.zeros((200, 200), np.uint8)
    made[40:160, left:right] = 1
    return made


@pytest.mark.parametrize(
    ("moved_px", "expected"),
    [pytest.param(0, 1.0, id="in place"), pytest.param(2, 1.0, id="within .75% of the diagonal")],
)
def test_an_outline_may_be_a_little_off(moved_px: int, expected: float) -> None:
    tally = SegmentationTally(["a"])
    tally.add(square(50 + moved_px, 150 + moved_px), square(50, 150))
    assert tally.finish().report.metrics["boundary_f1"] == pytest.approx(expected)


def test_an_outline_that_is_far_off_is_wrong_though_the_overlap_is_large() -> None:
    """The two upright sides are 10 px off; top and bottom are right but for what stands out."""
    tally = SegmentationTally(["a"])
    tally.add(square(60, 160), square(50, 150))
    metrics = tally.finish().report.metrics
    assert metrics["iou:a"] == pytest.approx(90 / 110)
    sides, near = 2 * 118, 2 * (90 + 2)  # of 436 pixels; 2 more of each line lie within 2.1 px
    assert metrics["boundary_f1"] == pytest.approx(near / (sides + 200), abs=0.01)


def test_the_edge_of_the_image_is_no_outline() -> None:
    whole = np.ones((50, 50), np.uint8)
    tally = SegmentationTally(["a"])
    tally.add(whole, whole)
    assert tally.finish().outcomes.arrays()["edges"].sum() == 0


def test_pixels_of_which_nothing_is_known_do_not_count() -> None:
    predicted = np.ones((4, 4), np.uint8)
    truth = np.ones((4, 4), np.uint8)
    truth[:2] = UNKNOWN
    tally = SegmentationTally(["a"])
    tally.add(predicted, truth)
    report = tally.finish().report
    assert (report.metrics["iou:a"], report.per_class[0].count) == (1.0, 8)


def test_the_confidence_of_pixels_is_compared_with_what_is_right() -> None:
    predicted = np.ones((10, 10), np.uint8)
    truth = predicted.copy()
    truth[:3] = 0
    tally = SegmentationTally(["a"])
    tally.add(predicted, truth, np.full((10, 10), 0.9, np.float32))
    calibration = tally.finish().report.calibration
    assert calibration is not None
    assert calibration.error == pytest.approx(0.2)


def test_precision_by_recall_is_that_of_scikit_learn() -> None:
    """A pixel's score for a class is its confidence where the class is said, and else none."""
    random = np.random.default_rng(3)
    maps = worlds.label_maps(random, 6, 2)
    tally = SegmentationTally(CLASSES[:2])
    scores: list[list[np.ndarray]] = [[], []]
    for predicted, truth in maps:
        confidence = random.integers(1, 100, predicted.shape) / 100 + 0.005
        tally.add(predicted, truth, confidence)
        for index in (0, 1):
            scores[index].append(np.where(predicted == index + 1, confidence, 0).ravel())
    report = tally.finish().report
    true = np.concatenate([truth.ravel() for _, truth in maps])
    for index, name in enumerate(CLASSES[:2]):
        score = np.concatenate(scores[index])
        precision, recall, steps = reference.precision_recall_curve(true == index + 1, score)
        said = steps > 0
        f1 = 2 * precision[:-1] * recall[:-1] / np.maximum(precision[:-1] + recall[:-1], 1e-9)
        best = report.per_class[index].metrics
        assert best["f1"] == pytest.approx(f1[said].max())
        assert best["confidence"] == pytest.approx(steps[said][f1[said].argmax()], abs=0.006)
        [curve] = [c for c in report.curves if (c.name, c.kind) == (name, "precision_recall")]
        assert np.interp(curve.x, recall[:-1][said][::-1], precision[:-1][said][::-1]) == (
            pytest.approx(np.asarray(curve.y), abs=1e-5)
        )
    assert [c.name for c in report.curves[:2]] == ["all", "all"]


def test_masks_without_confidences_have_no_curves() -> None:
    tally = SegmentationTally(["a"])
    tally.add(square(40, 120), square(40, 120))
    report = tally.finish().report
    assert report.curves == ()
    assert "confidence" not in report.metrics


def test_images_of_a_cell_are_named_the_worst_of_it_first() -> None:
    tally = SegmentationTally(["a", "b"])
    for asset, wrong in (("right", 0), ("some", 5), ("most", 50)):
        said = np.ones((10, 10), np.uint8)
        said.flat[:wrong] = 2
        tally.add(said, np.ones((10, 10), np.uint8), None, ImageFacts(asset, 10, 10))
    findings = tally.finish()
    assert findings.outcomes.in_cell(0, 1) == ("most", "some")
    assert findings.outcomes.in_cell(0, 0) == ("right", "some", "most")
    assert findings.report.confusion is not None
    assert [(c.truth, c.predicted, c.assets) for c in findings.report.confusion.images] == [
        ("a", "b", ("most", "some"))
    ]


def test_the_worst_images_show_both_masks() -> None:
    maps = worlds.label_maps(np.random.default_rng(1), 40, 2)
    tally = SegmentationTally(CLASSES[:2])
    own = []
    for place, (predicted, truth) in enumerate(maps):
        tally.add(predicted, truth, None, ImageFacts(f"{place:064}", 48, 40))
        alone = SegmentationTally(CLASSES[:2])
        alone.add(predicted, truth)
        own.append(alone.finish().report.metrics["mean_iou"])
    worst = tally.finish().report.worst
    assert [int(view.asset) for view in worst] == list(np.argsort(own, kind="stable")[:24])
    first = worst[0]
    predicted = maps[int(first.asset)][0]
    for shape in first.predicted:
        assert shape.mask_rle is not None
        label = CLASSES.index(shape.class_name) + 1
        assert (masks.decode(shape.mask_rle, 48, 40) == (predicted == label)).all()


def test_a_class_that_is_nowhere_is_left_out_of_the_mean() -> None:
    maps = [(np.ones((4, 4), np.uint8), np.ones((4, 4), np.uint8))]
    tally = SegmentationTally(CLASSES)
    tally.add(*maps[0])
    assert tally.finish().report.metrics["mean_iou"] == 1.0


def test_no_images_give_zeros() -> None:
    assert SegmentationTally(CLASSES).finish().report.metrics["mean_iou"] == 0.0


def test_a_label_that_is_none_of_the_classes_is_refused() -> None:
    with pytest.raises(Rejected, match="none of the classes"):
        SegmentationTally(["a"]).add(np.full((2, 2), 2, np.uint8), np.zeros((2, 2), np.uint8))


def test_masks_of_different_sizes_are_refused() -> None:
    with pytest.raises(Rejected, match=r"the mask is \(2, 2\), the true one \(2, 3\)"):
        SegmentationTally(["a"]).add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
