"""Promote rules: what becomes champion, and why the others don't."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.flows import Flow, PromoteRule
from services.router.domain.promotion import Contender, judge

SPLIT = "5" * 64
BETTER = "!has_champion || candidate.metrics.accuracy > champion.metrics.accuracy"


def _rule(when: str = BETTER) -> PromoteRule:
    text = f'flow: f\ndatasets: [d]\npromote: [{{model: m, alias: champion, when: "{when}"}}]'
    return Flow.parse(text).promote[0]


def _model(version: int, accuracy: float | None, split: str = SPLIT) -> Contender:
    metrics = {} if accuracy is None else {"accuracy": accuracy}
    return Contender(version, split, {"version": version, "metrics": metrics})


def test_first_version_is_promoted() -> None:
    verdict = judge(_rule(), _model(1, 0.8), None)
    assert verdict.promoted
    assert "has_champion = false" in verdict.reason


@pytest.mark.parametrize(("candidate", "promoted"), [(0.8731, True), (0.8423, False), (0.5, False)])
def test_rule_decides_and_the_reason_has_the_figures(candidate: float, promoted: bool) -> None:
    verdict = judge(_rule(), _model(2, candidate), _model(1, 0.8423))
    assert verdict.promoted is promoted
    assert verdict.reason == (
        f"the rule for m/champion: '{BETTER}' is {str(promoted).lower()} with has_champion = true, "
        f"candidate.metrics.accuracy = {candidate}, champion.metrics.accuracy = 0.8423"
    )


@pytest.mark.parametrize(
    ("candidate", "champion", "reason"),
    [
        pytest.param(
            _model(2, 0.99, "6" * 64),
            _model(1, 0.5),
            "v2 was evaluated on the test split 666666666666, v1 on 555555555555: "
            "their figures do not compare",
            id="another test split",
        ),
        pytest.param(
            _model(2, 0.99, ""),
            _model(1, 0.5),
            "the candidate v2 was not evaluated on the test split",
            id="candidate not evaluated",
        ),
        pytest.param(
            _model(2, 0.99),
            _model(1, 0.5, ""),
            "the champion v1 was not evaluated on the test split",
            id="champion not evaluated",
        ),
        pytest.param(
            _model(1, 0.99), _model(2, 0.5), "v2 is newer than the candidate v1", id="older"
        ),
    ],
)
def test_rule_is_not_applied_to_what_does_not_compare(
    candidate: Contender, champion: Contender, reason: str
) -> None:
    for rule in (_rule(), _rule("true")):
        verdict = judge(rule, candidate, champion)
        assert not verdict.promoted
        assert verdict.reason == f"the rule for m/champion was not applied: {reason}"


def test_absent_metric_declines_with_its_name() -> None:
    verdict = judge(_rule(), _model(2, None), _model(1, 0.5))
    assert not verdict.promoted
    assert "there is no field 'accuracy' here" in verdict.reason


def test_absolute_rule_applies_to_the_first_version_too() -> None:
    rule = _rule("candidate.metrics.accuracy >= 0.7")
    assert not judge(rule, _model(1, 0.6), None).promoted
    assert judge(rule, _model(1, 0.7), None).promoted


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_champion_only_gets_better(accuracies: list[float]) -> None:
    """Whatever order the figures come in, the best of them is champion in the end."""
    champion: tuple[int, float] | None = None
    for version, accuracy in enumerate(accuracies, start=1):
        before = _model(*champion) if champion else None
        if judge(_rule(), _model(version, accuracy), before).promoted:
            champion = (version, accuracy)
    assert champion is not None
    assert champion[1] == max(accuracies)
    assert champion[0] == accuracies.index(max(accuracies)) + 1


CONFIDENT = "!has_champion || comparison.accuracy.low > 0.0"


@pytest.mark.parametrize(
    ("low", "promoted"), [(0.004, True), (0.0, False), (-0.01, False)], ids=str
)
def test_a_rule_may_ask_for_confidence(low: float, promoted: bool) -> None:
    """The figures alone say that it is better each time."""
    seen = {"accuracy": {"difference": 0.02, "low": low, "high": 0.04, "better": 0.9}}
    verdict = judge(_rule(CONFIDENT), _model(2, 0.87), _model(1, 0.85), seen)
    assert verdict.promoted is promoted
    assert f"comparison.accuracy.low = {low:.4g}" in verdict.reason


def test_a_rule_that_asks_for_confidence_takes_the_first_version() -> None:
    assert judge(_rule(CONFIDENT), _model(1, 0.2), None).promoted
