"""Serving: what a request costs each server beside what the bare engine takes for the same work."""

from __future__ import annotations

from typing import Any


def run() -> list[dict[str, Any]]:
    """Measure, and return the entries."""
    from tests.bench.serving import harness

    return harness.run()
