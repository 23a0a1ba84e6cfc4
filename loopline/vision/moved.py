"""An item's image and shapes after a change, as a copy keeps them and a preview shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from loopline.digests import sha256_hex
from loopline.store.items import Shape
from loopline.vision import masks
from loopline.vision.augmentation import Augmentation, Change, changes
from loopline.vision.changes import VISIBLE_MIN
from loopline.vision.images import UInt8Image
from loopline.vision.rings import FloatPoints, bounds_of, ring_in_box, ring_of_box, ring_of_polygon

_INDEX_DIGITS = 12  # of an asset's digest: 48 bits stand for its place in a training set


def change_of(
    parameters: Augmentation, asset: str, copy: int, seed: int, image: UInt8Image
) -> Change:
    """Return what happens to an image in its `copy`-th copy: a function of the arguments alone.

    Args:
        parameters: What may happen.
        asset: sha256 of the encoded image.
        copy: From 0.
        seed: Of the run.
        image: `(H, W, C)`.
    """
    index = np.array([int(asset[:_INDEX_DIGITS], 16)])
    height, width, channels = image.shape
    return changes(parameters, seed, copy, index, height, width, channels)[0]


def moved_shapes(shapes: Sequence[Shape], change: Change) -> tuple[Shape, ...]:
    """Return what is left of an image's shapes; one of the whole image stays as it is.

    A shape keeps its id and geometry's kind. One of which less than `VISIBLE_MIN` is seen is left
    out.
    """
    moved = (_moved(shape, change) for shape in shapes)
    return tuple(shape for shape in moved if shape is not None)


def moved_name(asset: str, copy: int) -> str:
    """Return a short name of a copy, for files."""
    return f"{asset[:12]}-{copy}-{sha256_hex(f'{asset}/{copy}'.encode())[:4]}"


def _moved(shape: Shape, change: Change) -> Shape | None:
    if shape.mask_rle is not None:
        return _moved_mask(shape, change)
    if shape.polygon is not None:
        ring = change.ring(ring_of_polygon(shape.polygon))
        if ring is None or len(ring) < 3:
            return None
        return replace(shape, polygon=_flat(ring))
    if shape.bbox_xyxy is not None:
        outline = ring_of_box if change.is_upright else ring_in_box
        ring = change.ring(outline(shape.bbox_xyxy))
        return None if ring is None else replace(shape, bbox_xyxy=bounds_of(ring))
    return shape


def _moved_mask(shape: Shape, change: Change) -> Shape | None:
    assert shape.mask_rle is not None
    mask = masks.decode(shape.mask_rle, change.width_px, change.height_px)
    seen = change.mask(mask.astype(np.uint8))
    x_min, y_min, x_max, y_max = change.blank
    visible = seen.copy()
    visible[y_min:y_max, x_min:x_max] = 0
    whole = float(mask.sum()) * abs(np.linalg.det(change.matrix[:, :2]))
    if not visible.any() or visible.sum() < VISIBLE_MIN * whole:
        return None
    return replace(shape, mask_rle=masks.encode(seen))


def _flat(ring: FloatPoints) -> tuple[float, ...]:
    return tuple(float(value) for value in ring.ravel())
