"""A turn of the flywheel in memory, and the lineage service over it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from loopline.contracts.catalog import Stream
from loopline.lineage import Graph, fragment_of
from loopline.runtime.http import HttpServer
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import CommitLog, Committed
from loopline.testing.memory import ManualClock, MemoryBus, memory_service
from loopline.testing.provenance import Provenance
from services.lineage.service import Lineage
from services.lineage.settings import LineageSettings


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def log(bus: MemoryBus, clock: ManualClock) -> CommitLog:
    return CommitLog(bus.streams[Stream.COMMITS], "default", source="test", clock=clock)


@pytest.fixture
def provenance(log: CommitLog, clock: ManualClock) -> Provenance:
    return Provenance(log, clock)


@pytest.fixture
async def turn(provenance: Provenance) -> list[Committed[Any]]:
    return await provenance.turn()


@pytest.fixture
def graph(turn: list[Committed[Any]]) -> Graph:
    return Graph(map(fragment_of, turn))


@pytest.fixture
def settings(tmp_path: Path) -> LineageSettings:
    return LineageSettings(data_dir=tmp_path)


@pytest.fixture
async def service(bus: MemoryBus, settings: LineageSettings) -> AsyncIterator[Lineage]:
    service = memory_service(Lineage, settings, bus, MemoryBlobs())
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def http(service: Lineage) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service's API, with health and errors as they are served."""
    server = HttpServer(service.api(), service.ready, "127.0.0.1", 0)
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        yield client
    await server.stop()
