"""Which change happens to which image: drawn by (seed, epoch, index), and by nothing else."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from loopline.vision.changes import Change
from loopline.vision.randomness import uniforms

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DRAWS: Final = 25  # random numbers of an image's plan
_GREY: Final = np.array([0.299, 0.587, 0.114])  # of red, green and blue (BT.601)


class Augmentation(BaseModel):
    """What may happen to a training image; 0 or false leaves a change out.

    Shares are of the image's side; brightness and noise are shares of the full range of a pixel.
    The defaults are gentle: of what was tried on 1,350 product images and 16 epochs, stronger
    changes and cutout cost one to two points of accuracy (they pay in longer trainings).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip_horizontal: bool = Field(True, description="Mirror every second image left to right.")
    flip_vertical: bool = Field(False, description="Mirror every second image upside down.")
    quarter_turns: bool = Field(False, description="Turn by 0, 90, 180 or 270 degrees.")
    rotate_degrees: float = Field(2.0, ge=0, le=180, description="Turn by up to this, either way.")
    translate: float = Field(
        0.04, ge=0, le=0.5, description="Shift by up to this share, either way."
    )
    scale: float = Field(0.03, ge=0, lt=1, description="Zoom by 1 - scale to 1 + scale.")
    crop: float = Field(
        0.0, ge=0, lt=1, description="Cut away up to this share of each side; enlarge the rest."
    )
    brightness: float = Field(0.03, ge=0, le=1, description="Add up to this, either way.")
    contrast: float = Field(
        0.05, ge=0, lt=1, description="Multiply by 1 - contrast to 1 + contrast."
    )
    saturation: float = Field(
        0.0, ge=0, le=1, description="Multiply colourfulness by 1 - this to 1 + this."
    )
    hue_degrees: float = Field(
        0.0, ge=0, le=180, description="Turn the circle of colours by up to this, either way."
    )
    noise: float = Field(0.0, ge=0, le=1, description="Standard deviation of Gaussian noise.")
    blur: float = Field(
        0.0, ge=0, le=0.1, description="Blur every second image, standard deviation up to this."
    )
    cutout: float = Field(
        0.0, ge=0, le=1, description="Blank a square of this side on every second image."
    )
    mosaic: float = Field(
        0.0, ge=0, le=1, description="Share of images joined with three others; detection only."
    )


def changes(
    parameters: Augmentation,
    seed: int,
    epoch: int,
    indices: IntArray,
    height_px: int,
    width_px: int,
    channels: int = 3,
) -> list[Change]:
    """Decide what happens to each image in this epoch.

    Args:
        parameters: What may happen.
        seed: Of the run.
        epoch: From 0.
        indices: `(N,)`: which images, by their place in the training set.
        height_px: Of the images.
        width_px: Of the images.
        channels: Of the images, 1 or 3.
    """
    chance = uniforms(seed, epoch, indices, DRAWS)
    either_way = 2 * chance - 1
    matrices = _matrices(parameters, chance, either_way, height_px, width_px)
    colours = _colours(parameters, either_way, channels)
    blanks = _blanks(parameters, chance, height_px, width_px)
    side = max(height_px, width_px)
    blurred = np.where(chance[:, 11] < 0.5, chance[:, 12], 0) * parameters.blur * side
    return [
        Change(
            matrices[row],
            height_px,
            width_px,
            None if colours is None else colours[row],
            float(blurred[row]),
            parameters.noise,
            (seed, epoch, int(indices[row])),
            (int(blank[0]), int(blank[1]), int(blank[2]), int(blank[3])),
        )
        for row, blank in enumerate(blanks)
    ]


def _matrices(
    parameters: Augmentation,
    chance: Float64Array,
    either_way: Float64Array,
    height_px: int,
    width_px: int,
) -> Float64Array:
    """Compose crop, mirror, turn, zoom and shift; all but the crop are about the centre."""
    p = parameters
    angle = np.deg2rad(p.rotate_degrees) * either_way[:, 2]
    if p.quarter_turns:
        angle = angle + np.pi / 2 * np.floor(4 * chance[:, 19])
    zoom = 1 + p.scale * either_way[:, 3]
    mirror_x = np.where(p.flip_horizontal & (chance[:, 0] < 0.5), -1.0, 1.0)
    mirror_y = np.where(p.flip_vertical & (chance[:, 1] < 0.5), -1.0, 1.0)
    size = np.array([width_px, height_px], np.float64)
    kept = 1 - p.crop * chance[:, 20]
    corner = (1 - kept)[:, None] * chance[:, 21:23] * size
    shift = p.translate * size * either_way[:, [4, 7]]
    turn = np.empty((len(chance), 2, 2))
    turn[:, 0, 0] = np.cos(angle) * mirror_x
    turn[:, 0, 1] = -np.sin(angle) * mirror_y
    turn[:, 1, 0] = np.sin(angle) * mirror_x
    turn[:, 1, 1] = np.cos(angle) * mirror_y
    linear = turn * (zoom / kept)[:, None, None]
    middle = corner + kept[:, None] * size / 2  # of what is kept, it becomes the middle of all
    moved = size / 2 + shift - np.einsum("nij,nj->ni", linear, middle)
    # Sines of quarter turns are not quite 0: without this a turned image would be sampled anew.
    return np.concatenate([linear.round(12), moved.round(9)[:, :, None]], axis=2)


def _colours(
    parameters: Augmentation, either_way: Float64Array, channels: int
) -> Float64Array | None:
    """Compose saturation, hue, contrast about middle grey, and brightness."""
    p = parameters
    is_colour = channels == 3 and bool(p.saturation or p.hue_degrees)
    if not (is_colour or p.contrast or p.brightness):
        return None
    count = len(either_way)
    linear = np.tile(np.eye(channels), (count, 1, 1))
    if is_colour:
        keep = (1 + p.saturation * either_way[:, 23])[:, None, None]
        linear = keep * np.eye(3) + (1 - keep) * np.tile(_GREY, (3, 1))
        linear = _hue_turns(np.deg2rad(p.hue_degrees) * either_way[:, 24]) @ linear
    gains = 1 + p.contrast * either_way[:, 5]
    shifts = 255 * p.brightness * either_way[:, 6]
    offsets = np.repeat((127.5 * (1 - gains) + shifts)[:, None, None], channels, axis=1)
    return np.concatenate([gains[:, None, None] * linear, offsets], axis=2)


def _hue_turns(angles: Float64Array) -> Float64Array:
    """Return `(N, 3, 3)`: turns of RGB about the axis of greys (Rodrigues' formula)."""
    axis = np.full(3, 1 / np.sqrt(3))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    sine, cosine = np.sin(angles)[:, None, None], np.cos(angles)[:, None, None]
    return np.asarray(cosine * np.eye(3) + sine * cross + (1 - cosine) * np.outer(axis, axis))


def _blanks(
    parameters: Augmentation, chance: Float64Array, height_px: int, width_px: int
) -> IntArray:
    size = np.array([width_px, height_px])
    centre = chance[:, 8:10] * size
    side = np.where(chance[:, 10:11] < 0.5, size * parameters.cutout, 0.0)
    low = np.clip(np.rint(centre - side / 2), 0, size)
    high = np.clip(low + np.rint(side), 0, size)
    return np.concatenate([low, high], 1).astype(np.int64)
