"""Augmentation in one warp: what may happen to a training image, and exactly what happens to each.

Geometry is composed into one affine matrix per image and the pixels are sampled once. Every draw is
a pure function of (seed, epoch, index of the image), never of the order in which images are asked
for, so a run that was killed and resumed sees the very same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from loopline.vision.images import UInt8Image
from loopline.vision.randomness import normals, uniforms

Float64Array = npt.NDArray[np.float64]

DRAWS: Final = 11  # random numbers of an image's plan
_NOISE_STREAM: Final = 1  # keeps the draws for noise apart from those for the plan


class Augmentation(BaseModel):
    """What may happen to a training image; 0 or false leaves a change out.

    Shares are of the image's side; brightness and noise are shares of the full range of a pixel.
    The defaults are gentle: of what was tried on 1,350 product images and 16 epochs, stronger
    changes and cutout cost one to two points of accuracy (they pay in longer trainings).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip_horizontal: bool = Field(True, description="Mirror every second image left to right.")
    flip_vertical: bool = Field(False, description="Mirror every second image upside down.")
    rotate_degrees: float = Field(2.0, ge=0, le=180, description="Turn by up to this, either way.")
    translate: float = Field(
        0.04, ge=0, le=0.5, description="Shift by up to this share, either way."
    )
    scale: float = Field(0.03, ge=0, lt=1, description="Zoom by 1 - scale to 1 + scale.")
    brightness: float = Field(0.03, ge=0, le=1, description="Add up to this, either way.")
    contrast: float = Field(
        0.05, ge=0, lt=1, description="Multiply by 1 - contrast to 1 + contrast."
    )
    noise: float = Field(0.0, ge=0, le=1, description="Standard deviation of Gaussian noise.")
    cutout: float = Field(
        0.0, ge=0, le=1, description="Blank a square of this side on every second image."
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to each image of a batch.

    Attributes:
        matrices: `(N, 2, 3)`: from pixels of the given image to pixels of the result.
        gains: `(N,)`: contrast.
        offsets: `(N,)`: brightness and the pivot of the contrast, in steps of a pixel (0 to 255).
        cutouts: `(N, 4)` int, x_min, y_min, x_max, y_max; empty boxes where nothing is blanked.
    """

    matrices: Float64Array
    gains: Float64Array
    offsets: Float64Array
    cutouts: npt.NDArray[np.int64]


class Augmenter:
    """Augments images of one size."""

    def __init__(self, parameters: Augmentation, height_px: int, width_px: int, seed: int) -> None:
        self.parameters = parameters
        self.height_px = height_px
        self.width_px = width_px
        self.seed = seed

    def plan(self, epoch: int, indices: npt.NDArray[np.int64]) -> Plan:
        """Decide what happens to each image in this epoch.

        Args:
            epoch: From 0.
            indices: `(N,)`: which images, by their place in the training set.
        """
        chance = uniforms(self.seed, epoch, indices, DRAWS)
        either_way = 2 * chance - 1
        gains = 1 + self.parameters.contrast * either_way[:, 5]
        shifts = 255 * self.parameters.brightness * either_way[:, 6]
        return Plan(
            matrices=self._matrices(chance, either_way),
            gains=gains,
            offsets=127.5 * (1 - gains) + shifts,
            cutouts=self._cutouts(chance),
        )

    def apply(
        self, images: Sequence[UInt8Image], epoch: int, indices: npt.NDArray[np.int64]
    ) -> UInt8Image:
        """Augment a batch.

        Args:
            images: N images `(H, W, C)` uint8 of this augmenter's size.
            epoch: From 0.
            indices: `(N,)`: their places in the training set.

        Returns:
            `(N, H, W, C)` uint8.
        """
        plan = self.plan(epoch, indices)
        size = (self.width_px, self.height_px)
        batch = np.empty((len(images), self.height_px, self.width_px, images[0].shape[2]), np.uint8)
        for row, image in enumerate(images):
            warped = cv2.warpAffine(
                image,
                plan.matrices[row],
                size,
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            cv2.addWeighted(warped, plan.gains[row], warped, 0, plan.offsets[row], dst=warped)
            batch[row] = warped.reshape(batch.shape[1:])
            x_min, y_min, x_max, y_max = plan.cutouts[row]
            batch[row, y_min:y_max, x_min:x_max] = 127
        if self.parameters.noise:
            batch = self._with_noise(batch, epoch, indices)
        return batch

    def _matrices(self, chance: Float64Array, either_way: Float64Array) -> Float64Array:
        p = self.parameters
        angle = np.deg2rad(p.rotate_degrees) * either_way[:, 2]
        zoom = 1 + p.scale * either_way[:, 3]
        mirror_x = np.where(p.flip_horizontal & (chance[:, 0] < 0.5), -1.0, 1.0)
        mirror_y = np.where(p.flip_vertical & (chance[:, 1] < 0.5), -1.0, 1.0)
        centre_x, centre_y = (self.width_px - 1) / 2, (self.height_px - 1) / 2
        shift_x = p.translate * self.width_px * either_way[:, 4]
        shift_y = p.translate * self.height_px * either_way[:, 7]
        matrices = np.empty((len(chance), 2, 3))
        matrices[:, 0, 0] = zoom * np.cos(angle) * mirror_x
        matrices[:, 0, 1] = -zoom * np.sin(angle) * mirror_y
        matrices[:, 1, 0] = zoom * np.sin(angle) * mirror_x
        matrices[:, 1, 1] = zoom * np.cos(angle) * mirror_y
        centre = np.array([centre_x, centre_y])
        matrices[:, :, 2] = centre + np.stack([shift_x, shift_y], 1) - matrices[:, :, :2] @ centre
        return matrices

    def _cutouts(self, chance: Float64Array) -> npt.NDArray[np.int64]:
        side = np.array([self.width_px, self.height_px]) * self.parameters.cutout
        size = np.array([self.width_px, self.height_px])
        centre = chance[:, 8:10] * size
        side = np.where(chance[:, 10:11] < 0.5, side, 0.0)
        low = np.clip(np.rint(centre - side / 2), 0, size)
        high = np.clip(low + np.rint(side), 0, size)
        return np.concatenate([low, high], 1).astype(np.int64)

    def _with_noise(
        self, batch: UInt8Image, epoch: int, indices: npt.NDArray[np.int64]
    ) -> UInt8Image:
        pixels = int(np.prod(batch.shape[1:]))
        noise = normals(self.seed + _NOISE_STREAM, epoch, indices, pixels).reshape(batch.shape)
        noisy = batch + 255 * self.parameters.noise * noise
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
