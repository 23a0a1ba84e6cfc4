"""What a graph gives, as shapes on the image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.errors import Rejected
from loopline.vision import masks
from loopline.vision.geometry import Placement
from loopline.vision.outputs import Outputs, encode_window, shapes_of

CLASSES = ("cell", "debris")
LETTERBOX = Placement(100, 200, 64, 64, "letterbox")


def test_a_classifier_says_its_likeliest_class_of_the_whole_image() -> None:
    outputs = {"probabilities": np.array([[0.9, 0.1], [0.25, 0.75]], np.float32)}
    [shape] = shapes_of("classification", outputs, 1, CLASSES, LETTERBOX)
    assert (shape.class_name, shape.confidence) == ("debris", 0.75)
    assert shape.bbox_xyxy is None


def test_boxes_come_in_pixels_of_the_image_the_surest_first() -> None:
    outputs = {
        "boxes": np.array([[[0, 16, 32, 32], [0, 16, 64, 48], [1, 1, 2, 2]]], np.float32),
        "scores": np.array([[0.5, 0.75, 0.0]], np.float32),
        "labels": np.array([[0, 1, 0]]),
    }
    first, second = shapes_of("detection", outputs, 0, CLASSES, LETTERBOX)
    assert (first.class_name, first.confidence, first.bbox_xyxy) == (
        "debris",
        0.75,
        (0, 0, 200, 100),
    )
    assert (second.class_name, second.bbox_xyxy) == ("cell", (0, 0, 100, 50))
    assert [first.id, second.id] == ["0", "1"]


def test_what_is_padding_or_outside_the_image_is_no_box() -> None:
    outputs = {
        "boxes": np.array([[[0, 0, 64, 15], [5, 5, 5, 9], [0, 20, 9, 30]]], np.float32),
        "scores": np.array([[0.9, 0.9, 0.04]], np.float32),
        "labels": np.array([[0, 0, 0]]),
    }
    assert shapes_of("detection", outputs, 0, CLASSES, LETTERBOX) == ()


def test_each_connected_part_is_a_shape_with_its_mean_confidence() -> None:
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[0, 2:6, 2:6] = 1
    mask[0, 10:14, 2:10] = 1
    mask[0, 10:14, 10:14] = 2
    confidence = np.full((1, 20, 20), 0.5, np.float32)
    confidence[0, 2:6, 2:4], confidence[0, 10:14, 2:10] = 1.0, 0.9
    placement = Placement(20, 20, 20, 20)
    outputs: Outputs = {"mask": mask, "confidence": confidence}
    shapes = shapes_of("segmentation", outputs, 0, CLASSES, placement)
    assert [s.class_name for s in shapes] == ["cell", "cell", "debris"]
    assert [s.confidence for s in shapes] == pytest.approx([0.9, 0.75, 0.5])
    assert [s.mask_rle and masks.area(s.mask_rle) for s in shapes] == [32, 16, 16]
    union = sum(
        masks.decode(s.mask_rle or "", 20, 20) * (1 + CLASSES.index(s.class_name)) for s in shapes
    )
    assert (union == mask[0]).all()


def test_a_mask_is_brought_back_to_the_images_size() -> None:
    mask = np.zeros((1, 64, 64), np.uint8)
    mask[0, 16:32, 0:32] = 1
    outputs: Outputs = {"mask": mask, "confidence": np.ones((1, 64, 64), np.float32)}
    [shape] = shapes_of("segmentation", outputs, 0, CLASSES, LETTERBOX)
    assert shape.mask_rle is not None
    assert masks.box_of(shape.mask_rle, 200, 100) == (0, 0, 100, 50)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(Rejected, match="pose"):
        shapes_of("pose", {}, 0, CLASSES, LETTERBOX)


@given(st.integers(1, 7), st.integers(1, 7), st.data())
def test_a_window_is_encoded_as_the_whole_mask_would_be(
    height: int, width: int, data: st.DataObject
) -> None:
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    window = np.array(bits, bool).reshape(height, width)
    y, x = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    whole = np.zeros((height + y + data.draw(st.integers(0, 2)), width + x + 1), bool)
    whole[y : y + height, x : x + width] = window
    assert encode_window(window, x, y, *whole.shape) == masks.encode(whole)
