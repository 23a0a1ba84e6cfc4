"""Encoded bytes to pixels, and pixels to the network's input size.

Training and inference both import these two functions, so that a model sees at serving time exactly what it saw
in training. Nothing else of vision is decided here: limits on pixels and file types belong to ingest,
normalisation to the model's graph.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from loopline.errors import Rejected

UInt8Image = npt.NDArray[np.uint8]

INTERPOLATIONS: Final = ("area", "bilinear", "bicubic")

_JPEG_MAGIC: Final = b"\xff\xd8\xff"
_EXIF_HEADER_BYTES: Final = 256 * 1024  # where a PNG or WebP keeps its EXIF chunk, if not at its very end


def decode(data: bytes, channels: int) -> UInt8Image:
    """Decode an encoded image, upright, to 8 bits.

    EXIF orientation is applied. Palettes are expanded; 16-bit samples keep their high byte; transparency is laid
    over white, as a browser shows a cut-out product. A JPEG that ends early comes back partly grey: ingest
    refuses those before they become assets.

    Args:
        data: The file's bytes: JPEG, PNG, WebP, TIFF, BMP or whatever else OpenCV reads.
        channels: 1 for grey, 3 for RGB.

    Returns:
        `(H, W, channels)` uint8, contiguous; RGB order for 3 channels.

    Raises:
        Rejected: The bytes are not an image, or one with floating-point samples.

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
    if _may_have_alpha(data):
        raw = _imdecode(encoded, cv2.IMREAD_UNCHANGED)
        if raw.ndim == 3 and raw.shape[2] == 4:
            return _over_white(raw, channels)
    flag = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
    return _imdecode(encoded, flag).reshape(*_size(encoded, flag), channels)
