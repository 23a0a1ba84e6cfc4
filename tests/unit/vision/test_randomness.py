"""Random numbers depend on where they are used and on nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loopline.vision.randomness import normals, permutation, uniforms

SEEDS = st.integers(0, 2**32 - 1)
INDICES = st.lists(st.integers(0, 10_000), min_size=1, max_size=20)


@given(SEEDS, st.integers(0, 1000), INDICES, st.integers(1, 8))
def test_a_row_depends_on_its_own_index_alone(
    seed: int, epoch: int, indices: list[int], count: int
) -> None:
    together = uniforms(seed, epoch, np.array(indices), count)
    for row, index in enumerate(indices):
        assert (uniforms(seed, epoch, np.array([index]), count)[0] == together[row]).all()


@given(SEEDS, st.integers(0, 1000), st.integers(1, 300))
def test_an_epoch_visits_every_image_once(seed: int, epoch: int, count: int) -> None:
    assert sorted(permutation(seed, epoch, count)) == list(range(count))


def test_seeds_epochs_and_indices_give_other_numbers() -> None:
    index = np.arange(4)
    first = uniforms(0, 0, index, 4)
    for other in (uniforms(1, 0, index, 4), uniforms(0, 1, index, 4), uniforms(0, 0, index + 4, 4)):
        assert not np.isclose(first, other).any()


def test_uniform_numbers_fill_the_unit_interval_evenly() -> None:
    numbers = uniforms(7, 3, np.arange(2000), 50)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=20, range=(0, 1))
    assert np.abs(counts / numbers.size - 0.05).max() < 0.002
    assert abs(np.corrcoef(numbers[:, 0], numbers[:, 1])[0, 1]) < 0.07


def test_normal_numbers_have_mean_zero_and_deviation_one() -> None:
    numbers = normals(7, 3, np.arange(500), 101)
    assert numbers.shape == (500, 101)
    assert abs(numbers.mean()) < 0.02
    assert abs(numbers.std() - 1) < 0.02
