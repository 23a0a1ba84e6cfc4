"""Labels drawn on images, and images side by side: for people, never for networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from loopline.store.items import Shape
from loopline.vision import masks
from loopline.vision.images import UInt8Image

# Okabe and Ito's colours, which people with colour blindness can tell apart.
COLOURS: Final = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
GAP_PX: Final = 6
CAPTION_PX: Final = 18
MASK_OPACITY: Final = 0.35
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX


def drawn(image: UInt8Image, shapes: Sequence[Shape], classes: Sequence[str]) -> UInt8Image:
    """Return an image `(H, W, 1 or 3)` as RGB with its shapes on it, a colour for each class."""
    canvas = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image.copy()
    height, width = canvas.shape[:2]
    thickness = max(1, round(max(height, width) / 400))
    for shape in shapes:
        colour = _colour(shape.class_name, classes)
        if shape.mask_rle is not None:
            mask = masks.decode(shape.mask_rle, width, height)
            tinted = canvas[mask] * (1 - MASK_OPACITY) + np.array(colour) * MASK_OPACITY
            canvas[mask] = tinted.astype(np.uint8)
            for ring in masks.to_polygons(mask):
                _line(canvas, ring, colour, thickness)
        elif shape.polygon is not None:
            _line(canvas, shape.polygon, colour, thickness)
        elif shape.bbox_xyxy is not None:
            x0, y0, x1, y1 = shape.bbox_xyxy
            _line(canvas, (x0, y0, x1, y0, x1, y1, x0, y1), colour, thickness)
        else:
            _write(canvas, shape.class_name, (3, height - 5), colour)
    return canvas


def contact_sheet(
    rows: Sequence[Sequence[tuple[str, UInt8Image]]], tile_px: int = 200
) -> UInt8Image:
    """Return images in rows, each with a caption below it, on white.

    Args:
        rows: Captions and RGB images of each row.
        tile_px: The longer side of each, px.
    """
    columns = max((len(row) for row in rows), default=0)
    step_x, step_y = tile_px + GAP_PX, tile_px + CAPTION_PX + GAP_PX
    sheet = np.full((len(rows) * step_y + GAP_PX, columns * step_x + GAP_PX, 3), 255, np.uint8)
    for at_y, row in enumerate(rows):
        for at_x, (caption, image) in enumerate(row):
            tile = _scaled(image, tile_px)
            y, x = at_y * step_y + GAP_PX, at_x * step_x + GAP_PX
            sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
            _write(sheet, caption, (x, y + tile_px + CAPTION_PX - 5), (60, 60, 60))
    return sheet


def png(image: UInt8Image) -> bytes:
    """Return an RGB or grey image as PNG."""
    stored = image if image.shape[2] == 1 else image[..., ::-1]
    ok, data = cv2.imencode(".png", stored)
    assert ok
    return bytes(data)


def _scaled(image: UInt8Image, side_px: int) -> npt.NDArray[np.uint8]:
    height, width = image.shape[:2]
    zoom = side_px / max(height, width)
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    flag = cv2.INTER_AREA if zoom < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, size, interpolation=flag), np.uint8)


def _line(
    canvas: UInt8Image, ring: Sequence[float], colour: tuple[int, int, int], thickness: int
) -> None:
    points = np.rint((np.reshape(ring, (-1, 2)) - 0.5) * 16).astype(np.int32)
    cv2.polylines(canvas, [points], True, colour, thickness, cv2.LINE_AA, shift=4)


def _write(
    canvas: UInt8Image, text: str, at: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's fonts have no more
    cv2.putText(canvas, plain, at, _FONT, 0.4, colour, 1, cv2.LINE_AA)


def _colour(class_name: str, classes: Sequence[str]) -> tuple[int, int, int]:
    index = list(classes).index(class_name) if class_name in classes else 0
    return COLOURS[index % len(COLOURS)]
