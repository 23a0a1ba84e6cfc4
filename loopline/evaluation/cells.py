"""Which images stand behind each cell of a confusion matrix.

A cell is a row of (image, true label, predicted label, count); labels in the order of the matrix,
whose last one is the background where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from loopline.evaluation.figures import IntArray
from loopline.evaluation.report import CELL_IMAGES_MAX, CELLS_NAMED_MAX, CellImages

COLUMNS = 4
Cells = npt.NDArray[np.int64]
"""`(P, 4)`: image, true label, predicted label, how often."""


def counted(image: IntArray, truth: IntArray, predicted: IntArray) -> Cells:
    """Count what was taken for what on each image, each of the arrays `(E,)`.

    Example:
        >>> counted(np.array([0, 0, 1]), np.array([1, 1, 1]), np.array([0, 0, 1])).tolist()
        [[0, 1, 0, 2], [1, 1, 1, 1]]
    """
    events = np.stack([image, truth, predicted], axis=1).astype(np.int64).reshape(-1, 3)
    found, counts = np.unique(events, axis=0, return_counts=True)
    return np.concatenate([found, counts[:, None]], axis=1).astype(np.int64)


def of_matrices(matrices: IntArray) -> Cells:
    """Return the cells of `(N, L, L)` counts, a matrix for each image."""
    places = np.argwhere(matrices)
    counts = matrices[tuple(places.T)]
    return np.concatenate([places, counts[:, None]], axis=1).astype(np.int64)


def matrix(cells: Cells, labels: int) -> Cells:
    """Return the counts `(L, L)` of all images together."""
    total = np.zeros((labels, labels), np.int64)
    np.add.at(total, (cells[:, 1], cells[:, 2]), cells[:, 3])
    return total


def images_of(cells: Cells, truth: int, predicted: int) -> IntArray:
    """Return the images of one cell, those that count most in it first."""
    here = cells[(cells[:, 1] == truth) & (cells[:, 2] == predicted)]
    return np.asarray(here[np.lexsort((here[:, 0], -here[:, 3])), 0])


def taken(cells: Cells, places: IntArray, images: int) -> Cells:
    """Return the cells of some of `images` images, numbered anew in that order."""
    new = np.full(images, -1)
    new[places] = np.arange(len(places))
    kept = cells[new[cells[:, 0]] >= 0].copy()
    kept[:, 0] = new[kept[:, 0]]
    return kept


def named(cells: Cells, labels: Sequence[str], assets: Sequence[str]) -> tuple[CellImages, ...]:
    """Name the images of the fullest cells off the diagonal, the fullest first.

    Args:
        cells: Of all images.
        labels: Of the matrix.
        assets: N images; nothing is named where they have none.
    """
    if not any(assets):
        return ()
    total = matrix(cells, len(labels))
    np.fill_diagonal(total, 0)
    fullest = np.argsort(-total, axis=None, kind="stable")[:CELLS_NAMED_MAX]
    return tuple(
        CellImages(
            truth=labels[truth],
            predicted=labels[predicted],
            assets=tuple(assets[i] for i in images_of(cells, truth, predicted)[:CELL_IMAGES_MAX]),
        )
        for truth, predicted in (divmod(int(place), len(labels)) for place in fullest)
        if total[truth, predicted]
    )
