"""Masks as COCO's compressed run-length text, as arrays and as polygons.

The encoding is that of pycocotools (`rleToString`): column-major runs, zeros first, each from the
fourth on written as a difference to the run before the last one, in groups of 5 bits offset by 48.
Both ways are vectorised: a mask of 10,000 runs takes some 0.3 ms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]
Polygon = tuple[float, ...]

_OFFSET = 48
_CONTINUES = 0x20
_NEGATIVE = 0x10
_GROUP_BITS = 5
_GROUPS_MAX = 7  # of one run: 35 bits, more than any image has pixels
POLYGON_AREA_MIN_PX = 1.0  # smaller rings are noise of the raster


def run_lengths(rle: str) -> list[int]:
    """Return the runs of a compressed mask: zeros, ones, zeros, ...

    Args:
        rle: The compressed counts; empty gives no runs.

    Raises:
        ValueError: A character is outside the alphabet, or a run is cut off or too long.

    >>> run_lengths("52203")
    [5, 2, 2, 2, 5]
    """
    found: list[int] = _runs(rle).tolist()
    return found


def rle_of_runs(runs: Sequence[int] | npt.NDArray[np.int64]) -> str:
    """Return runs (zeros, ones, zeros, ...) as compressed text.

    >>> rle_of_runs([5, 2, 2, 2, 5])
    '52203'
    """
    values = np.asarray(runs, np.int64).copy()
    values[3:] -= np.asarray(runs, np.int64)[1:-2]
    groups = np.empty((len(values), _GROUPS_MAX), np.int64)
    more = np.empty((len(values), _GROUPS_MAX), bool)
    written = np.zeros((len(values), _GROUPS_MAX), bool)
    goes_on = np.ones(len(values), bool)
    for at in range(_GROUPS_MAX):
        groups[:, at] = values & 0x1F
        written[:, at] = goes_on
        negative = (groups[:, at] & _NEGATIVE) != 0
        values = values >> _GROUP_BITS
        more[:, at] = np.where(negative, values != -1, values != 0)
        goes_on = goes_on & more[:, at]
    characters = (groups + _CONTINUES * more + _OFFSET)[written].astype(np.uint8)
    return str(characters.tobytes(), "ascii")


def _runs(rle: str) -> npt.NDArray[np.int64]:
    try:
        groups = np.frombuffer(rle.encode("ascii"), np.uint8).astype(np.int64) - _OFFSET
    except UnicodeEncodeError as error:
        raise ValueError("a character is not one of a run length") from error
    if groups.size == 0:
        return np.zeros(0, np.int64)
    outside = (groups < 0) | (groups >= 64)
    if outside.any():
        raise ValueError(f"{rle[int(outside.argmax())]!r} is not a run-length character")
    is_last = (groups & _CONTINUES) == 0
    if not is_last[-1]:
        raise ValueError("the last run is cut off")
    lasts = np.flatnonzero(is_last)
    starts = np.concatenate(([0], lasts[:-1] + 1))
    lengths = lasts - starts + 1
    if lengths.max() > _GROUPS_MAX:
        raise ValueError("a run is too long")
    place = np.arange(groups.size) - np.repeat(starts, lengths)
    values = np.add.reduceat((groups & 0x1F) << (_GROUP_BITS * place), starts)
    negative = (groups[lasts] & _NEGATIVE) != 0
    values = np.where(negative, values - (1 << (_GROUP_BITS * lengths)), values)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def encode(mask: npt.NDArray[np.generic]) -> str:
    """Return a mask as compressed text.

    Args:
        mask: `(H, W)`; what is not zero is set.

    >>> encode(np.array([[0, 1], [0, 1]]))
    '22'
    """
    flat = np.asarray(mask).astype(bool).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], changes, [flat.size]))
    runs = np.diff(edges)
    if flat.size and flat[0]:
        runs = np.concatenate(([0], runs))
    return rle_of_runs(runs)


def decode(rle: str, width_px: int, height_px: int) -> Mask:
    """Return `(height_px, width_px)` booleans.

    Raises:
        ValueError: It cannot be read, has a negative run, or is of another size.
    """
    runs = _checked(rle, width_px, height_px)
    values = (np.arange(runs.size) % 2).astype(bool)
    return np.repeat(values, runs).reshape((height_px, width_px), order="F")


def check_mask(rle: str, width_px: int, height_px: int) -> None:
    """Refuse a mask that is not one of an image of that size.

    Raises:
        ValueError: It cannot be read, has a negative run, is of another size, or is empty.
    """
    if _checked(rle, width_px, height_px)[1::2].sum() == 0:
        raise ValueError("no pixel is set")


def _checked(rle: str, width_px: int, height_px: int) -> npt.NDArray[np.int64]:
    runs = _runs(rle)
    if (runs < 0).any():
        raise ValueError("a run is negative")
    if runs.sum() != width_px * height_px:
        raise ValueError(
            f"the runs cover {runs.sum()} pixels, the image has {width_px * height_px} "
            f"({width_px} x {height_px})"
        )
    return runs


def area(rle: str) -> int:
    """Return how many pixels are set."""
    return int(_runs(rle)[1::2].sum())


def box_of(rle: str, width_px: int, height_px: int) -> Box | None:
    """Return the box `xyxy` around what is set, pixel edges; None if nothing is.

    Found from the runs alone, without the raster.

    >>> box_of("52203", 4, 4)
    (1.0, 1.0, 3.0, 3.0)
    """
    runs = _checked(rle, width_px, height_px)
    ends = np.cumsum(runs)
    first, last = ends[0:-1:2], ends[1::2]  # [first, last) of each run of ones
    kept = last > first
    first, last = first[kept], last[kept]
    if first.size == 0:
        return None
    columns_first, columns_last = first // height_px, (last - 1) // height_px
    crosses = columns_last > columns_first  # over a column's end: it touches top and bottom
    top = 0 if crosses.any() else int((first % height_px).min())
    bottom = height_px if crosses.any() else int(((last - 1) % height_px).max()) + 1
    return float(columns_first[0]), float(top), float(columns_last[-1] + 1), float(bottom)


def box_of_polygon(points: Sequence[float]) -> Box:
    """Return the box `xyxy` around a ring x0, y0, x1, y1, ..."""
    xs, ys = points[0::2], points[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def area_of_polygon(points: Sequence[float]) -> float:
    """Return the area of a ring x0, y0, x1, y1, ... that does not cross itself.

    >>> area_of_polygon([0, 0, 4, 0, 4, 3])
    6.0
    """
    xs, ys = np.asarray(points[0::2], float), np.asarray(points[1::2], float)
    doubled = np.dot(xs[:-1], ys[1:]) - np.dot(ys[:-1], xs[1:]) + xs[-1] * ys[0] - ys[-1] * xs[0]
    return float(abs(doubled) / 2)


def from_polygons(rings: Sequence[Sequence[float]], width_px: int, height_px: int) -> Mask:
    """Return the mask of rings, each x0, y0, x1, y1, ... in px; their union.

    A pixel is set if its centre is inside or the ring passes through it.
    """
    import cv2

    made = np.zeros((height_px, width_px), np.uint8)
    shift = 4  # 1/16 px
    for ring in rings:
        centres = np.asarray(ring, float).reshape(-1, 2) - 0.5  # pixel (0, 0) has its centre there
        cv2.fillPoly(made, [np.rint(centres * (1 << shift)).astype(np.int32)], 1, shift=shift)
    return made.astype(bool)


def to_polygons(mask: npt.NDArray[np.generic], tolerance_px: float = 0.0) -> list[Polygon]:
    """Return the outer rings of a mask's connected parts, the largest first; holes are filled.

    Rings run along pixel edges' centres, so that `from_polygons` gives the same pixels back where
    `tolerance_px` is 0.

    Args:
        mask: `(H, W)`.
        tolerance_px: How far a simplified ring may leave the outline.
    """
    import cv2

    raster = np.asarray(mask).astype(np.uint8)
    method = cv2.CHAIN_APPROX_SIMPLE
    contours, _ = cv2.findContours(raster, cv2.RETR_EXTERNAL, method)
    rings = []
    for contour in contours:
        ring = cv2.approxPolyDP(contour, tolerance_px, closed=True) if tolerance_px else contour
        if len(ring) < 3:
            ring = _around(contour)
        rings.append((cv2.contourArea(ring), ring.reshape(-1, 2).astype(float) + 0.5))
    rings.sort(key=lambda found: -found[0])
    return [tuple(float(value) for value in ring.ravel()) for _, ring in rings]


def _around(contour: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return a ring for a part that is one pixel or one line: there and back."""
    points = contour.reshape(-1, 2)
    x0, y0 = points.min(axis=0)
    x1, y1 = points.max(axis=0)
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.int32)[:, None, :]


def box_iou(a: Box, b: Box) -> float:
    """Return intersection over union of two boxes `xyxy`, in [0, 1].

    >>> box_iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def iou(a: str, b: str) -> float:
    """Return intersection over union of two compressed masks of one image, in [0, 1].

    Merges the runs: the cost is that of the runs, not of the pixels.

    Raises:
        ValueError: They cover different numbers of pixels.
    """
    ends_a, ends_b = np.cumsum(_runs(a)), np.cumsum(_runs(b))
    if ends_a[-1] != ends_b[-1]:
        raise ValueError("the masks are of different images")
    edges = np.union1d(ends_a, ends_b)
    lengths = np.diff(edges, prepend=0)
    # The run that holds the pixel before each edge: odd ones are set.
    in_a = np.searchsorted(ends_a, edges, side="left") % 2 == 1
    in_b = np.searchsorted(ends_b, edges, side="left") % 2 == 1
    union = int(lengths[in_a | in_b].sum())
    return int(lengths[in_a & in_b].sum()) / union if union else 0.0


def polygon_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Return intersection over union of two rings, in [0, 1], to about 2 %.

    Both are sampled on one grid, inside by the even-odd rule: no raster of the image is made, and
    the answer is the same on every machine.
    """
    boxes = box_of_polygon(a), box_of_polygon(b)
    if box_iou(*boxes) == 0.0:
        return 0.0
    x0, y0 = min(box[0] for box in boxes), min(box[1] for box in boxes)
    x1, y1 = max(box[2] for box in boxes), max(box[3] for box in boxes)
    step = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    ys, xs = np.meshgrid(y0 + step * (y1 - y0), x0 + step * (x1 - x0), indexing="ij")
    in_a, in_b = _inside(a, xs, ys), _inside(b, xs, ys)
    union = int((in_a | in_b).sum())
    return int((in_a & in_b).sum()) / union if union else 0.0


_SAMPLES = 64  # a side


def _inside(
    ring: Sequence[float], xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64]
) -> Mask:
    inside = np.zeros(xs.shape, bool)
    px, py = ring[0::2], ring[1::2]
    for ax, ay, bx, by in zip(px, py, [*px[1:], px[0]], [*py[1:], py[0]], strict=True):
        if ay == by:
            continue
        crosses = (ys < ay) != (ys < by)
        inside ^= crosses & (xs < ax + (ys - ay) * (bx - ax) / (by - ay))
    return inside
