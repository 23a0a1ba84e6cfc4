"""How soon a worker begins: from a customer's publish to the handler's first line."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

import nats
import uvloop

from loopline.clock import SystemClock
from loopline.contracts import ImportImages, catalog
from loopline.runtime import admin, telemetry
from loopline.runtime.bus import Bus, JetStreamOutlet
from loopline.runtime.processing import Delivery
from loopline.runtime.service import Host, Service, build, connect, work
from loopline.runtime.settings import ServiceSettings
from loopline.testing.servers import start_nats

MESSAGES = 400
PAUSE_S = 0.02  # the platform is idle between two
P50_GOAL_MS = 10.0
P99_GOAL_MS = 50.0


class Stopwatch(Service):
    """Takes imports and notes when."""

    name = "ingest"
    code = ("loopline.names",)

    async def start(self) -> None:
        self.begun: dict[str, float] = {}

    @work(catalog.IMPORT_IMAGES)
    async def on_import_images(self, command: ImportImages, delivery: Delivery) -> None:
        self.begun[command.dataset] = time.perf_counter()


def run() -> list[dict[str, Any]]:
    """Return the results."""
    with TemporaryDirectory() as folder:
        server = start_nats(Path(folder))
        try:
            milliseconds = uvloop.run(_measure(server.url))
        finally:
            server.stop()
    cuts = quantiles(milliseconds, n=100)
    against = "from publish to the handler's first line, idle platform"
    return [
        _entry("reaction.p50", cuts[49], P50_GOAL_MS, against),
        _entry("reaction.p99", cuts[98], P99_GOAL_MS, against),
    ]


def _entry(name: str, value: float, goal: float, against: str) -> dict[str, Any]:
    entry = {"name": name, "value": value, "unit": "ms", "goal": goal}
    return {**entry, "holds": value < goal, "against": against}


async def _measure(url: str) -> list[float]:
    telemetry.configure_logging("bench", "error")
    telemetry.configure_traces("bench", "")
    settings = ServiceSettings(nats_url=url, s3_endpoint="127.0.0.1:1")
    client = await connect(settings, Stopwatch.name)
    await admin.declare(client.jetstream())
    service = build(Stopwatch, settings, client)
    host = Host(service, client)
    await host.start()
    customer = await nats.connect(url)
    bus = Bus(JetStreamOutlet(customer), "default", source="bench", clock=SystemClock())
    sent: dict[str, float] = {}
    for number in range(MESSAGES):
        name = f"d{number}"
        sent[name] = time.perf_counter()
        await bus.send(catalog.IMPORT_IMAGES, ImportImages(dataset=name))
        await asyncio.sleep(PAUSE_S)
    assert isinstance(service, Stopwatch)
    async with asyncio.timeout(10):
        while len(service.begun) < MESSAGES:
            await asyncio.sleep(PAUSE_S)
    await customer.close()
    await host.stop()
    return [(service.begun[name] - sent[name]) * 1000 for name in sent]
