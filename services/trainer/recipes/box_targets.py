"""What a detector should say of an image: where objects are, and how far their edges.

For a centre head after TTFNet (Liu et al., 2020): each object is a Gaussian of its own width and
height on the heat map of its class, and the same Gaussian says how much each cell's box counts, so
that large objects do not drown small ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

STRIDE: Final = 4  # px of the input per cell
SPREAD: Final = 0.54  # of an object's side that its Gaussian covers
BOX_SIDE_MIN: Final = 1.0  # px; what is smaller cannot be learned


def centre_targets(
    boxes: npt.NDArray[np.float64], labels: tuple[int, ...], classes: int, side_px: tuple[int, int]
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Return heat `(C, h, w)` in [0, 1], boxes `(4, h, w)` xyxy px, and weights `(h, w)`.

    Args:
        boxes: `(N, 4)` xyxy, px of the input.
        labels: N class indices.
        classes: C.
        side_px: Height and width of the input.
    """
    height, width = side_px[0] // STRIDE, side_px[1] // STRIDE
    heat = np.zeros((classes, height, width), np.float32)
    edges = np.zeros((4, height, width), np.float32)
    weights = np.zeros((height, width), np.float32)
    sides = boxes[:, 2:] - boxes[:, :2]
    # The largest first: where two meet, cells belong to the smaller one.
    for row in np.argsort(-sides.prod(axis=1), kind="stable"):
        if sides[row].min() < BOX_SIDE_MIN:
            continue
        window, bell = _bell(boxes[row], height, width)
        spot = heat[labels[row]][window]
        np.maximum(spot, bell, out=spot)
        edges[(slice(None), *window)] = boxes[row][:, None, None]
        # By the logarithm of its area an object counts, and by no more cells than it has.
        weights[window] = bell * (math.log1p(sides[row].prod()) / bell.sum())
    return heat, edges, weights


def _bell(
    box: npt.NDArray[np.float64], height: int, width: int
) -> tuple[tuple[slice, slice], Float32Array]:
    """Return the cells around a box's centre, and a Gaussian over them that is 1 at its cell."""
    centre_x, centre_y = (box[:2] + box[2:]) / 2 / STRIDE
    x, y = min(int(centre_x), width - 1), min(int(centre_y), height - 1)
    reach_x, reach_y = (
        max(int(side / STRIDE / 2 * SPREAD), 0) for side in (box[2] - box[0], box[3] - box[1])
    )
    x_min, x_max = max(x - reach_x, 0), min(x + reach_x + 1, width)
    y_min, y_max = max(y - reach_y, 0), min(y + reach_y + 1, height)
    across = np.arange(x_min, x_max) - x
    down = np.arange(y_min, y_max) - y
    bell = np.exp(-(across[None, :] ** 2) / (2 * _variance(reach_x))) * np.exp(
        -(down[:, None] ** 2) / (2 * _variance(reach_y))
    )
    return (slice(y_min, y_max), slice(x_min, x_max)), bell.astype(np.float32)


def _variance(reach: int) -> float:
    return ((2 * reach + 1) / 6) ** 2


def padded_boxes(
    boxes: Sequence[npt.NDArray[np.float64]], labels: Sequence[Sequence[int]]
) -> tuple[Float32Array, npt.NDArray[np.int64]]:
    """Return boxes `(N, M, 4)` and labels `(N, M)` of N images; -1 where an image has fewer."""
    most = max((len(some) for some in labels), default=0)
    edges = np.zeros((len(boxes), most, 4), np.float32)
    names = np.full((len(boxes), most), -1, np.int64)
    for row, (some, of_some) in enumerate(zip(boxes, labels, strict=True)):
        edges[row, : len(some)] = some
        names[row, : len(some)] = of_some
    return edges, names
