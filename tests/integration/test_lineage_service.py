"""The lineage service as a process, over a real nats-server and each database."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest
from nats.aio.client import Client

from loopline.contracts.catalog import Stream
from loopline.lineage import Graph, fragment_of
from loopline.runtime.admin import declare
from loopline.store.commits import CommitLog, Committed
from loopline.store.logstore import JetStreamLog
from loopline.testing.memory import ManualClock
from loopline.testing.postgres import PostgresServer
from loopline.testing.provenance import Provenance
from loopline.testing.servers import NatsTestServer

TURNS = 24
KILLS = 2
TIMEOUT_S = 90.0


@pytest.fixture
def server(nats_server_with: Callable[..., NatsTestServer]) -> NatsTestServer:
    return nats_server_with()


@pytest.fixture
async def client(server: NatsTestServer) -> AsyncIterator[Client]:
    client = await nats.connect(server.url)
    await declare(client.jetstream())
    yield client
    await client.close()


class Process:
    """The service in a process of its own, on a port of our choice."""

    def __init__(self, nats_url: str, database_url: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._environment = {
            **os.environ,
            "LOOPLINE_NATS_URL": nats_url,
            "LOOPLINE_DATABASE_URL": database_url,
            "LOOPLINE_DATA_DIR": str(folder),
            "LOOPLINE_HTTP_PORT": str(self.port),
        }
        self._log = folder / "lineage.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "services.lineage",
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    async def end(self, sign: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(sign)
        return await self._process.wait()

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        """Ask until the service answers and is ready."""
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as http:
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    assert self._process is not None
                    assert self._process.returncode is None, self._log.read_text()[-2000:]
                    try:
                        answer = await http.get(path, params=params)
                    except httpx.TransportError:
                        await asyncio.sleep(0.02)
                        continue
                    found: dict[str, Any] = answer.raise_for_status().json()
                    return found

    async def applied(self, sequence: int) -> dict[str, Any]:
        """Return the status once the graph holds everything through `sequence`."""
        while True:
            status = await self.get("/v1/status")
            if status["applied_sequence"] >= sequence:
                return status
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(*args: Any) -> AsyncIterator[Process]:
    process = Process(*args)
    await process.start()
    try:
        yield process
    finally:
        await process.end(signal.SIGKILL)


class LineageBehaviour:
    """The specification, for each database."""

    @pytest.fixture
    def database_url(self) -> str:
        raise NotImplementedError

    async def test_a_killed_service_puts_every_commit_into_the_graph_once(
        self, server: NatsTestServer, client: Client, database_url: str, tmp_path: Path
    ) -> None:
        """Kill it while commits come in, then ask it to stop; the graph is a reader's own."""
        log = CommitLog(JetStreamLog(client, Stream.COMMITS), "default", source="test")
        commits: list[Committed[Any]] = []

        async def publish(first: int, last: int) -> None:
            for number in range(first, last):
                provenance = Provenance(log, ManualClock(), f"catalogue-{number}")
                commits.extend(await provenance.turn())

        async with running(server.url, database_url, tmp_path) as process:
            per_kill = TURNS // (KILLS + 1)
            for kill in range(KILLS):
                publishing = asyncio.create_task(publish(kill * per_kill, (kill + 1) * per_kill))
                await process.applied((kill * per_kill + 1) * 13)  # it is at work
                await process.end(signal.SIGKILL)
                await publishing
                await process.start()
            await publish(KILLS * per_kill, TURNS)
            await process.applied(len(commits) // 2)
            assert await process.end(signal.SIGTERM) == 0
            await process.start()
            status = await process.applied(len(commits))
            answer = await process.get("/v1/graph", limit=10_000, fold=False)
        expected = Graph(map(fragment_of, commits))
        assert status["skipped"] == []
        assert {n["id"] for n in answer["nodes"]} == set(expected.nodes)
        assert {(e["source"], e["target"], e["role"]) for e in answer["edges"]} == {
            (e.source, e.target, e.role) for e in expected.edges()
        }


class TestOnSqlite(LineageBehaviour):
    """A file in the data folder."""

    @pytest.fixture
    def database_url(self) -> str:
        return ""


class TestOnPostgresql(LineageBehaviour):
    """A database of its own."""

    @pytest.fixture
    def database_url(self, postgres_server: PostgresServer) -> str:
        return postgres_server.new_database()
