"""Train rules: which fire on a dataset version."""

from __future__ import annotations

from typing import Any

import pytest

from loopline.flows import Flow
from services.router.domain.training import train_decisions

FLOW = """
flow: catalogue
datasets: [catalogue, extra]
train:
  - {name: enough, when: "dataset.statistics.labeled >= 10", model: m, recipe: r}
  - {name: tagged, when: "dataset.tags.approved > 0", model: m, recipe: r}
"""


def _context(labeled: int, **tags: int) -> dict[str, Any]:
    return {"dataset": {"statistics": {"labeled": labeled}, "tags": tags}}


@pytest.mark.parametrize(
    ("dataset", "context", "fired"),
    [
        pytest.param("catalogue", _context(10, approved=1), ["enough", "tagged"], id="both"),
        pytest.param("extra", _context(9, approved=1), ["tagged"], id="another of its datasets"),
        pytest.param("foreign", _context(10, approved=1), [], id="not one of its datasets"),
    ],
)
def test_every_rule_that_holds_fires(
    dataset: str, context: dict[str, Any], fired: list[str]
) -> None:
    decisions = train_decisions(Flow.parse(FLOW), dataset, context)
    assert [d.rule.name for d in decisions if d.fires] == fired


def test_rule_that_fails_does_not_fire_and_does_not_stop_the_others() -> None:
    decisions = list(train_decisions(Flow.parse(FLOW), "catalogue", _context(10)))
    assert [(d.rule.name, d.fires) for d in decisions] == [("enough", True), ("tagged", False)]
    assert "no field 'approved'" in decisions[1].failure
