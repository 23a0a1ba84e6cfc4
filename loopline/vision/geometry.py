"""How an image sits in a network's input, and the way back from there.

Coordinates are those of the datasets: the origin is the top left corner of the top left pixel, so
the centre of a pixel is at .5 and the right edge of an image at its width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from loopline.errors import Rejected
from loopline.vision.images import UInt8Image, resize

STRETCH: Final = "stretch"
LETTERBOX: Final = "letterbox"
FITS: Final = (STRETCH, LETTERBOX)
BORDER: Final = 114  # what a letterbox is filled with: the mean of ImageNet, in grey

FloatPoints = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an image of one size lies in a network's input of another.

    "stretch" fills the input and gives up the aspect ratio; "letterbox" keeps it, puts the image in
    the middle and fills the rest with grey.

    Args:
        image_height_px: Height of the decoded image.
        image_width_px: Its width.
        input_height_px: Height of the network's input.
        input_width_px: Its width.
        fit: One of `FITS`; "" is "stretch".

    Raises:
        Rejected: The fit is not known.

    Example:
        >>> Placement(100, 200, 64, 64, "letterbox").to_input(np.array([[200.0, 100.0]])).tolist()
        [[64.0, 48.0]]
    """

    image_height_px: int
    image_width_px: int
    input_height_px: int
    input_width_px: int
    fit: str = STRETCH

    def __post_init__(self) -> None:
        if self.fit and self.fit not in FITS:
            raise Rejected(f"fit {self.fit!r} is not known; there are {', '.join(FITS)}")

    @property
    def height_px(self) -> int:
        """Height of the image within the input."""
        if self.fit != LETTERBOX:
            return self.input_height_px
        return max(1, min(self.input_height_px, round(self.image_height_px * self._zoom)))

    @property
    def width_px(self) -> int:
        """Width of the image within the input."""
        if self.fit != LETTERBOX:
            return self.input_width_px
        return max(1, min(self.input_width_px, round(self.image_width_px * self._zoom)))

    @property
    def top_px(self) -> int:
        """Rows of the input above the image."""
        return (self.input_height_px - self.height_px) // 2

    @property
    def left_px(self) -> int:
        """Columns of the input left of the image."""
        return (self.input_width_px - self.width_px) // 2

    def to_input(self, points: npt.ArrayLike) -> FloatPoints:
        """Return where points `(..., 2)` (x, y) of the image lie in the input."""
        return np.asarray(points, np.float64) * self._scale + self._offset

    def to_image(self, points: npt.ArrayLike) -> FloatPoints:
        """Return where points `(..., 2)` (x, y) of the input lie in the image; may be outside."""
        return (np.asarray(points, np.float64) - self._offset) / self._scale

    def boxes_to_input(self, boxes: npt.ArrayLike) -> FloatPoints:
        """Return boxes `(N, 4)` xyxy of the image in the input."""
        return self.to_input(np.asarray(boxes, np.float64).reshape(-1, 2, 2)).reshape(-1, 4)

    def boxes_to_image(self, boxes: npt.ArrayLike) -> FloatPoints:
        """Return boxes `(N, 4)` xyxy of the input in the image, cut to it."""
        corners = self.to_image(np.asarray(boxes, np.float64).reshape(-1, 2, 2))
        limits = (self.image_width_px, self.image_height_px)
        return np.clip(corners, 0, limits).reshape(-1, 4)

    def image_to_input(self, image: UInt8Image, interpolation: str = "area") -> UInt8Image:
        """Return an image `(h, w, C)` uint8 as the network's input `(H, W, C)`."""
        scaled = resize(image, self.height_px, self.width_px, interpolation)
        if self._is_filled:
            return scaled
        placed = np.full(
            (self.input_height_px, self.input_width_px, image.shape[2]), BORDER, np.uint8
        )
        placed[self._rows, self._columns] = scaled
        return placed

    def mask_to_input(self, mask: npt.NDArray[Any], border: int = 0) -> npt.NDArray[Any]:
        """Return a mask `(h, w)` of the image in the input `(H, W)`; no values are mixed."""
        scaled = _resampled(mask, self.height_px, self.width_px)
        if self._is_filled:
            return scaled
        placed = np.full((self.input_height_px, self.input_width_px), border, mask.dtype)
        placed[self._rows, self._columns] = scaled
        return placed

    def mask_to_image(self, mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a mask `(H, W)` of the input in the image `(h, w)`; no values are mixed."""
        part = mask[self._rows, self._columns]
        return _resampled(part, self.image_height_px, self.image_width_px)

    @property
    def _zoom(self) -> float:
        return min(
            self.input_height_px / self.image_height_px, self.input_width_px / self.image_width_px
        )

    @property
    def _scale(self) -> FloatPoints:
        return np.array(
            [self.width_px / self.image_width_px, self.height_px / self.image_height_px]
        )

    @property
    def _offset(self) -> FloatPoints:
        return np.array([self.left_px, self.top_px], np.float64)

    @property
    def _rows(self) -> slice:
        return slice(self.top_px, self.top_px + self.height_px)

    @property
    def _columns(self) -> slice:
        return slice(self.left_px, self.left_px + self.width_px)

    @property
    def _is_filled(self) -> bool:
        return (self.height_px, self.width_px) == (self.input_height_px, self.input_width_px)


def _resampled(mask: npt.NDArray[Any], height_px: int, width_px: int) -> npt.NDArray[Any]:
    """Take for each pixel the value at its centre."""
    if mask.shape == (height_px, width_px):
        return mask
    plain = mask.astype(np.uint8) if mask.dtype == bool else mask
    scaled = cv2.resize(plain, (width_px, height_px), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(scaled).astype(mask.dtype, copy=False)
