"""A difference between two models comes with an interval that holds what it says."""

from __future__ import annotations

import numpy as np
import pytest

from loopline.errors import Rejected
from loopline.evaluation import outcomes
from loopline.evaluation.classification import evaluate_classification
from loopline.evaluation.comparison import compare
from loopline.evaluation.detection import evaluate_detection
from loopline.evaluation.images import ImageFacts
from loopline.evaluation.outcomes import ClassificationOutcomes, Outcomes
from loopline.evaluation.segmentation import SegmentationTally
from tests.unit.evaluation import worlds


def answers(right: np.ndarray) -> ClassificationOutcomes:
    """What a model of two classes said of images of the first, right or wrong."""
    count = len(right)
    assets = tuple(f"{i:064}" for i in range(count))
    said = np.where(right, 0, 1)
    return ClassificationOutcomes(assets, np.zeros(count, np.int64), said, said, 2)


def every_task() -> list[tuple[Outcomes, dict[str, float]]]:
    random = np.random.default_rng(0)
    images = [ImageFacts(f"{i:064}", 48, 40) for i in range(30)]
    probabilities, targets = worlds.probabilities(random, 30, 4)
    predicted, truth = worlds.boxes(random, 30, 3)
    tally = SegmentationTally(["a", "b"])
    for image, maps in zip(images, worlds.label_maps(random, 30, 2), strict=True):
        tally.add(*maps, None, image)
    found = [
        evaluate_classification(probabilities, targets, list("abcd"), images),
        evaluate_detection(predicted, truth, list("abc"), images),
        tally.finish(),
    ]
    return [(one.outcomes, one.report.metrics) for one in found]


@pytest.mark.parametrize("task", range(3), ids=["classification", "detection", "segmentation"])
def test_outcomes_measure_what_the_report_says(task: int) -> None:
    found, metrics = every_task()[task]
    again = found.measure(np.ones((1, 30), np.int64))
    assert {name: float(values[0]) for name, values in again.items()} == pytest.approx(
        {name: metrics[name] for name in again}
    )


@pytest.mark.parametrize("task", range(3), ids=["classification", "detection", "segmentation"])
def test_an_image_that_counts_twice_is_there_twice(task: int) -> None:
    """Weights are the same as a choice of images with repetitions, without any that count 0."""
    found, _ = every_task()[task]
    weights = np.zeros((1, 30), np.int64)
    weights[0, :20] = 1
    chosen = found.taken(np.arange(20))
    assert chosen.images == found.images[:20]
    expected = chosen.measure(np.ones((1, 20), np.int64))
    for name, values in found.measure(weights).items():
        assert values == pytest.approx(expected[name])


@pytest.mark.parametrize("task", range(3), ids=["classification", "detection", "segmentation"])
def test_outcomes_come_back_from_their_file(task: int) -> None:
    found, _ = every_task()[task]
    data = outcomes.to_bytes(found)
    assert data == outcomes.to_bytes(found)
    again = outcomes.from_bytes(data)
    assert again.images == found.images
    weights = np.random.default_rng(1).integers(0, 3, (5, 30))
    for name, values in again.measure(weights).items():
        assert values == pytest.approx(found.measure(weights)[name], abs=1e-6)


def test_a_model_is_no_better_than_itself() -> None:
    found, _ = every_task()[1]
    for difference in compare(found, found).metrics.values():
        assert (difference.difference, difference.low, difference.high) == (0, 0, 0)
        assert difference.better == 0


def test_a_model_that_is_right_on_more_images_is_better_with_confidence() -> None:
    random = np.random.default_rng(2)
    base = random.random(1000) < 0.8
    better = base | (random.random(1000) < 0.3)
    found = compare(answers(base), answers(better)).metrics["accuracy"]
    assert found.difference == pytest.approx(better.mean() - base.mean())
    assert 0 < found.low < found.difference < found.high
    assert found.better == 1.0


def test_a_lucky_handful_of_images_is_no_better() -> None:
    random = np.random.default_rng(3)
    found = compare(answers(random.random(200) < 0.8), answers(random.random(200) < 0.81))
    assert found.metrics["accuracy"].low < 0 < found.metrics["accuracy"].high


def test_pairing_takes_the_difficulty_of_images_out_of_the_difference() -> None:
    """Nine of ten images are known to both or to none: an unpaired interval would hold 0."""
    random = np.random.default_rng(4)
    base = random.random(1000) < 0.7
    better = base.copy()
    better[np.flatnonzero(~base)[:30]] = True
    found = compare(answers(base), answers(better)).metrics["accuracy"]
    unpaired = 1.96 * (base.var() / 1000 + better.var() / 1000) ** 0.5
    assert found.low > 0 > found.difference - unpaired


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    """95 of 100 worlds, give or take what 200 draws allow (3 standard deviations)."""
    random = np.random.default_rng(5)
    held = 0
    for seed in range(200):
        a, b = random.random(300) < 0.75, random.random(300) < 0.8
        found = compare(answers(a), answers(b), resamples=400, seed=seed).metrics["accuracy"]
        held += found.low <= 0.05 <= found.high
    assert 0.90 <= held / 200 <= 0.995


def test_the_same_seed_gives_the_same_interval() -> None:
    random = np.random.default_rng(6)
    a, b = answers(random.random(300) < 0.7), answers(random.random(300) < 0.8)
    assert compare(a, b, seed=1) == compare(a, b, seed=1) != compare(a, b, seed=2)


def test_the_order_of_the_images_does_not_matter() -> None:
    random = np.random.default_rng(7)
    a, b = answers(random.random(300) < 0.7), answers(random.random(300) < 0.8)
    shuffled = b.taken(random.permutation(300))
    assert compare(a, shuffled) == compare(a, b)


def test_models_that_saw_other_images_do_not_compare() -> None:
    a, b = answers(np.ones(3, bool)), answers(np.ones(4, bool))
    with pytest.raises(Rejected, match="not measured on the same images"):
        compare(a, b)


def test_models_of_two_tasks_do_not_compare() -> None:
    (classifier, _), (detector, _), _ = every_task()
    with pytest.raises(Rejected, match="classification and one of detection do not compare"):
        compare(classifier, detector)


def test_no_images_are_no_comparison() -> None:
    with pytest.raises(Rejected, match="no images"):
        compare(answers(np.zeros(0, bool)), answers(np.zeros(0, bool)))


def test_a_file_of_something_else_is_refused() -> None:
    with pytest.raises(Rejected, match="no file of outcomes"):
        outcomes.from_bytes(b"something else")


@pytest.mark.parametrize(("count", "notes"), [(29, 1), (30, 0)])
def test_few_images_are_said_to_be_few(count: int, notes: int) -> None:
    """Four of four: whatever is drawn of them, the second is better; that proves nothing."""
    found = compare(answers(np.zeros(count, bool)), answers(np.ones(count, bool)))
    assert len(found.notes) == notes
