"""What becomes of each prediction: delivered, relabeled, or neither, exactly one of them."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from loopline.flows import Relabel, RouteRule, RuleFailed
from loopline.flows.contexts import Context


class Outcome(StrEnum):
    """What a rule decided of a prediction."""

    DELIVERED = "delivered"
    UNCERTAIN = "uncertain"  # to be labeled, if the job's limit lets it
    UNROUTED = "unrouted"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a prediction goes.

    Args:
        outcome: Where to.
        rule: The name of the rule that decided; empty if none held.
        reason: Why it is unrouted; empty otherwise.
    """

    outcome: Outcome
    rule: str = ""
    reason: str = ""


def route(rules: Sequence[RouteRule], context: Context) -> Route:
    """Return what the first rule that holds says of a prediction.

    A rule that cannot be evaluated leaves the prediction unrouted: a later rule might deliver what
    the failed one was to hold back.
    """
    for rule in rules:
        try:
            if not rule.rule.holds(context):
                continue
        except RuleFailed as error:
            return Route(
                Outcome.UNROUTED, rule.name, f"the rule {rule.name!r} failed: {error.message}"
            )
        return Route(Outcome.DELIVERED if rule.deliver else Outcome.UNCERTAIN, rule.name)
    return Route(Outcome.UNROUTED, reason="no rule holds")


@dataclass(frozen=True, slots=True)
class Uncertain:
    """A prediction that people should look at."""

    asset: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Selected:
    """What goes into one labeling job.

    Args:
        assets: In the order to label.
        over_limit: How many more there were than the job takes.
    """

    assets: tuple[str, ...]
    over_limit: int


def select(uncertain: Iterable[Uncertain], relabel: Relabel) -> Selected:
    """Return the items of a job: at most its limit, in its order, ties broken by asset.

    Deterministic: it depends on the set of predictions, not on the order they come in.
    """
    count = 0

    def counted() -> Iterable[Uncertain]:
        nonlocal count
        for one in uncertain:
            count += 1
            yield one

    key = _by_confidence if relabel.order == "least_confident" else _shuffled
    chosen = heapq.nsmallest(relabel.limit, counted(), key=key)
    return Selected(tuple(one.asset for one in chosen), count - len(chosen))


def _by_confidence(one: Uncertain) -> tuple[float, str]:
    return one.confidence, one.asset


def _shuffled(one: Uncertain) -> tuple[bytes, str]:
    """Order by a hash of the asset: the same order every time, and unrelated to the model."""
    return hashlib.sha256(one.asset.encode()).digest(), one.asset


def job_name(relabel: Relabel, run_id: str) -> str:
    """Return the name of the job that a run opens, or adds to."""
    if relabel.keeps_filling:
        return relabel.job
    return f"{relabel.job}-{run_id[:8]}"
