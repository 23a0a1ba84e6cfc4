"""What a chunk found, as JSON lines, and the sum of all chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from loopline.digests import canonical_json
from loopline.errors import Rejected
from services.router.domain.routing import Outcome, Uncertain


@dataclass(frozen=True, slots=True)
class Routed:
    """What became of one prediction.

    Args:
        asset: The asset.
        outcome: What was decided.
        rule: The rule that decided.
        confidence: Of the prediction.
        reason: Why it is unrouted.
        key: Key of the delivered object; empty if none.
        digest: sha256 of its bytes.
        size_bytes: Its size.
    """

    asset: str
    outcome: Outcome
    rule: str = ""
    confidence: float = 0.0
    reason: str = ""
    key: str = ""
    digest: str = ""
    size_bytes: int = 0


def to_lines(routed: Iterable[Routed]) -> bytes:
    """Return one canonical JSON document per line."""
    return b"".join(canonical_json(asdict(one)) + b"\n" for one in routed)


def from_lines(data: bytes) -> Iterator[Routed]:
    """Yield what `to_lines` wrote.

    Raises:
        Rejected: The bytes are not that.
    """
    for line in data.splitlines():
        try:
            document: dict[str, Any] = orjson.loads(line)
            yield Routed(**{**document, "outcome": Outcome(document["outcome"])})
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise Rejected(f"a chunk's result cannot be read: {error}") from error


@dataclass(slots=True)
class Summary:
    """The chunks of a run put together.

    Args:
        delivered: What was delivered.
        uncertain: What rules gave to labeling, by rule.
        unrouted: How many went nowhere, by reason.
    """

    delivered: list[Routed] = field(default_factory=list)
    uncertain: dict[str, list[Uncertain]] = field(default_factory=dict)
    unrouted: Counter[str] = field(default_factory=Counter)

    def add(self, chunk: Iterable[Routed]) -> None:
        """Take in a chunk's result."""
        for one in chunk:
            if one.outcome is Outcome.DELIVERED:
                self.delivered.append(one)
            elif one.outcome is Outcome.UNCERTAIN:
                found = self.uncertain.setdefault(one.rule, [])
                found.append(Uncertain(one.asset, one.confidence))
            else:
                self.unrouted[one.reason] += 1
