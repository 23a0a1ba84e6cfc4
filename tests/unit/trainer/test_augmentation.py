"""What happens to a training image, and that it always happens the same way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from loopline.vision.images import UInt8Image
from services.trainer.recipes.augmentation import Augmentation, Augmenter

NOTHING = {
    "flip_horizontal": False,
    "flip_vertical": False,
    "rotate_degrees": 0,
    "translate": 0,
    "scale": 0,
    "brightness": 0,
    "contrast": 0,
    "noise": 0,
    "cutout": 0,
}
EVERYTHING: dict[str, Any] = {
    "flip_horizontal": True,
    "flip_vertical": True,
    "rotate_degrees": 30,
    "translate": 0.2,
    "scale": 0.2,
    "brightness": 0.2,
    "contrast": 0.3,
    "noise": 0.02,
    "cutout": 0.3,
}


def augmenter(height: int = 12, width: int = 16, seed: int = 0, **changes: Any) -> Augmenter:
    return Augmenter(Augmentation.model_validate(NOTHING | changes), height, width, seed)


def images(count: int, height: int = 12, width: int = 16, channels: int = 1) -> list[UInt8Image]:
    random = np.random.default_rng(0)
    return list(random.integers(40, 216, (count, height, width, channels), np.uint8))


@pytest.mark.parametrize("channels", [1, 3])
def test_no_augmentation_leaves_every_pixel_alone(channels: int) -> None:
    given_images = images(4, channels=channels)
    batch = augmenter().apply(given_images, 0, np.arange(4))
    assert (batch == np.stack(given_images)).all()


@given(st.permutations(range(8)), st.integers(0, 50))
def test_an_image_gets_the_same_pixels_in_any_batch(order: list[int], epoch: int) -> None:
    some = images(8)
    all_changes = augmenter(**EVERYTHING)
    together = all_changes.apply(some, epoch, np.arange(8))
    shuffled = all_changes.apply([some[i] for i in order], epoch, np.array(order))
    assert (shuffled == together[order]).all()


def test_seeds_and_epochs_change_the_pixels() -> None:
    some = images(8)
    first = augmenter(**EVERYTHING).apply(some, 0, np.arange(8))
    assert (first != augmenter(**EVERYTHING).apply(some, 1, np.arange(8))).any()
    assert (first != augmenter(seed=1, **EVERYTHING).apply(some, 0, np.arange(8))).any()


def test_a_flip_mirrors_about_half_of_the_images_exactly() -> None:
    some = images(200)
    batch = augmenter(flip_horizontal=True).apply(some, 0, np.arange(200))
    flipped = sum(bool((new == old[:, ::-1]).all()) for new, old in zip(batch, some, strict=True))
    kept = sum(bool((new == old).all()) for new, old in zip(batch, some, strict=True))
    assert flipped + kept == 200
    assert 70 < flipped < 130


def test_a_matrix_says_where_a_pixel_goes() -> None:
    mark: UInt8Image = np.zeros((41, 41, 1), np.uint8)
    mark[25, 10] = 255
    moving = augmenter(41, 41, flip_horizontal=True, rotate_degrees=40, translate=0.1, scale=0.1)
    indices = np.arange(30)
    batch = moving.apply([mark] * 30, 2, indices)
    for image, matrix in zip(batch, moving.plan(2, indices).matrices, strict=True):
        x, y = matrix @ [10, 25, 1]
        rows, columns = np.nonzero(image[..., 0] > 40)
        if len(rows):
            assert abs(columns.mean() - x) < 1
            assert abs(rows.mean() - y) < 1


def test_rotation_and_translation_stay_within_what_was_asked_for() -> None:
    plan = augmenter(100, 100, rotate_degrees=10, translate=0.1).plan(0, np.arange(500))
    angles = np.degrees(np.arctan2(plan.matrices[:, 1, 0], plan.matrices[:, 0, 0]))
    assert 9 < np.abs(angles).max() <= 10
    centres = plan.matrices @ np.array([49.5, 49.5, 1])
    assert 9 < np.abs(centres - 49.5).max() <= 10


def test_contrast_turns_about_middle_grey_and_brightness_adds() -> None:
    middle: UInt8Image = np.full((12, 16, 1), 127, np.uint8)
    contrast = augmenter(contrast=0.5).apply([middle] * 50, 0, np.arange(50))
    assert np.abs(contrast.astype(int) - 127).max() <= 1
    brightness = augmenter(brightness=0.1).apply([middle] * 50, 0, np.arange(50))
    change = brightness.astype(int) - 127
    assert (change == change[:, :1, :1]).all()
    assert 20 < np.abs(change).max() <= 26


def test_brightness_never_wraps_around() -> None:
    white: UInt8Image = np.full((12, 16, 1), 255, np.uint8)
    assert augmenter(brightness=1).apply([white] * 20, 0, np.arange(20)).max() == 255
    assert (augmenter(noise=0.5).apply([white] * 20, 0, np.arange(20)) > 20).mean() > 0.9


def test_cutout_blanks_a_square_of_the_given_side_on_half_of_the_images() -> None:
    white: UInt8Image = np.full((20, 20, 1), 255, np.uint8)
    batch = augmenter(20, 20, cutout=0.5).apply([white] * 200, 0, np.arange(200))
    blanked = (batch != 255).sum(axis=(1, 2, 3))
    assert blanked.max() == 100
    assert 60 < (blanked > 0).sum() < 140


def test_an_unknown_change_is_refused() -> None:
    with pytest.raises(ValidationError, match="mosaic"):
        Augmentation.model_validate({"mosaic": True})
