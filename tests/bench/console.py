"""The console's graph of 2,000 cards: reading the log at the start, answering, telling what is new.

`python -m tests.bench.console` prints the entries.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

from loopline.store.blobs import MemoryBlobs
from loopline.testing.memory import ManualClock, MemoryBus, memory_service
from loopline.testing.provenance import Provenance
from services.console.adapters.log_view import LogView
from services.console.domain.questions import Question
from services.console.service import Console
from services.console.settings import ConsoleSettings

CARDS = 2_000
ROUNDS = 20
LIMIT = 5_000
Entry = dict[str, Any]


def run() -> list[Entry]:
    """Measure, and return the entries."""
    with tempfile.TemporaryDirectory(prefix="loopline-bench-") as folder:
        return asyncio.run(_run(Path(folder)))


async def _run(folder: Path) -> list[Entry]:
    bus = MemoryBus()
    service = memory_service(Console, ConsoleSettings(data_dir=folder), bus, MemoryBlobs())
    cards = await _filled(service)
    start_s, mib = await _started(service)
    await service.start()
    desk = service.desks.workflow
    everything = Question()
    desk.graph(everything, "", LIMIT)  # cards are made once, when first asked for
    whole_ms = _median_ms(lambda: desk.graph(everything, "", LIMIT))
    since = desk.revision
    news_ms = _median_ms(lambda: desk.graph(everything, since, LIMIT))
    some = Question(kinds=frozenset({"dataset", "model"}), search="shoes7")
    filtered_ms = _median_ms(lambda: desk.graph(some, "", LIMIT))
    size_kib = len(desk.graph(everything, "", LIMIT)) / 1024
    await service.stop()
    service.objects.close()
    about = f"{cards} cards, {size_kib:,.0f} KiB of JSON"
    return [
        _entry("console graph: whole", whole_ms, "ms", "< 100", about, whole_ms < 100),
        _entry("console graph: nothing new", news_ms, "ms", "< 50", about, news_ms < 50),
        _entry("console graph: kinds and words", filtered_ms, "ms", "< 100", about,
               filtered_ms < 100),
        _entry("console graph: log read at the start", start_s, "s", "< 5", about, start_s < 5),
        _entry("console graph: memory a card", mib * 1024 / cards, "KiB", "", about, None),
    ]  # fmt: skip


async def _filled(service: Console) -> int:
    """Commit turns of the loop until there are enough cards; return how many."""
    clock = ManualClock()
    view = LogView(service.log.store, service.events, "default", None)
    turn = 0
    while len(view.workflow.cards) < CARDS:
        for _ in range(10):
            await Provenance(service.log, clock, name=f"shoes{turn}").turn()
            clock.advance(60)
            turn += 1
        await view.catch_up()
    return len(view.workflow.cards)


async def _started(service: Console) -> tuple[float, float]:
    """Return how long reading the log takes, and the memory it fills, MiB."""
    began = time.perf_counter()
    view = LogView(service.log.store, service.events, "default", None)
    await view.start()
    elapsed_s = time.perf_counter() - began
    await view.stop()
    tracemalloc.start()
    view = LogView(service.log.store, service.events, "default", None)
    await view.start()
    size_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await view.stop()
    return elapsed_s, size_bytes / 1024**2


def _median_ms(call: Any) -> float:
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return sorted(taken)[ROUNDS // 2] * 1000


def _entry(
    name: str, value: float, unit: str, goal: str, against: str, holds: bool | None
) -> Entry:
    return {
        "name": name, "value": round(value, 3), "unit": unit, "goal": goal, "holds": holds,
        "against": against,
    }  # fmt: skip


if __name__ == "__main__":
    json.dump(run(), sys.stdout, indent=1)
