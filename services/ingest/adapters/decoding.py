"""Pixels, and no more of them than a thumbprint needs.

A JPEG is decoded at 1/2, 1/4 or 1/8 of its size, in grey, which costs half of a whole decode and
still reads every byte of the file; a truncated one fails. Everything else is decoded as training
and inference will decode it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np

from loopline.errors import Rejected
from loopline.vision.headers import ImageHeader
from loopline.vision.images import UInt8Image, decode
from loopline.vision.perceptual import THUMBPRINT_SIDE_PX
from services.ingest.domain.drops import Reason, Unfit

# A reduced image may have a padded last row and column: the more there are, the less they matter.
MIN_REDUCED_SIDE_PX: Final = 4 * THUMBPRINT_SIDE_PX
_REDUCED: Final = (
    (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
)


class Look(NamedTuple):
    """What a decoder saw: the size upright, px, and the thumbprint's bytes."""

    width_px: int
    height_px: int
    thumbprint: bytes


def look_at(data: bytes, header: ImageHeader) -> Look:
    """Decode an image whose header was checked.

    Raises:
        Unfit: It cannot be decoded to its end.
    """
    try:
        if header.media_type == "image/jpeg":
            return _look_at_jpeg(data, header)
        grey = decode(data, 1)[:, :, 0]
    except Rejected as error:
        raise Unfit(Reason.CORRUPT, error.message) from error
    return Look(grey.shape[1], grey.shape[0], _thumbprint(grey))


def _look_at_jpeg(data: bytes, header: ImageHeader) -> Look:
    short = min(header.width_px, header.height_px)
    for scale, flag in _REDUCED:
        if short >= scale * MIN_REDUCED_SIDE_PX:
            grey = _reduced(data, flag)
            turned = _is_turned(header, scale, grey)
            if turned is not None:
                size = header.width_px, header.height_px
                width, height = size[::-1] if turned else size
                return Look(width, height, _thumbprint(grey))
    grey = _reduced(data, cv2.IMREAD_GRAYSCALE)
    return Look(grey.shape[1], grey.shape[0], _thumbprint(grey))


def _is_turned(header: ImageHeader, scale: int, grey: UInt8Image) -> bool | None:
    """Tell whether EXIF laid the image on its side; None if its sides are too equal to see."""
    upright = -(-header.height_px // scale), -(-header.width_px // scale)
    if header.width_px == header.height_px:
        return False
    if upright[0] == upright[1] or grey.shape not in (upright, upright[::-1]):
        return None
    return grey.shape != upright


def _reduced(data: bytes, flag: int) -> UInt8Image:
    try:
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error as error:
        raise Rejected(f"the JPEG cannot be decoded: {error.err}") from error
    if grey is None:
        raise Rejected(f"the JPEG cannot be decoded ({len(data)} bytes)")
    return np.asarray(grey, np.uint8)


def _thumbprint(grey: UInt8Image) -> bytes:
    side = THUMBPRINT_SIDE_PX
    if grey.shape != (side, side):
        shrinks = min(grey.shape) >= side
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        grey = np.asarray(cv2.resize(grey, (side, side), interpolation=interpolation), np.uint8)
    return grey.tobytes()
