"""Where an image lies in a network's input is where its pixels are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.errors import Rejected
from loopline.vision.geometry import BORDER, FITS, Placement

SIDES = st.integers(16, 200)
PLACEMENTS = st.builds(Placement, SIDES, SIDES, SIDES, SIDES, st.sampled_from(FITS))


@given(PLACEMENTS, st.floats(0, 1), st.floats(0, 1))
def test_a_point_comes_back_from_the_input(placement: Placement, x: float, y: float) -> None:
    point = np.array([x * placement.image_width_px, y * placement.image_height_px])
    there = placement.to_input(point)
    assert (there >= -1e-9).all()
    assert (there <= [placement.input_width_px + 1e-9, placement.input_height_px + 1e-9]).all()
    assert placement.to_image(there) == pytest.approx(point)


@given(PLACEMENTS, st.data())
def test_the_pixels_of_a_box_are_where_the_box_is(
    placement: Placement, data: st.DataObject
) -> None:
    x = data.draw(st.integers(0, placement.image_width_px - 8))
    y = data.draw(st.integers(0, placement.image_height_px - 8))
    image = np.zeros((placement.image_height_px, placement.image_width_px, 1), np.uint8)
    image[y : y + 8, x : x + 8] = 255
    [box] = placement.boxes_to_input([[x, y, x + 8, y + 8]])
    placed = placement.image_to_input(image)
    centres = np.argwhere(placed[..., 0] > 127 + 64) + 0.5
    tolerance = 1.0
    if len(centres):
        assert (centres[:, 1] >= box[0] - tolerance).all()
        assert (centres[:, 1] <= box[2] + tolerance).all()
        assert (centres[:, 0] >= box[1] - tolerance).all()
        assert (centres[:, 0] <= box[3] + tolerance).all()
    [back] = placement.boxes_to_image([box])
    assert back == pytest.approx([x, y, x + 8, y + 8])


@given(PLACEMENTS)
def test_a_mask_that_goes_there_and_back_keeps_what_is_large(placement: Placement) -> None:
    mask = np.zeros((placement.image_height_px, placement.image_width_px), bool)
    mask[: mask.shape[0] // 2] = True
    back = placement.mask_to_image(placement.mask_to_input(mask))
    assert back.shape == mask.shape
    assert back.dtype == mask.dtype
    edge = -(-mask.shape[0] // placement.height_px) + 1
    middle = mask.shape[0] // 2
    assert back[: max(0, middle - edge)].all()
    assert not back[middle + edge :].any()


def test_a_letterbox_keeps_the_aspect_ratio_and_fills_the_rest_with_grey() -> None:
    placement = Placement(100, 200, 64, 64, "letterbox")
    placed = placement.image_to_input(np.full((100, 200, 3), 7, np.uint8))
    assert placed.shape == (64, 64, 3)
    assert (placed[16:48] == 7).all()
    assert (placed[:16] == BORDER).all()
    assert (placed[48:] == BORDER).all()


def test_boxes_that_leave_the_image_are_cut_to_it() -> None:
    placement = Placement(100, 200, 64, 64, "letterbox")
    assert placement.boxes_to_image([[-5, 0, 70, 64]]).tolist() == [[0, 0, 200, 100]]


def test_no_boxes_stay_no_boxes() -> None:
    assert Placement(10, 10, 5, 5).boxes_to_input([]).shape == (0, 4)


def test_an_unknown_fit_is_refused() -> None:
    with pytest.raises(Rejected, match="squeeze"):
        Placement(1, 1, 1, 1, "squeeze")
