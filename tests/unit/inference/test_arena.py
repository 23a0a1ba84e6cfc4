"""Sessions share one arena: what one version does not use just now, another may."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("arena_memory.py")


async def grown_bytes(arenas: str) -> int:
    """Return how much a process grew by further versions; its own process, since an arena stays."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), arenas, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(child.communicate(), 120)
    assert child.returncode == 0
    return int(output)


async def test_further_versions_take_no_memory_for_what_lives_during_an_execution() -> None:
    shared, apart = await asyncio.gather(grown_bytes("shared"), grown_bytes("apart"))
    assert apart > 64 * 1024**2, "without sharing, each version keeps its own"
    assert shared < apart / 4
