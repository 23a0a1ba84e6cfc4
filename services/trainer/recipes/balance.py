"""What makes up for classes that are rare: how much they count, or how often they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from loopline.vision.randomness import uniforms

RATIO_MAX: Final = 20.0  # of the weights of two classes: one image must not be all that counts
_ORDER_STREAM: Final = 2  # keeps these draws apart from those that change images

Float64Array = npt.NDArray[np.float64]


def class_weights(counts: Sequence[int]) -> Float64Array:
    """Return the weight of each class: the inverse of how often it is there, 1 on average.

    Args:
        counts: How many images have each class; a class without any gets the largest weight.

    Example:
        >>> class_weights([30, 10]).tolist()
        [0.5, 1.5]
    """
    seen = np.maximum(np.asarray(counts, np.float64), max(counts, default=1) / RATIO_MAX)
    inverse = 1 / np.maximum(seen, 1e-9)
    return np.asarray(inverse / inverse.mean())


def image_weights(classes: Sequence[Sequence[int]], counts: Sequence[int]) -> Float64Array:
    """Return how often each image is to come: as its rarest class; 1 for one without any."""
    weights = class_weights(counts)
    return np.array([max((weights[index] for index in some), default=1.0) for some in classes])


def weighted_order(seed: int, epoch: int, weights: Float64Array) -> npt.NDArray[np.int64]:
    """Return the places an epoch visits, as many as there are, each as often as its weight says.

    A pure function of its arguments. A place comes at least as often as its share of the weights,
    rounded down: the draws are spread evenly (systematic sampling) and then mixed.
    """
    count = len(weights)
    chance = uniforms(seed + _ORDER_STREAM, epoch, np.arange(count), 2)
    edges = np.cumsum(weights) / weights.sum()
    drawn = np.searchsorted(edges, (np.arange(count) + chance[0, 0]) / count, side="right")
    drawn = np.minimum(drawn, count - 1)
    return np.asarray(drawn[np.argsort(chance[:, 1], kind="stable")], np.int64)
