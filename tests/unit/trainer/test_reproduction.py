"""Whether a training that was done again came out the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.trainer.domain.reproduction import (
    Difference,
    Ingredients,
    Result,
    causes,
    effects,
    verdict,
)

WAS = Ingredients(
    dataset=("shop@v1", "a" * 64),
    parameters={"seed": 0, "augmentation": {"noise": 0.02}},
    code="c" * 64,
    machine={"cpu": "one", "package torch": "2.14.1"},
)
MADE = Result({"weights.safetensors": "d" * 64}, {"accuracy": 0.75})


@pytest.mark.parametrize(
    ("now", "what"),
    [
        pytest.param(replace(WAS, dataset=("shop@v2", "b" * 64)), "dataset", id="data"),
        pytest.param(
            replace(WAS, parameters={"seed": 1, "augmentation": {"noise": 0.02}}),
            "parameter seed",
            id="seed",
        ),
        pytest.param(
            replace(WAS, parameters={"seed": 0, "augmentation": {"noise": 0.03}}),
            "parameter augmentation.noise",
            id="nested",
        ),
        pytest.param(replace(WAS, code="e" * 64), "code", id="code"),
        pytest.param(
            replace(WAS, machine={"cpu": "other", "package torch": "2.14.1"}), "cpu", id="machine"
        ),
        pytest.param(replace(WAS, machine={"cpu": "one"}), "package torch", id="library"),
    ],
)
def test_each_cause_is_named(now: Ingredients, what: str) -> None:
    [cause] = causes(WAS, now)
    assert cause.what == what
    assert cause.was != cause.now


def test_equal_ingredients_have_no_cause_and_equal_results_no_effect() -> None:
    assert causes(WAS, WAS) == []
    assert effects(MADE, MADE) == []


def test_a_metric_counts_to_the_last_bit_and_a_file_by_its_digest() -> None:
    now = Result({"weights.safetensors": "e" * 64}, {"accuracy": 0.1 + 0.65})
    assert [effect.what for effect in effects(MADE, now)] == ["file weights.safetensors"]
    barely = Result(MADE.files, {"accuracy": 0.7500000000000001})
    assert [effect.what for effect in effects(MADE, barely)] == ["metric accuracy"]


def test_the_verdict_says_what_differs_and_why() -> None:
    assert verdict("shop@v1", [], []) == "shop@v1 reproduced: identical to the last bit"
    seed = [Difference("parameter seed", "0", "1")]
    weights = [Difference("file weights.safetensors", "d", "e")]
    assert verdict("shop@v1", seed, weights) == (
        "shop@v1 not reproduced: file weights.safetensors differ; "
        "not as it was: parameter seed (0 -> 1)"
    )
    assert verdict("shop@v1", [], weights).endswith("though nothing else does")
