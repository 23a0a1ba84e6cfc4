"""Time, injected: UTC-aware, and replaceable in tests."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the platform asks of time."""

    def now(self) -> datetime:
        """Return the present moment, UTC-aware."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never run backwards, for durations."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present moment, UTC-aware."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Return seconds that never run backwards, for durations."""
        return time.monotonic()
