"""The embedded platform: how soon it is ready, and what it holds in memory when idle.

`python -m tests.bench.platform` prints the entries.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from loopline.embedded.options import PlatformOptions
from loopline.embedded.platform import Platform
from loopline.embedded.status import ProcessStatus

READY_GOAL_S = 10.0
MEMORY_GOAL_MB = 1_500
IDLE_S = 5.0  # until what starting allocated is given back or not
Entry = dict[str, Any]


def run() -> list[Entry]:
    """Measure, and return the entries."""
    with tempfile.TemporaryDirectory(prefix="loopline-bench-") as folder:
        return asyncio.run(_run(Path(folder)))


async def _run(folder: Path) -> list[Entry]:
    options = PlatformOptions(folder / "data", prefer_default_ports=False)
    first_s, processes = await _start(options)
    again_s, _ = await _start(options)
    pss_mb = sum(each.pss_bytes for each in processes) / 1e6
    rss_mb = sum(each.rss_bytes for each in processes) / 1e6
    shared = "pages that processes share counted once (PSS)"
    return [
        _entry("platform_ready", first_s, "s", READY_GOAL_S, "a new data folder"),
        _entry("platform_ready_again", again_s, "s", READY_GOAL_S, "the same data folder"),
        _entry("platform_idle_memory", pss_mb, "MB", MEMORY_GOAL_MB, shared),
        _entry("platform_idle_rss", rss_mb, "MB", MEMORY_GOAL_MB, "and counted per process (RSS)"),
    ]


async def _start(options: PlatformOptions) -> tuple[float, list[ProcessStatus]]:
    began = time.perf_counter()
    async with Platform(options) as platform:
        ready_s = time.perf_counter() - began
        await asyncio.sleep(IDLE_S)
        # The supervisor here is this process, with all that the other benchmarks imported.
        return ready_s, [each for each in platform.status() if each.name != "supervisor"]


def _entry(name: str, value: float, unit: str, goal: float, against: str) -> Entry:
    holds = value < goal
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "goal": goal,
        "holds": holds,
        "against": against,
    }


if __name__ == "__main__":
    json.dump(run(), sys.stdout, indent=2)
