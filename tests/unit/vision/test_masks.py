"""Masks: the same text as pycocotools writes, and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as peer

from loopline.vision import masks

Mask = npt.NDArray[np.bool_]
rasters = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


def blob(seed: int = 1, height_px: int = 90, width_px: int = 120) -> Mask:
    """Return a mask of a few random discs."""
    random = np.random.default_rng(seed)
    ys, xs = np.mgrid[:height_px, :width_px]
    made = np.zeros((height_px, width_px), bool)
    for y, x, r in zip(
        random.uniform(0, height_px, 4),
        random.uniform(0, width_px, 4),
        random.uniform(3, 20, 4),
        strict=True,
    ):
        made |= (ys - y) ** 2 + (xs - x) ** 2 < r**2
    return made


@given(rasters)
def test_the_text_is_that_of_pycocotools_and_comes_back(mask: Mask) -> None:
    height, width = mask.shape
    text = masks.encode(mask)
    assert text == peer.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(masks.decode(text, width, height), mask)
    assert masks.area(text) == mask.sum()


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=60))
def test_any_runs_come_back(runs: list[int]) -> None:
    assert masks.run_lengths(masks.rle_of_runs(runs)) == runs


@given(rasters)
def test_a_masks_box_is_found_from_its_runs(mask: Mask) -> None:
    height, width = mask.shape
    found = masks.box_of(masks.encode(mask), width, height)
    if not mask.any():
        assert found is None
        return
    ys, xs = np.nonzero(mask)
    assert found == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


@given(st.data())
def test_overlap_is_that_of_the_pixels(data: st.DataObject) -> None:
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, max_side=20))
    a, b = data.draw(arrays(bool, shape)), data.draw(arrays(bool, shape))
    union = (a | b).sum()
    expected = (a & b).sum() / union if union else 0.0
    assert masks.iou(masks.encode(a), masks.encode(b)) == pytest.approx(expected)


def test_masks_of_different_images_do_not_overlap() -> None:
    with pytest.raises(ValueError, match="different images"):
        masks.iou(masks.encode(np.ones((2, 2))), masks.encode(np.ones((3, 3))))


@pytest.mark.parametrize("seed", range(5))
def test_a_mask_survives_its_polygons(seed: int) -> None:
    mask = blob(seed)
    rings = masks.to_polygons(mask)
    assert np.array_equal(masks.from_polygons(rings, mask.shape[1], mask.shape[0]), mask)


def test_simplified_rings_stay_close_and_are_shorter() -> None:
    mask = blob(3)
    rings, exact = masks.to_polygons(mask, 1.0), masks.to_polygons(mask)
    assert sum(map(len, rings)) < sum(map(len, exact)) / 2
    again = masks.encode(masks.from_polygons(rings, mask.shape[1], mask.shape[0]))
    assert masks.iou(again, masks.encode(mask)) > 0.93


def test_a_single_pixel_has_a_ring() -> None:
    mask = np.zeros((5, 5), bool)
    mask[2, 3] = True
    [ring] = masks.to_polygons(mask)
    assert len(ring) == 8
    assert np.array_equal(masks.from_polygons([ring], 5, 5), mask)


def test_a_square_polygon_covers_its_pixels() -> None:
    mask = masks.from_polygons([(1.0, 1.0, 4.0, 1.0, 4.0, 3.0, 1.0, 3.0)], 6, 5)
    assert mask[1:3, 1:4].all()
    assert masks.area_of_polygon((1.0, 1.0, 4.0, 1.0, 4.0, 3.0, 1.0, 3.0)) == 6.0
    assert masks.box_of_polygon((1.0, 1.0, 4.0, 1.0, 4.0, 3.0)) == (1.0, 1.0, 4.0, 3.0)


@pytest.mark.parametrize(
    ("rle", "reason"),
    [
        pytest.param("5220 ", "not a run-length character", id="outside the alphabet"),
        pytest.param("52é03", "character is not one", id="not ascii"),
        pytest.param("5220P", "cut off", id="cut off"),
        pytest.param("oooooooo0", "too long", id="endless"),
        pytest.param("522", "cover 9 pixels", id="too short"),
        pytest.param("`0", "no pixel is set", id="empty"),
    ],
)
def test_what_is_no_mask_of_the_image_is_refused(rle: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        masks.check_mask(rle, 4, 4)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        pytest.param((0.0, 0.0, 8.0, 0.0, 8.0, 8.0, 0.0, 8.0), 1.0, id="the same"),
        pytest.param((4.0, 0.0, 12.0, 0.0, 12.0, 8.0, 4.0, 8.0), 1 / 3, id="half of it"),
        pytest.param((0.0, 0.0, 8.0, 0.0, 8.0, 8.0), 0.5, id="a triangle of it"),
        pytest.param((20.0, 20.0, 30.0, 20.0, 30.0, 30.0), 0.0, id="elsewhere"),
    ],
)
def test_rings_overlap_by_area(other: tuple[float, ...], expected: float) -> None:
    square = (0.0, 0.0, 8.0, 0.0, 8.0, 8.0, 0.0, 8.0)
    assert masks.polygon_iou(square, other) == pytest.approx(expected, abs=0.02)
