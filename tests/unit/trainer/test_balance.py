"""Rare classes count more, or come more often."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.recipes.balance import (
    RATIO_MAX,
    class_weights,
    image_weights,
    weighted_order,
)


def test_a_class_weighs_what_it_lacks_in_number() -> None:
    assert class_weights([30, 10, 10]).tolist() == pytest.approx([3 / 7, 9 / 7, 9 / 7])


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=30))
def test_weights_are_bounded_and_one_on_average(counts: list[int]) -> None:
    weights = class_weights(counts)
    assert weights.mean() == pytest.approx(1)
    assert weights.max() / weights.min() <= RATIO_MAX + 1e-6


def test_an_image_comes_as_often_as_its_rarest_class() -> None:
    weights = image_weights([(0,), (1,), (0, 1), ()], [30, 10])
    assert weights.tolist() == [0.5, 1.5, 1.5, 1.0]


@given(st.integers(0, 100), st.integers(0, 50))
def test_classes_come_equally_often(seed: int, epoch: int) -> None:
    classes = [(0,)] * 30 + [(1,)] * 10
    order = weighted_order(seed, epoch, image_weights(classes, [30, 10]))
    assert len(order) == 40
    assert abs(int((order >= 30).sum()) - 20) <= 1
    assert set(range(30, 40)) <= set(order.tolist())
    assert (order == weighted_order(seed, epoch, image_weights(classes, [30, 10]))).all()


def test_epochs_come_in_orders_of_their_own() -> None:
    weights = np.ones(40)
    orders = {tuple(weighted_order(3, epoch, weights).tolist()) for epoch in range(20)}
    assert len(orders) == 20
    assert all(sorted(order) == list(range(40)) for order in orders)
