"""From a network's outputs and an item's labels to figures, in the image's own pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loopline.errors import Rejected
from loopline.evaluation.evaluators import Evaluator, evaluator
from loopline.evaluation.images import ImageFacts
from loopline.store.items import Shape
from loopline.vision import masks
from loopline.vision.geometry import Placement

IMAGE = ImageFacts("a" * 64, 200, 100)
LETTERBOX = Placement(100, 200, 64, 64, "letterbox")


def boxes(*found: tuple[list[float], float, int]) -> dict[str, Any]:
    """Outputs of a detector for one image, padded to four boxes."""
    padding = [([0.0] * 4, 0.0, 0)] * (4 - len(found))
    rows = [*found, *padding]
    return {
        "boxes": np.array([[row[0] for row in rows]], np.float32),
        "scores": np.array([[row[1] for row in rows]], np.float32),
        "labels": np.array([[row[2] for row in rows]], np.int64),
    }


def given(task: str, shapes: list[Shape], outputs: dict[str, Any]) -> Evaluator:
    made = evaluator(task, ["cat", "dog"])
    made.add(IMAGE, shapes, outputs, 0, LETTERBOX)
    return made


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(Shape("1", "dog", bbox_xyxy=(50, 20, 100, 60)), id="box"),
        pytest.param(Shape("1", "dog", polygon=(50, 20, 100, 20, 100, 60, 50, 60)), id="polygon"),
        pytest.param(
            Shape(
                "1", "dog", mask_rle=masks.encode(np.pad(np.ones((40, 50)), ((20, 40), (50, 100))))
            ),
            id="mask",
        ),
    ],
)
def test_boxes_come_from_whatever_geometry_and_back_from_the_letterbox(shape: Shape) -> None:
    """The image of 200 x 100 is 64 x 32 in the input, 16 px down."""
    outputs = boxes(([16.0, 22.4, 32.0, 35.2], 0.9, 1))
    metrics = given("detection", [shape], outputs).finish().report.metrics
    assert metrics["map50"] == pytest.approx(1.0)
    assert metrics["map75"] == pytest.approx(1.0)


def test_an_image_without_shapes_shows_nothing_and_counts() -> None:
    made = given("detection", [], boxes(([0.0, 20, 10, 30], 0.9, 0)))
    made.add(IMAGE, [Shape("1", "cat", bbox_xyxy=(0, 0, 9, 9))], boxes(), 0, LETTERBOX)
    report = made.finish().report
    assert report.count == 2
    assert report.confusion is not None
    assert report.confusion.counts[2][0] == 1  # invented


def test_masks_are_compared_at_the_size_of_the_image() -> None:
    mask = np.zeros((1, 64, 64), np.uint8)
    mask[0, 16:48, :32] = 2  # the left half of the image, and nothing of the border
    outputs = {"mask": mask, "confidence": np.full((1, 64, 64), 0.8, np.float32)}
    truth = np.zeros((100, 200))
    truth[:, :100] = 1
    shape = Shape("1", "dog", mask_rle=masks.encode(truth))
    report = given("segmentation", [shape], outputs).finish().report
    assert report.metrics["iou:dog"] == pytest.approx(1.0, abs=0.02)
    assert report.per_class[1].count == 10_000


def test_what_is_labeled_later_lies_on_top() -> None:
    whole = Shape("1", "cat", polygon=(0, 0, 200, 0, 200, 100, 0, 100))
    part = Shape("2", "dog", mask_rle=masks.encode(np.pad(np.ones((100, 50)), ((0, 0), (0, 150)))))
    outputs = {"mask": np.zeros((1, 64, 64), np.uint8), "confidence": np.ones((1, 64, 64))}
    report = given("segmentation", [whole, part], outputs).finish().report
    assert [one.count for one in report.per_class] == [15_000, 5_000]


@pytest.mark.parametrize(
    ("task", "shapes"),
    [
        pytest.param("classification", [], id="no class"),
        pytest.param("classification", [Shape("1", "cat"), Shape("2", "dog")], id="two classes"),
        pytest.param("classification", [Shape("1", "cat", bbox_xyxy=(0, 0, 9, 9))], id="a box"),
        pytest.param("detection", [Shape("1", "cat")], id="a class alone"),
        pytest.param("segmentation", [Shape("1", "cat", bbox_xyxy=(0, 0, 9, 9))], id="no outline"),
    ],
)
def test_labels_that_do_not_say_what_is_needed_leave_an_image_out(
    task: str, shapes: list[Shape]
) -> None:
    good = {
        "classification": [Shape("1", "cat")],
        "detection": [Shape("1", "cat", bbox_xyxy=(0, 0, 9, 9))],
        "segmentation": [Shape("1", "cat", polygon=(0, 0, 9, 0, 9, 9))],
    }
    outputs: dict[str, dict[str, Any]] = {
        "classification": {"probabilities": np.array([[0.7, 0.3]])},
        "detection": boxes(),
        "segmentation": {
            "mask": np.zeros((1, 64, 64), np.uint8),
            "confidence": np.ones((1, 64, 64)),
        },
    }
    made = given(task, shapes, outputs[task])
    made.add(IMAGE, good[task], outputs[task], 0, LETTERBOX)
    report = made.finish().report
    assert report.count == 1
    assert report.notes == ("1 image left out: the labels do not say what the task needs",)


def test_a_class_that_the_model_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(Rejected, match="labeled 'horse', which the model does not know"):
        given("classification", [Shape("1", "horse")], {"probabilities": np.array([[1.0, 0.0]])})


def test_a_mask_of_another_size_is_refused_with_the_image() -> None:
    shape = Shape("1", "cat", mask_rle=masks.encode(np.ones((3, 3))))
    outputs = {"mask": np.zeros((1, 64, 64), np.uint8), "confidence": np.ones((1, 64, 64))}
    with pytest.raises(Rejected, match=f"image {'a' * 12}: the runs cover 9 pixels"):
        given("segmentation", [shape], outputs)


def test_no_usable_image_is_no_evaluation() -> None:
    with pytest.raises(Rejected, match="no image whose labels can be used"):
        evaluator("classification", ["a"]).finish()


def test_a_task_that_is_not_known_is_refused() -> None:
    with pytest.raises(Rejected, match="task 'poetry' is not known"):
        evaluator("poetry", ["a"])
