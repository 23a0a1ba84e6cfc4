"""Which train rules of a flow fire on a dataset version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loopline.flows import Flow, RuleFailed, TrainRule
from loopline.flows.contexts import Context


@dataclass(frozen=True, slots=True)
class TrainDecision:
    """What a rule says of a dataset version.

    Args:
        rule: The rule.
        fires: Whether it asks for a training.
        failure: Why the rule could not be evaluated; empty if it could.
    """

    rule: TrainRule
    fires: bool
    failure: str = ""


def train_decisions(flow: Flow, dataset: str, context: Context) -> Iterator[TrainDecision]:
    """Yield what each train rule of `flow` says; nothing if the flow is not about `dataset`."""
    if dataset not in flow.datasets:
        return
    for rule in flow.train:
        try:
            yield TrainDecision(rule, rule.rule.holds(context))
        except RuleFailed as error:
            yield TrainDecision(rule, fires=False, failure=error.message)
