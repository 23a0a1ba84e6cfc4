"""Rules: what is refused when a flow is put, and what a rule says of what it sees."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.flows.contexts import FIELDS, Kind, example
from loopline.flows.rules import MAX_LENGTH, InvalidRule, Rule, RuleFailed, compile_rule

RETRAIN = (
    "dataset.statistics['labeled:train'] >= 500 && "
    "(dataset.version == 1 || dataset.changes.labels_changed > 0)"
)
BETTER = "!has_champion || candidate.metrics.accuracy > champion.metrics.accuracy"


def _dataset(version: int, labeled: int, changed: int | None) -> dict[str, Any]:
    changes = {} if changed is None else {"labels_changed": changed}
    statistics = {"labeled:train": labeled} if labeled else {}
    return {"dataset": {"version": version, "statistics": statistics, "changes": changes}}


@pytest.mark.parametrize(
    ("context", "holds"),
    [
        pytest.param(_dataset(1, 1500, None), True, id="first version with enough labels"),
        pytest.param(_dataset(1, 499, None), False, id="too few labels"),
        pytest.param(_dataset(2, 1500, 0), False, id="later version, no label changed"),
        pytest.param(_dataset(2, 1500, None), False, id="an absent counter reads as 0"),
        pytest.param(_dataset(2, 1500, 7), True, id="later version, labels changed"),
        pytest.param(_dataset(1, 0, None), False, id="no labels: the statistic is absent"),
    ],
)
def test_train_rule_of_the_demo(context: dict[str, Any], holds: bool) -> None:
    assert Rule(Kind.TRAIN, RETRAIN).holds(context) is holds


@pytest.mark.parametrize(
    ("champion", "candidate", "holds"),
    [
        pytest.param(None, {}, True, id="no champion: the metrics are not looked at"),
        pytest.param({"accuracy": 0.8}, {"accuracy": 0.81}, True, id="better"),
        pytest.param({"accuracy": 0.8}, {"accuracy": 0.8}, False, id="equal"),
        pytest.param({"accuracy": 1}, {"accuracy": 0.5}, False, id="whole number beside a double"),
    ],
)
def test_promote_rule_of_the_demo(
    champion: dict[str, Any] | None, candidate: dict[str, Any], holds: bool
) -> None:
    context = {
        "has_champion": champion is not None,
        "champion": {"metrics": champion} if champion is not None else {},
        "candidate": {"metrics": candidate},
    }
    assert Rule(Kind.PROMOTE, BETTER).holds(context) is holds


@pytest.mark.parametrize(
    ("kind", "source", "said"),
    [
        pytest.param(
            Kind.ROUTE, "prediction.confidence >", "does not compile: column 24", id="syntax"
        ),
        pytest.param(Kind.ROUTE, "true &&\n  )", "line 2, column 3", id="syntax on a later line"),
        pytest.param(Kind.ROUTE, "  ", "an expression is needed", id="empty"),
        pytest.param(
            Kind.ROUTE,
            "predicton.confidence > 0.5",
            "unknown variable 'predicton'; did you mean 'prediction'?",
            id="variable",
        ),
        pytest.param(
            Kind.TRAIN,
            "item.labeled",
            "unknown variable 'item'; known: dataset",
            id="variable of another kind of rule",
        ),
        pytest.param(
            Kind.ROUTE,
            "prediction.confidense > 0.5",
            "unknown field 'prediction.confidense'; did you mean 'confidence'?",
            id="field",
        ),
        pytest.param(
            Kind.ROUTE, "prediction['confidense'] > 0.5", "unknown field", id="field by index"
        ),
        pytest.param(
            Kind.ROUTE,
            "true || prediction.shapes.exists(s, s.x > y)",
            "column 43: unknown variable 'y'",
            id="variable in a comprehension",
        ),
        pytest.param(
            Kind.ROUTE,
            "prediction.shapes.exists(s, s.confidence > 0.5) && s",
            "unknown variable 's'",
            id="comprehension variable outside of it",
        ),
        pytest.param(
            Kind.ROUTE, "lower(item.split) == 'a'", "unknown function 'lower'", id="function"
        ),
        pytest.param(
            Kind.ROUTE, "item.source.startswith('a')", "did you mean 'startsWith'?", id="method"
        ),
        pytest.param(
            Kind.ROUTE,
            "prediction.confidence",
            "neither true nor false",
            id="a number is no answer",
        ),
        pytest.param(
            Kind.ROUTE, "prediction.confidence > '0.9'", "No such overload", id="mixed types"
        ),
        pytest.param(Kind.ROUTE, "item.source.matches('[')", "not a valid regex", id="pattern"),
        pytest.param(
            Kind.ROUTE,
            "size(item.size_bytes) > 0",
            "Undefined",
            id="function on a type it does not take",
        ),
        pytest.param(
            Kind.ROUTE, "(" * 200 + "true" + ")" * 200, "does not compile", id="nested too deep"
        ),
        pytest.param(
            Kind.ROUTE,
            "[1].exists(a, [1].exists(b, [1].exists(c, true)))",
            "nest 3 deep",
            id="comprehensions nested too deep",
        ),
        pytest.param(Kind.ROUTE, "true" + " " * MAX_LENGTH, "at most 2000", id="too long"),
    ],
)
def test_rule_that_cannot_work_is_refused(kind: Kind, source: str, said: str) -> None:
    with pytest.raises(InvalidRule) as caught:
        Rule(kind, source)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        pytest.param(Kind.ROUTE, "prediction.scores['T-shirt/top'] > 0.5", id="any key of a map"),
        pytest.param(Kind.ROUTE, "has(prediction.scores.shirt)", id="has"),
        pytest.param(Kind.ROUTE, "'a.b(c && d' == item.source", id="a string is not looked into"),
        pytest.param(Kind.ROUTE, "true // item.nothing", id="nor a comment"),
        pytest.param(Kind.ROUTE, "item.tags[0] == 'x'", id="an index that may be absent"),
        pytest.param(Kind.ROUTE, "int(item.file_name) > 3", id="a conversion that may fail"),
        pytest.param(Kind.ROUTE, "prediction.shapes.all(s, size(s.class_name) > 2)", id="all"),
        pytest.param(Kind.APPLY, "'front' in item.tags", id="in"),
        pytest.param(Kind.TRAIN, "dataset.statistics['class:coat'] > 3", id="any counter"),
    ],
)
def test_rule_that_may_work_is_accepted(kind: Kind, source: str) -> None:
    assert Rule(kind, source).source == source


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        pytest.param({}, "there is no field 'accuracy' here", id="absent"),
        pytest.param({"accuracy": math.nan}, "No such overload", id="not a number"),
        pytest.param({"accuracy": "good"}, "No such overload", id="text"),
    ],
)
def test_rule_that_fails_says_why(metrics: dict[str, Any], said: str) -> None:
    rule = Rule(Kind.PROMOTE, BETTER)
    context = {
        "has_champion": True,
        "champion": {"metrics": {"accuracy": 0.5}},
        "candidate": {"metrics": metrics},
    }
    with pytest.raises(RuleFailed) as caught:
        rule.holds(context)
    assert said in caught.value.message
    assert BETTER in caught.value.message


@pytest.mark.parametrize(
    "source",
    [
        "1 / (dataset.version - dataset.version) == 1",
        "dataset.version + 9223372036854775807 > 0",
        "dataset.classes[99] == 'a'",
        "timestamp(dataset.name) < timestamp('2026-01-01T00:00:00Z')",
    ],
)
def test_evaluation_never_raises_anything_else(source: str) -> None:
    with pytest.raises(RuleFailed):
        compile_rule(Kind.TRAIN, source).holds(example(FIELDS[Kind.TRAIN]))


def test_counter_named_like_a_field_is_not_mistaken_for_one() -> None:
    rule = Rule(Kind.TRAIN, "dataset.statistics.version == 0 && dataset.version == 3")
    assert rule.holds({"dataset": {"version": 3, "statistics": {}, "changes": {}}})


def test_evaluation_leaves_the_context_alone() -> None:
    context = _dataset(2, 0, None)
    Rule(Kind.TRAIN, RETRAIN).holds(context)
    assert context == _dataset(2, 0, None)


def test_figures_are_what_the_rule_looked_at() -> None:
    rule = Rule(Kind.PROMOTE, BETTER)
    context = {
        "has_champion": False,
        "champion": {},
        "candidate": {"metrics": {"accuracy": 0.5, "f1": 1.0}},
    }
    assert rule.figures(context) == {"has_champion": False, "candidate.metrics.accuracy": 0.5}


def test_fields_say_what_must_be_read() -> None:
    assert Rule(Kind.APPLY, "item.split == 'test' || !item.labeled").fields("item") == {
        "split",
        "labeled",
    }
    assert Rule(Kind.APPLY, "size(item) > 0").fields("item") == set(
        FIELDS[Kind.APPLY]["item"].fields
    )
    assert Rule(Kind.APPLY, "true").fields("item") == set()


def test_compiled_rule_is_kept() -> None:
    assert compile_rule(Kind.APPLY, "!item.labeled") is compile_rule(Kind.APPLY, "!item.labeled")


@pytest.mark.parametrize("kind", list(Kind))
def test_examples_have_every_documented_field(kind: Kind) -> None:
    context = example(FIELDS[kind])
    for name, field in FIELDS[kind].items():
        for inner in field.fields:
            compile_rule(kind, f"type({name}.{inner}) != 'x' || true").holds(context)


@given(st.text(max_size=60))
def test_any_text_is_a_rule_or_refused(source: str) -> None:
    try:
        rule = Rule(Kind.ROUTE, source)
    except InvalidRule:
        return
    with contextlib.suppress(RuleFailed):  # as "1 / 0 > prediction.confidence" does, with a reason
        assert rule.holds(example(FIELDS[Kind.ROUTE])) in (True, False)


def test_a_constant_that_can_only_fail_is_refused() -> None:
    with pytest.raises(InvalidRule, match="0/0"):
        Rule(Kind.ROUTE, "0/0")


_SOUP = (
    "prediction .confidence .shapes .exists( s , ) ( [ ] 'a' 1 0.5 > && ! item.tags size( in true "
    "has( ? : - model.name"
)
_PARTS = st.sampled_from(_SOUP.split())


@given(st.lists(_PARTS, max_size=10).map(" ".join))
def test_any_soup_of_tokens_is_a_rule_or_refused(source: str) -> None:
    with contextlib.suppress(InvalidRule, RuleFailed):
        assert Rule(Kind.ROUTE, source).holds(example(FIELDS[Kind.ROUTE])) in (True, False)


def test_a_comparison_has_the_fields_that_it_has() -> None:
    with pytest.raises(InvalidRule, match=r"unknown field 'comparison.accuracy.lower'.*'low'"):
        compile_rule(Kind.PROMOTE, "comparison.accuracy.lower > 0.0")


def test_a_rule_knows_what_it_uses() -> None:
    rule = compile_rule(Kind.PROMOTE, "!has_champion || comparison.map50.better > 0.9")
    assert rule.uses("comparison")
    assert not rule.uses("champion")


def test_a_key_of_an_open_map_has_no_fields_of_ours() -> None:
    """Absent at the event, so the rule declines then; it is no error of the program."""
    assert compile_rule(Kind.PROMOTE, "candidate.metrics.champion.metrics > 0.5").source
