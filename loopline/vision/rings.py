"""Closed rings of points: their area, their box, and what of them lies within a rectangle."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from loopline.vision import masks

ROUND = 32  # points of an ellipse; a multiple of four, so that it touches all sides

FloatPoints = npt.NDArray[np.float64]
Rectangle = tuple[float, float, float, float]


def ring_of_box(box: Rectangle) -> FloatPoints:
    """Return the corners `(4, 2)` of a box xyxy."""
    x_min, y_min, x_max, y_max = box
    return np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]], np.float64)


def ring_in_box(box: Rectangle) -> FloatPoints:
    """Return the ellipse `(ROUND, 2)` that touches a box xyxy on all four sides.

    What is known of an object by its box alone is rarer at the corners than not: turned by 45
    degrees, the box around the corners has up to twice the area that the object's own has, the box
    around this is right for what is round (Kalra et al., "Towards Rotation Invariance in Object
    Detection", 2021).
    """
    x_min, y_min, x_max, y_max = box
    angles = np.arange(ROUND) * (2 * np.pi / ROUND)
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1).round(12)
    return (np.array([x_min + x_max, y_min + y_max]) + unit * (x_max - x_min, y_max - y_min)) / 2


def ring_of_polygon(polygon: npt.ArrayLike) -> FloatPoints:
    """Return the points `(M, 2)` of a polygon x0, y0, x1, y1, ..."""
    return np.asarray(polygon, np.float64).reshape(-1, 2)


def hull_of_mask(rle: str, width_px: int, height_px: int) -> FloatPoints:
    """Return the convex hull `(M, 2)` of what is set, along the pixels' outer edges.

    Whatever is done to it by an affine matrix, the box around it is the box around the mask.

    Returns:
        `(0, 2)` if nothing is set.
    """
    box = masks.box_of(rle, width_px, height_px)
    if box is None:
        return np.empty((0, 2), np.float64)
    x_min, y_min, x_max, y_max = (int(edge) for edge in box)
    window = masks.decode(rle, width_px, height_px)[y_min:y_max, x_min:x_max]
    rows = np.arange(window.shape[0])
    left = window.argmax(axis=1)
    right = window.shape[1] - window[:, ::-1].argmax(axis=1)
    seen = window.any(axis=1)
    edges = [
        np.stack([xs[seen] + x_min, rows[seen] + y_min + below], axis=1)
        for xs in (left, right)
        for below in (0, 1)
    ]
    hull = cv2.convexHull(np.concatenate(edges).astype(np.float32))
    return np.asarray(hull, np.float64).reshape(-1, 2)


def area_of(ring: FloatPoints) -> float:
    """Return the area of a ring `(M, 2)` that does not cross itself; 0 for less than 3 points."""
    if len(ring) < 3:
        return 0.0
    x, y = ring[:, 0], ring[:, 1]
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def bounds_of(ring: FloatPoints) -> Rectangle:
    """Return the box xyxy around points `(M, 2)`, M > 0."""
    (x_min, y_min), (x_max, y_max) = ring.min(axis=0), ring.max(axis=0)
    return float(x_min), float(y_min), float(x_max), float(y_max)


def cut_to(ring: FloatPoints, rectangle: Rectangle) -> FloatPoints:
    """Return the part of a ring within a rectangle xyxy (Sutherland and Hodgman, 1974).

    Returns:
        `(K, 2)`; `(0, 2)` if nothing is within.
    """
    if not len(ring):
        return ring
    x_min, y_min, x_max, y_max = bounds_of(ring)
    if (
        x_min >= rectangle[0]
        and y_min >= rectangle[1]
        and x_max <= rectangle[2]
        and y_max <= rectangle[3]
    ):
        return ring
    for axis, limit, sign in (
        (0, rectangle[0], 1),
        (1, rectangle[1], 1),
        (0, rectangle[2], -1),
        (1, rectangle[3], -1),
    ):
        ring = _cut_at(ring, axis, limit, sign)
        if not len(ring):
            break
    return ring


def _cut_at(ring: FloatPoints, axis: int, limit: float, sign: int) -> FloatPoints:
    """Keep what is on one side of a line: above the limit for sign 1, below it for -1."""
    depth = sign * (ring[:, axis] - limit)
    following, depth_following = np.roll(ring, -1, axis=0), np.roll(depth, -1)
    crosses = (depth >= 0) != (depth_following >= 0)
    span = np.where(crosses, depth - depth_following, 1.0)
    crossing = ring + (following - ring) * (depth / span)[:, None]
    crossing[:, axis] = limit
    # Each point, then where the edge after it crosses the line: those that exist, in this order.
    points = np.stack([ring, crossing], axis=1).reshape(-1, 2)
    kept = np.stack([depth >= 0, crosses], axis=1).ravel()
    left: FloatPoints = points[kept]
    return left
