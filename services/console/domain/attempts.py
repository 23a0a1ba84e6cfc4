"""How often somebody may try to sign in: pure, time is given."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from loopline.errors import Rejected

KEYS_MAX = 10_000


class TooOften(Rejected):
    """Somebody tries too often; `retry_after_s` says when to come back."""

    def __init__(self, wait_s: float) -> None:
        self.retry_after_s = max(1, round(wait_s + 0.5))
        super().__init__(f"too many attempts: try again in {self.retry_after_s} s")


@dataclass(frozen=True, slots=True)
class Allowance:
    """At most `count` failures in `period_s`."""

    count: int
    period_s: float


class Attempts:
    """Counts failures by key: a name, an address.

    Remembers `KEYS_MAX` keys, those that failed last.

    Args:
        allowance: What each key may.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, key: str, now_s: float) -> float:
        """Return how long until the key may try again; 0 if it may now."""
        recent = self._recent(key, now_s)
        if len(recent) < self._allowance.count:
            return 0.0
        return recent[-self._allowance.count] + self._allowance.period_s - now_s

    def failed(self, key: str, now_s: float) -> None:
        """Count a failure."""
        recent = [*self._recent(key, now_s), now_s]
        self._failures[key] = recent[-self._allowance.count :]
        self._failures.move_to_end(key)
        while len(self._failures) > KEYS_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the key's failures."""
        self._failures.pop(key, None)

    def forgiven(self, key: str) -> None:
        """Take the key's last failure back: it was none."""
        if failures := self._failures.get(key):
            failures.pop()

    def _recent(self, key: str, now_s: float) -> list[float]:
        since_s = now_s - self._allowance.period_s
        return [at for at in self._failures.get(key, []) if at > since_s]
