"""What happens to one image, and to the labels on it.

Everything that moves pixels is one affine matrix, and the pixels are sampled once; everything that
changes colours is one matrix of colours. Labels go through the same matrix as the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from loopline.vision.geometry import BORDER
from loopline.vision.images import UInt8Image
from loopline.vision.randomness import normals
from loopline.vision.rings import FloatPoints, area_of, cut_to

Float64Array = npt.NDArray[np.float64]

BLANK: Final = 127  # of what cutout hides
VISIBLE_MIN: Final = 0.3  # of an object's area; of what remains less, the label goes too
NOISE_STREAM: Final = 1  # keeps the draws for noise apart from those for the plan

_IDENTITY: Final = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one image.

    Attributes:
        matrix: `(2, 3)`: from points of the given image to points of the result.
        height_px: Of image and result.
        width_px: Of image and result.
        colours: `(C, C + 1)`: from channels to channels; None leaves them.
        blur_px: Standard deviation; 0 leaves it out.
        noise: Standard deviation, of 255.
        noise_key: (seed, epoch, index) of the noise.
        blank: x_min, y_min, x_max, y_max of what is blanked; empty where nothing is.
    """

    matrix: Float64Array
    height_px: int
    width_px: int
    colours: Float64Array | None
    blur_px: float
    noise: float
    noise_key: tuple[int, int, int]
    blank: tuple[int, int, int, int]

    def image(self, image: UInt8Image, border: int | None = BORDER) -> UInt8Image:
        """Return the changed image `(H, W, C)`.

        Args:
            image: `(H, W, C)` uint8.
            border: What is seen outside the given image; None repeats its edge.
        """
        changed = self.warped(image, cv2.INTER_LINEAR, border).reshape(image.shape)
        if self.colours is not None:
            changed = np.asarray(cv2.transform(changed, self.colours)).reshape(image.shape)
        if self.blur_px:
            changed = cv2.GaussianBlur(changed, (0, 0), self.blur_px).reshape(image.shape)
        if self.noise:
            changed = self._noisy(changed)
        x_min, y_min, x_max, y_max = self.blank
        if x_min < x_max and y_min < y_max:
            changed = changed.copy()  # it may be the image that was given
            changed[y_min:y_max, x_min:x_max] = BLANK
        return changed

    @property
    def is_upright(self) -> bool:
        """Whether a box stays a box: nothing is turned but by quarters."""
        (a, b, _), (c, d, _) = self.matrix.tolist()
        return bool((a == 0 and d == 0) or (b == 0 and c == 0))

    def points(self, points: npt.ArrayLike) -> FloatPoints:
        """Return where points `(..., 2)` go; they may leave the image."""
        return np.asarray(points, np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def ring(self, ring: FloatPoints) -> FloatPoints | None:
        """Return what is left of an object's outline; None where too little of it is seen."""
        moved = self.points(ring)
        whole = area_of(moved)
        left = cut_to(moved, (0.0, 0.0, float(self.width_px), float(self.height_px)))
        seen = area_of(left)
        x_min, y_min, x_max, y_max = self.blank
        if x_min < x_max and y_min < y_max:
            seen -= area_of(cut_to(left, (x_min, y_min, x_max, y_max)))
        return left if len(left) and seen > 0 and seen >= VISIBLE_MIN * whole else None

    def mask(self, mask: npt.NDArray[np.uint8], outside: int = 0) -> npt.NDArray[np.uint8]:
        """Return a mask `(H, W)` moved with the image; values are never mixed.

        Args:
            mask: `(H, W)` uint8.
            outside: Its value where the given image does not reach.
        """
        return self.warped(mask, cv2.INTER_NEAREST, outside)

    def warped(
        self, pixels: npt.NDArray[np.uint8], flag: int, border: int | None
    ) -> npt.NDArray[np.uint8]:
        """Return pixels moved by the matrix."""
        (a, b, x), (c, d, y) = rows = self.matrix.tolist()
        if rows == _IDENTITY:
            return pixels
        # OpenCV counts from the centre of the first pixel.
        at_centres = np.array([(a, b, x + (a + b - 1) / 2), (c, d, y + (c + d - 1) / 2)])
        mode = cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        return np.asarray(
            cv2.warpAffine(
                pixels,
                at_centres,
                (self.width_px, self.height_px),
                flags=flag,
                borderMode=mode,
                borderValue=(border or 0,) * channels,
            )
        )

    def _noisy(self, image: UInt8Image) -> UInt8Image:
        seed, epoch, index = self.noise_key
        noise = normals(seed + NOISE_STREAM, epoch, np.array([index]), image.size)
        noisy = image + 255 * self.noise * noise.reshape(image.shape)
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
