"""Augmentation of images and their labels.

What may happen is `Augmentation`, what happens to which image is drawn in `draws`, and what that
does to pixels, boxes, outlines and masks is `changes`. Every draw is a pure function of (seed,
epoch, index of the image), never of the order in which images are asked for: a run that was killed
and resumed, or whose images are shared among machines, sees the very same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from loopline.vision.changes import VISIBLE_MIN, Change
from loopline.vision.draws import DRAWS, Augmentation, IntArray, changes
from loopline.vision.geometry import BORDER
from loopline.vision.images import UInt8Image
from loopline.vision.randomness import uniforms
from loopline.vision.rings import FloatPoints, area_of, bounds_of, cut_to

__all__ = ["Augmentation", "Augmenter", "Change", "Scene", "changed_scene", "changes", "mosaic"]

IGNORED: Final = 255  # in a mask of classes: what lies outside the given image


@dataclass(frozen=True, slots=True)
class Scene:
    """An image with what is known of its parts.

    Attributes:
        image: `(H, W, C)` uint8.
        rings: An outline `(M, 2)` of each object, x and y in pixels; a box is its four corners.
        labels: `(N,)`: what each object is.
        mask: `(H, W)` uint8 of classes, or None.
    """

    image: UInt8Image
    rings: tuple[FloatPoints, ...] = ()
    labels: tuple[int, ...] = ()
    mask: npt.NDArray[np.uint8] | None = None

    def boxes(self) -> FloatPoints:
        """Return the boxes `(N, 4)` xyxy around the objects."""
        return np.array([bounds_of(ring) for ring in self.rings], np.float64).reshape(-1, 4)


class Augmenter:
    """Augments images of one size.

    Args:
        parameters: What may happen.
        height_px: Of the images.
        width_px: Of the images.
        seed: Of the run.
        border: What is seen outside a given image; None repeats its edge.
    """

    def __init__(
        self,
        parameters: Augmentation,
        height_px: int,
        width_px: int,
        seed: int,
        border: int | None = None,
    ) -> None:
        self.parameters = parameters
        self.height_px = height_px
        self.width_px = width_px
        self.seed = seed
        self.border = border

    def apply(self, images: Sequence[UInt8Image], epoch: int, indices: IntArray) -> UInt8Image:
        """Return N images `(H, W, C)` as an augmented batch `(N, H, W, C)` uint8.

        Args:
            images: Of this augmenter's size.
            epoch: From 0.
            indices: `(N,)`: their places in the training set.
        """
        plans = self._changes(epoch, indices, images[0].shape[2])
        return np.stack(
            [plan.image(image, self.border) for plan, image in zip(plans, images, strict=True)]
        )

    def masked(
        self,
        images: Sequence[UInt8Image],
        masks: Sequence[npt.NDArray[np.uint8]],
        epoch: int,
        indices: IntArray,
    ) -> tuple[UInt8Image, npt.NDArray[np.uint8]]:
        """Return images `(N, H, W, C)` and masks `(N, H, W)` of classes, moved together.

        Args:
            images: N of them, of this augmenter's size.
            masks: N of them.
            epoch: From 0.
            indices: `(N,)`: their places in the training set.
        """
        scenes = [Scene(image, mask=mask) for image, mask in zip(images, masks, strict=True)]
        changed = self.scenes(scenes, epoch, indices)
        moved = [scene.mask for scene in changed if scene.mask is not None]
        return np.stack([scene.image for scene in changed]), np.stack(moved)

    def scenes(
        self,
        scenes: Sequence[Scene],
        epoch: int,
        indices: IntArray,
        other: Callable[[int], Scene] | None = None,
        count: int = 0,
    ) -> list[Scene]:
        """Augment images with their labels.

        Args:
            scenes: N of them, of this augmenter's size.
            epoch: From 0.
            indices: `(N,)`: their places in the training set.
            other: Gives the scene at another place, for a mosaic.
            count: How many places there are.
        """
        plans = self._changes(epoch, indices, scenes[0].image.shape[2])
        joined = [
            self._mosaic(scene, epoch, int(index), other, count) if other else scene
            for scene, index in zip(scenes, indices, strict=True)
        ]
        return [
            changed_scene(scene, plan, self.border)
            for scene, plan in zip(joined, plans, strict=True)
        ]

    def _changes(self, epoch: int, indices: IntArray, channels: int) -> list[Change]:
        size = self.height_px, self.width_px
        return changes(self.parameters, self.seed, epoch, indices, *size, channels)

    def _mosaic(
        self, scene: Scene, epoch: int, index: int, other: Callable[[int], Scene], count: int
    ) -> Scene:
        """Join a scene with three others around a point near the middle."""
        chance = uniforms(self.seed, epoch, np.array([index]), DRAWS)[0]
        if chance[13] >= self.parameters.mosaic or count < 2:
            return scene
        partners = [other(int(draw * count)) for draw in chance[14:17]]
        middle = (
            round(self.width_px * (0.3 + 0.4 * chance[17])),
            round(self.height_px * (0.3 + 0.4 * chance[18])),
        )
        return mosaic([scene, *partners], middle)


def changed_scene(scene: Scene, change: Change, border: int | None = BORDER) -> Scene:
    """Return a scene after a change; objects of which too little is seen are left out."""
    moved = [change.ring(ring) for ring in scene.rings]
    kept = [
        (ring, label) for ring, label in zip(moved, scene.labels, strict=True) if ring is not None
    ]
    mask = scene.mask
    if mask is not None:
        mask = change.mask(mask, IGNORED)
        x_min, y_min, x_max, y_max = change.blank
        if x_min < x_max and y_min < y_max:
            mask = mask.copy()
            mask[y_min:y_max, x_min:x_max] = IGNORED
    return Scene(
        change.image(scene.image, border),
        tuple(ring for ring, _ in kept),
        tuple(label for _, label in kept),
        mask,
    )


def mosaic(scenes: Sequence[Scene], middle: tuple[int, int]) -> Scene:
    """Return four scenes of one size as one of that size: a quarter each, unscaled.

    Args:
        scenes: Four; each shows the part nearest to its corner.
        middle: (x, y) where they meet.
    """
    height, width = scenes[0].image.shape[:2]
    image = np.empty_like(scenes[0].image)
    mask = None if scenes[0].mask is None else np.empty_like(scenes[0].mask)
    rings: list[FloatPoints] = []
    labels: list[int] = []
    x, y = middle
    tiles = ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height))
    for scene, (x_min, y_min, x_max, y_max) in zip(scenes, tiles, strict=True):
        image[y_min:y_max, x_min:x_max] = scene.image[y_min:y_max, x_min:x_max]
        if mask is not None and scene.mask is not None:
            mask[y_min:y_max, x_min:x_max] = scene.mask[y_min:y_max, x_min:x_max]
        for ring, label in zip(scene.rings, scene.labels, strict=True):
            left = cut_to(ring, (x_min, y_min, x_max, y_max))
            if len(left) and area_of(left) >= VISIBLE_MIN * area_of(ring):
                rings.append(left)
                labels.append(label)
    return replace(scenes[0], image=image, mask=mask, rings=tuple(rings), labels=tuple(labels))
