"""How the learning rate goes, and when to stop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.recipes.parameters import RecipeParameters
from services.trainer.recipes.schedules import FIRST, LAST, improvement, rate, should_stop

SCHEDULES = st.sampled_from(["one_cycle", "cosine", "step", "constant"])


@given(SCHEDULES, st.floats(0, 0.9), st.integers(1, 500))
def test_rates_are_positive_and_never_above_the_peak(
    schedule: str, warm_up: float, steps: int
) -> None:
    parameters = RecipeParameters.model_validate({"schedule": schedule, "warm_up": warm_up})
    rates = [rate(parameters, step, steps) for step in range(steps + 1)]
    assert all(0 < value <= 1 for value in rates)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        pytest.param("one_cycle", [FIRST, 1.0, 0.5005, LAST], id="one cycle"),
        pytest.param("cosine", [FIRST, 1.0, 0.5005, LAST], id="cosine"),
        pytest.param("step", [FIRST, 1.0, 0.1, 0.01], id="divides by ten twice"),
        pytest.param("constant", [FIRST, 1.0, 1.0, 1.0], id="stays"),
    ],
)
def test_a_schedule_warms_up_and_decays(schedule: str, expected: list[float]) -> None:
    parameters = RecipeParameters.model_validate({"schedule": schedule, "warm_up": 0.2})
    rates = [rate(parameters, step, 101) for step in (0, 20, 60, 100)]
    assert rates == pytest.approx(expected)


def test_without_warming_up_it_begins_at_the_peak() -> None:
    assert rate(RecipeParameters(warm_up=0.0), 0, 100) == 1.0


@pytest.mark.parametrize(
    ("values", "patience", "stops"),
    [
        pytest.param([0.5, 0.4, 0.4], 2, True, id="the best is two epochs ago"),
        pytest.param([0.5, 0.4, 0.6], 2, False, id="the last is the best"),
        pytest.param([0.5, 0.5, 0.5], 2, True, id="an equal one is no better"),
        pytest.param([0.5, 0.4], 2, False, id="too early to say"),
        pytest.param([0.5, 0.1, 0.1, 0.1], 0, False, id="no patience means never"),
        pytest.param([], 1, False, id="nothing yet"),
    ],
)
def test_training_stops_when_nothing_gets_better(
    values: list[float], patience: int, *, stops: bool
) -> None:
    assert should_stop(values, patience) is stops


def test_without_a_validation_split_the_loss_decides() -> None:
    assert improvement({"loss": 0.3, "accuracy": 0.8}, "accuracy") == 0.8
    assert improvement({"loss": 0.3}, "accuracy") == -0.3
