"""Randomness without state: every number is a hash of where it is used.

A generator's state would have to be saved, restored and shared between loaders; a hash of (seed,
epoch, index) needs none of that, gives the same numbers in any order of asking, and costs one array
operation for a batch. The hash is SplitMix64's finaliser (Steele, Lea, Flood: "Fast splittable
pseudorandom number generators", 2014).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

_GOLDEN: Final = 0x9E3779B97F4A7C15
_MASK: Final = (1 << 64) - 1


def uniforms(
    seed: int, epoch: int, indices: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.float64]:
    """Draw `count` numbers in [0, 1) for each index.

    Returns:
        `(N, count)`; row i depends on (seed, epoch, indices[i]) alone.

    Example:
        >>> both = uniforms(1, 0, np.array([5, 9]), 3)
        >>> bool((uniforms(1, 0, np.array([9]), 3)[0] == both[1]).all())
        True
    """
    stream = (seed * _GOLDEN + (epoch + 1) * 0xD1B54A32D192ED03) & _MASK
    rows = _mixed(
        indices.astype(np.uint64) * np.uint64(_GOLDEN) + _mixed(np.array([stream], np.uint64))
    )
    columns = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    bits = _mixed(rows[:, None] + columns[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(
    seed: int, epoch: int, indices: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.float64]:
    """Draw `count` numbers of the standard normal distribution for each index (Box-Muller)."""
    pairs = (count + 1) // 2
    chance = uniforms(seed, epoch, indices, 2 * pairs)
    radius = np.sqrt(-2 * np.log1p(-chance[:, :pairs]))
    angle = 2 * np.pi * chance[:, pairs:]
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return np.asarray(both[:, :count])


def permutation(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """The order in which an epoch visits `count` images: a pure function of (seed, epoch)."""
    keys = uniforms(seed, epoch, np.arange(count), 1)[:, 0]
    return np.argsort(keys, kind="stable")


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
