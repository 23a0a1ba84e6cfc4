"""What happens to an image and its labels, that both move as one, and always the same way."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from loopline.store.items import Shape
from loopline.vision import masks
from loopline.vision.augmentation import (
    IGNORED,
    Augmentation,
    Augmenter,
    Change,
    Scene,
    changed_scene,
    changes,
    mosaic,
)
from loopline.vision.images import UInt8Image
from loopline.vision.moved import moved_shapes
from loopline.vision.rings import (
    FloatPoints,
    area_of,
    bounds_of,
    cut_to,
    hull_of_mask,
    ring_in_box,
    ring_of_box,
)

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
    "quarter_turns": True,
    "crop": 0.3,
    "saturation": 0.4,
    "hue_degrees": 30,
    "blur": 0.02,
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


def one_change(height: int, width: int, seed: int, **what: Any) -> Change:
    parameters = Augmentation.model_validate(NOTHING | what)
    return changes(parameters, seed, 3, np.array([7]), height, width, 1)[0]


def inside(ring: FloatPoints, height: int, width: int) -> np.ndarray:
    """Return `(height, width)`: whether a pixel's centre is in a convex ring."""
    y, x = np.mgrid[:height, :width] + 0.5
    following = np.roll(ring, -1, axis=0)
    sides = [
        (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
        for a, b in zip(ring, following, strict=True)
    ]
    x0, y0 = ring[:, 0], ring[:, 1]
    turn = np.sign(x0 @ np.roll(y0, -1) - y0 @ np.roll(x0, -1))
    return np.asarray((np.array(sides) * turn >= 0).all(axis=0))


MOVES: dict[str, Any] = {
    "flip_horizontal": True,
    "flip_vertical": True,
    "quarter_turns": True,
    "rotate_degrees": 40,
    "translate": 0.1,
    "scale": 0.2,
    "crop": 0.3,
}


def extent(pixels: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the box around what is set, its far edges after the last pixel."""
    rows, columns = np.nonzero(pixels)
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@given(st.integers(60, 90), st.integers(60, 90), st.integers(0, 10_000), st.data())
def test_an_outline_stays_where_its_pixels_go(
    height: int, width: int, seed: int, data: st.DataObject
) -> None:
    """The object is drawn, then moved; its outline is moved alone. Both must agree to a pixel."""
    change = one_change(height, width, seed, **MOVES)
    x, y = data.draw(st.integers(5, width - 30)), data.draw(st.integers(5, height - 30))
    corners = np.add(ring_of_box((x, y, x + 20, y + 14)), [[0, 0], [5, -3], [0, 0], [-4, 2]])
    drawn = inside(corners, height, width)
    scene = Scene(drawn[..., None] * np.uint8(255), (corners,), (4,), drawn.astype(np.uint8))
    after = changed_scene(scene, change, border=0)
    pixels = after.image[..., 0] > 127
    assert after.mask is not None
    known = after.mask != IGNORED
    assert np.mean(pixels[known] != after.mask[known].astype(bool)) < 0.02
    if after.rings:
        assert after.labels == (4,)
        expected = inside(after.rings[0], height, width)
        overlap = (pixels & expected).sum() / (pixels | expected).sum()
        assert overlap > 0.8  # an edge of a pixel around some 20 x 14
        assert np.abs(np.subtract(extent(pixels), extent(expected))).max() <= 2
        outside = np.subtract(extent(pixels), bounds_of(after.rings[0])) * [-1, -1, 1, 1]
        assert outside.max() <= 1.5  # a tip thinner than a pixel has none: inside may be more
    else:
        moved = area_of(change.points(corners))
        assert pixels.sum() < 0.45 * moved


@given(st.integers(0, 10_000))
def test_the_box_around_a_moved_hull_is_the_box_around_the_moved_mask(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = np.zeros((64, 80), np.uint8)
    for _ in range(3):
        y, x = random.integers(20, 35, 2)
        mask[y : y + 6, x : x + 9] = 1
    hull = hull_of_mask(masks.encode(mask), 80, 64)
    change = one_change(64, 80, seed, rotate_degrees=90, scale=0.2)
    moved = change.mask(mask)
    ring = change.ring(hull)
    if ring is None or not moved.any():
        return
    box = masks.box_of(masks.encode(moved), 80, 64)
    assert box is not None
    assert np.abs(np.subtract(box, bounds_of(ring))).max() <= 1.5


@pytest.mark.parametrize("turns", range(4))
def test_flips_and_quarter_turns_move_whole_pixels(turns: int) -> None:
    random = np.random.default_rng(turns)
    image = random.integers(0, 255, (32, 32, 3), np.uint8)
    what = {"flip_horizontal": True, "quarter_turns": True}
    ways = {np.rot90(flipped, k).tobytes() for k in range(4) for flipped in (image, image[:, ::-1])}
    for seed in range(10):
        assert one_change(32, 32, seed, **what).image(image).tobytes() in ways


def test_a_mask_is_told_what_lies_outside_the_image() -> None:
    change = one_change(40, 40, 1, translate=0.3)
    moved = change.mask(np.ones((40, 40), np.uint8), IGNORED)
    assert set(np.unique(moved)) == {1, IGNORED}


def test_what_cutout_hides_is_no_label() -> None:
    boxes = tuple(
        ring_of_box((x, y, x + 8, y + 8)) for x in range(0, 40, 8) for y in range(0, 40, 8)
    )
    mask = np.ones((40, 40), np.uint8)
    scene = Scene(np.zeros((40, 40, 1), np.uint8), boxes, tuple(range(25)), mask)
    hidden = [
        after
        for seed in range(20)
        if len((after := changed_scene(scene, one_change(40, 40, seed, cutout=0.5))).labels) < 25
    ]
    assert hidden
    for after in hidden:
        assert after.mask is not None
        for label in set(range(25)) - set(after.labels):
            x, y = label // 5 * 8, label % 5 * 8
            assert (after.image[y : y + 8, x : x + 8] == 127).mean() > 0.6
            assert (after.mask[y : y + 8, x : x + 8] == IGNORED).mean() > 0.6


def test_a_mosaic_shows_a_quarter_of_each_and_its_labels() -> None:
    scenes = [
        Scene(
            np.full((40, 60, 1), 10 * (n + 1), np.uint8),
            (ring_of_box((1, 1, 9, 9)), ring_of_box((51, 31, 59, 39))),
            (n, n),
        )
        for n in range(4)
    ]
    joined = mosaic(scenes, (30, 20))
    assert [int(joined.image[y, x, 0]) for y, x in ((0, 0), (0, 59), (39, 0), (39, 59))] == [
        10,
        20,
        30,
        40,
    ]
    assert sorted(zip(joined.labels, map(bounds_of, joined.rings), strict=True)) == [
        (0, (1, 1, 9, 9)),
        (3, (51, 31, 59, 39)),
    ]


def test_a_mosaic_takes_its_partners_by_seed_epoch_and_place_alone() -> None:
    def scene(place: int) -> Scene:
        return Scene(np.full((20, 20, 1), place, np.uint8))

    joining = augmenter(20, 20, mosaic=1.0)
    together = joining.scenes([scene(3), scene(5)], 2, np.array([3, 5]), scene, 50)
    [alone] = joining.scenes([scene(5)], 2, np.array([5]), scene, 50)
    assert (together[1].image == alone.image).all()
    assert len(np.unique(alone.image)) == 4


def test_rotation_and_translation_stay_within_what_was_asked_for() -> None:
    parameters = Augmentation.model_validate(NOTHING | {"rotate_degrees": 10, "translate": 0.1})
    matrices = np.array([c.matrix for c in changes(parameters, 0, 0, np.arange(500), 100, 100)])
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert 9 < np.abs(angles).max() <= 10
    centres = matrices @ np.array([50, 50, 1])
    assert 9 < np.abs(centres - 50).max() <= 10


def test_a_crop_shows_a_part_of_the_image_enlarged() -> None:
    parameters = Augmentation.model_validate(NOTHING | {"crop": 0.5})
    for change in changes(parameters, 0, 0, np.arange(100), 80, 100):
        [[left, top], [right, bottom]] = np.linalg.solve(
            change.matrix[:, :2], (np.array([[0, 0], [100, 80]]) - change.matrix[:, 2]).T
        ).T
        assert -1e-6 <= left < right <= 100 + 1e-6
        assert -1e-6 <= top < bottom <= 80 + 1e-6
        assert 0.5 - 1e-6 <= (right - left) / 100 <= 1 + 1e-6
        assert (right - left) / 100 == pytest.approx((bottom - top) / 80)


def test_no_saturation_is_grey_and_a_full_turn_of_hue_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    pale = changes(
        Augmentation.model_validate(NOTHING | {"saturation": 1.0}), 0, 0, np.arange(300), 8, 8
    )
    spreads = [float(np.ptp(c.image(image).astype(float), axis=2).mean()) for c in pale]
    given_spread = float(np.ptp(image.astype(float), axis=2).mean())
    assert min(spreads) < 0.05 * given_spread
    assert max(spreads) > 1.2 * given_spread
    turned = changes(
        Augmentation.model_validate(NOTHING | {"hue_degrees": 90}), 0, 0, np.arange(50), 8, 8
    )
    sums = [c.image(np.full((8, 8, 3), (120, 100, 80), np.uint8)).sum(axis=2) for c in turned]
    assert np.abs(np.array(sums, int) - 300).max() <= 3


@given(st.integers(0, 1000))
def test_what_is_cut_to_a_rectangle_is_what_the_raster_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0, 2 * np.pi, 7))
    ring = 50 + 30 * np.stack([np.cos(angles), np.sin(angles)], axis=1) + random.uniform(-20, 20, 2)
    left = cut_to(ring, (30.0, 30.0, 70.0, 60.0))
    fine = masks.from_polygons([(ring * 10).ravel().tolist()], 1100, 1100)[300:600, 300:700]
    assert area_of(left) == pytest.approx(fine.sum() / 100, abs=0.02 * area_of(ring) + 3)


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
    with pytest.raises(ValidationError, match="twirl"):
        Augmentation.model_validate({"twirl": True})


@pytest.mark.parametrize("degrees", [0, 10, 45, 90, 133])
def test_a_turned_disc_that_is_known_by_its_box_alone_keeps_its_size(degrees: float) -> None:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).round(12)
    matrix = np.concatenate([turn, (50 - turn @ (50, 50))[:, None]], axis=1)
    change = Change(matrix, 100, 100, None, 0.0, 0.0, (0, 0, 0), (0, 0, 0, 0))
    ring = change.ring(ring_in_box((40, 40, 60, 60)))
    assert ring is not None
    assert bounds_of(ring) == pytest.approx((40, 40, 60, 60), abs=0.1)
    assert change.is_upright == (degrees in (0, 90))
    shape = Shape("1", "coin", bbox_xyxy=(40, 40, 60, 60))
    [moved] = moved_shapes([shape], change)
    assert moved.bbox_xyxy == pytest.approx((40, 40, 60, 60), abs=0.1)


@given(x=st.floats(-50, 50), y=st.floats(-50, 50), width=st.floats(1, 90), height=st.floats(1, 90))
def test_the_ellipse_in_a_box_touches_all_its_sides(
    x: float, y: float, width: float, height: float
) -> None:
    box = (x, y, x + width, y + height)
    assert bounds_of(ring_in_box(box)) == pytest.approx(box)
