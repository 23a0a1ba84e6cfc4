"""Which recorded requests become items: a rule, a share, and so many an hour and a day."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from loopline.flows import RuleFailed, SampleRule, observations
from loopline.flows.contexts import Value
from loopline.store.items import Prediction

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Added:
    """What a rule added at one time before."""

    at: datetime
    images: int


def wanted(
    rule: SampleRule,
    model: dict[str, Value],
    rows: Iterable[Prediction],
    classes: Sequence[str],
    threshold: float,
) -> list[str]:
    """Return the assets that a rule wants, the least sure first.

    One that the rule cannot be evaluated on is not wanted.

    Args:
        rule: The rule.
        model: Who answered, as rules see it.
        rows: What it said.
        classes: The model's, in the order of the scores.
        threshold: The flow's.
    """
    found: list[tuple[float, str]] = []
    for row in rows:
        seen = observations.prediction(row, classes, threshold)
        try:
            holds = rule.rule.holds({"prediction": seen, "model": model})
        except RuleFailed:
            continue
        if holds and _drawn(rule, row.asset):
            found.append((seen["confidence"], row.asset))
    return [asset for _, asset in sorted(found)]


def room(rule: SampleRule, before: Iterable[Added], now: datetime) -> int:
    """Return how many images a rule may add now, after what it added before."""
    added = [one for one in before if now - one.at < DAY]
    in_hour = sum(one.images for one in added if now - one.at < HOUR)
    in_day = sum(one.images for one in added)
    return max(0, min(rule.per_hour - in_hour, rule.per_day - in_day))


def _drawn(rule: SampleRule, asset: str) -> bool:
    """Tell whether an image is one of the rule's share: the same whenever it is asked."""
    digest = hashlib.sha256(f"{rule.name}\0{asset}".encode()).digest()
    return int.from_bytes(digest[:7]) / (1 << 56) < rule.share
