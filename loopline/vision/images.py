"""Encoded bytes to pixels, and pixels to the network's input size.

Training and inference both import these two functions, so that a model sees at serving time exactly
what it saw in training. Nothing else of vision is decided here: limits on pixels and file types
belong to ingest, normalisation to the model's graph.
"""

from __future__ import annotations

import re
import struct
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from loopline.errors import Rejected

UInt8Image = npt.NDArray[np.uint8]

INTERPOLATIONS: Final = ("area", "bilinear", "bicubic")

_PIXELS_AT_ONCE: Final = 1_000_000
_JPEG_MAGIC: Final = b"\xff\xd8\xff"
_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_TYPE_AT: Final = 25  # offset of the colour type in a PNG's IHDR
_EXIF_ORIENTATION: Final = 0x0112
# The EXIF chunk of a PNG ("eXIf") or a WebP ("EXIF" and its size), up to its TIFF header.
_EXIF_CHUNK: Final = re.compile(rb"(?:eXIf|EXIF....)(?:Exif\0\0)?(II\*\0|MM\0\*)", re.DOTALL)


def decode(data: bytes, channels: int) -> UInt8Image:
    """Decode an encoded image, upright, to 8 bits.

    EXIF orientation is applied. Palettes are expanded; 16-bit samples keep their high byte;
    transparency is laid over white, as a browser shows a cut-out product. A JPEG that ends early
    comes back partly grey: ingest refuses those before they become assets.

    Args:
        data: The file's bytes: JPEG, PNG, WebP, TIFF, BMP or whatever else OpenCV reads.
        channels: 1 for grey, 3 for RGB.

    Returns:
        `(H, W, channels)` uint8, contiguous; RGB order for 3 channels.

    Raises:
        Rejected: The bytes are not an image, or its samples are not integers.

    Example:
        >>> ok, png = cv2.imencode(".png", np.full((2, 3), 7, np.uint8))
        >>> decode(png.tobytes(), 3).shape
        (2, 3, 3)
    """
    if channels not in (1, 3):
        raise Rejected(f"images have 1 or 3 channels, not {channels}")
    if not data:
        raise Rejected("the image is empty (0 bytes)")
    encoded = np.frombuffer(data, np.uint8)
    if _may_be_transparent(data):
        raw = _imdecode(encoded, cv2.IMREAD_UNCHANGED)
        if raw.ndim == 3 and raw.shape[2] == 4:
            return _upright(_over_white(raw, channels), _orientation(data))
    colour = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
    pixels: UInt8Image = _imdecode(encoded, colour)
    return pixels.reshape(*pixels.shape[:2], channels)


def resize(
    image: UInt8Image, height_px: int, width_px: int, interpolation: str = "area"
) -> UInt8Image:
    """Stretch an image to a size; the aspect ratio is not kept.

    "area" averages the pixels that fall together where the image shrinks and is bilinear where it
    grows (averaging has nothing to average there).

    Args:
        image: `(H, W, C)` uint8.
        height_px: Height of the result.
        width_px: Width of the result.
        interpolation: One of `INTERPOLATIONS`.

    Returns:
        `(height_px, width_px, C)` uint8; the image itself if it has that size already.

    Raises:
        Rejected: The interpolation is not known.

    Example:
        >>> resize(np.zeros((28, 28, 1), np.uint8), 14, 7).shape
        (14, 7, 1)
    """
    height, width = image.shape[:2]
    shrinks = height_px <= height and width_px <= width
    flag = _interpolation_flag(interpolation, shrinks=shrinks)
    if (height, width) == (height_px, width_px):
        return image
    scaled = cv2.resize(image, (width_px, height_px), interpolation=flag)
    return np.asarray(scaled, np.uint8).reshape(height_px, width_px, image.shape[2])


def _interpolation_flag(interpolation: str, *, shrinks: bool) -> int:
    flags = {
        "area": cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        "bilinear": cv2.INTER_LINEAR,
        "bicubic": cv2.INTER_CUBIC,
    }
    if interpolation not in flags:
        known = ", ".join(INTERPOLATIONS)
        raise Rejected(f"interpolation {interpolation!r} is not known; there are {known}")
    return flags[interpolation]


def _imdecode(encoded: UInt8Image, flag: int) -> npt.NDArray[Any]:
    try:
        pixels = cv2.imdecode(encoded, flag)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:  # that is not the image's fault
            raise MemoryError("the image does not fit into memory") from error
        raise Rejected(f"the image cannot be decoded: {error.err}") from error
    if pixels is None:
        raise Rejected(f"not an image that can be read ({encoded.size} bytes)")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise Rejected(f"images of {pixels.dtype} samples are not supported")
    return np.asarray(pixels)


def _may_be_transparent(data: bytes) -> bool:
    """Whether alpha must be looked for; that costs a decode of its own where there is none."""
    if data.startswith(_JPEG_MAGIC):
        return False
    if data.startswith(_PNG_MAGIC) and len(data) > _PNG_COLOUR_TYPE_AT:
        has_alpha_samples = bool(data[_PNG_COLOUR_TYPE_AT] & 4)
        return has_alpha_samples or b"tRNS" in data[: max(data.find(b"IDAT"), 0)]
    return True


def _over_white(bgra: npt.NDArray[Any], channels: int) -> UInt8Image:
    """Lay an image over white, some rows at a time: the arithmetic takes 48 bytes a pixel."""
    height, width = bgra.shape[:2]
    rows = max(1, _PIXELS_AT_ONCE // width)
    white = np.empty((height, width, channels), np.uint8)
    for top in range(0, height, rows):
        white[top : top + rows] = _rows_over_white(bgra[top : top + rows], channels)
    return white


def _rows_over_white(bgra: npt.NDArray[Any], channels: int) -> UInt8Image:
    shift = 8 * (bgra.dtype.itemsize - 1)
    samples = bgra.astype(np.uint32) >> shift
    alpha = samples[:, :, 3:]
    bgr = ((samples[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    code = cv2.COLOR_BGR2GRAY if channels == 1 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(bgr, code), np.uint8).reshape(*bgr.shape[:2], channels)


def _orientation(data: bytes) -> int:
    """The EXIF orientation, 1 to 8, which OpenCV does not apply where it keeps alpha."""
    found = _EXIF_CHUNK.search(data)
    if found is None:
        return 1
    tiff = data[found.start(1) :]
    order = "<" if tiff.startswith(b"II") else ">"
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(entries):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * entry)
            if tag == _EXIF_ORIENTATION:
                return int(value)
    except struct.error:  # EXIF that ends early says nothing
        return 1
    return 1


def _upright(image: UInt8Image, orientation: int) -> UInt8Image:
    """Turn an image as EXIF 2.3 says; values out of 1 to 8 leave it as it is."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
