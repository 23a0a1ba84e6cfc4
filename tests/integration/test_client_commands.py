"""Commands of the SDK on a real bus: sent once, waited for, and recognised when they come again."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from loopline.client.session import RunFailed, Session
from loopline.client.settings import ClientSettings
from loopline.contracts import ReproduceModel, RunChanged, RunState, catalog
from loopline.runtime import admin
from loopline.testing.servers import NatsTestServer

ID = "the attempt of today"


@asynccontextmanager
async def connected(server: NatsTestServer, workspace: str) -> AsyncIterator[Session]:
    settings = ClientSettings(nats_url=server.url, workspace=workspace, s3_endpoint="x:1")
    session = await Session.open(settings)
    try:
        yield session
    finally:
        await session.close()


@pytest.fixture
async def session(nats_server: NatsTestServer) -> AsyncIterator[Session]:
    """A client in a workspace of its own."""
    workspace = f"w{uuid.uuid4().hex[:12]}"
    async with connected(nats_server, workspace) as session:
        await admin.declare(session.nats.jetstream(), workspace)
        yield session


async def told(session: Session, state: RunState, message: str = "") -> None:
    """Report as the trainer does."""
    run_id = "f" * 64
    report = RunChanged(run_id=run_id, command_id=ID, state=state, message=message)
    await session.bus.report(report)


async def waited(session: Session, timeout_s: float = 10.0) -> str:
    result = session.command(catalog.REPRODUCE_MODEL, ReproduceModel(), wait=True, id=ID)
    return (await asyncio.wait_for(result, timeout_s)).run_id


async def commands(session: Session) -> int:
    js = session.nats.jetstream()
    subject = catalog.REPRODUCE_MODEL.subject(session.settings.workspace, pool="default")
    info = await js.stream_info("WORK", subjects_filter=subject)
    return (info.state.subjects or {}).get(subject, 0)


async def test_under_its_id_a_command_is_sent_once(session: Session) -> None:
    for _ in range(2):
        await session.command(catalog.REPRODUCE_MODEL, ReproduceModel(), wait=False, id=ID)
    assert await commands(session) == 1
    await session.command(catalog.REPRODUCE_MODEL, ReproduceModel(), wait=False)
    assert await commands(session) == 2


async def test_who_asks_again_hears_how_it_ended(session: Session) -> None:
    waiting = asyncio.create_task(waited(session))
    while not await commands(session):
        await asyncio.sleep(0.01)
    await told(session, RunState.RUN_STATE_RUNNING)
    await told(session, RunState.RUN_STATE_COMPLETED)
    assert await waiting == await waited(session) == "f" * 64


async def test_a_report_that_came_while_the_bus_was_away_is_heard(
    nats_server_with: Callable[[], NatsTestServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopline.client.session.QUIET_S", 0.2)
    server = nats_server_with()
    async with connected(server, "default") as session:
        await admin.declare(session.nats.jetstream())
        waiting = asyncio.create_task(waited(session, 30.0))
        while not await commands(session):
            await asyncio.sleep(0.01)
        server.process.restart()
        async with connected(server, "default") as other:  # before the one that waits comes back
            await told(other, RunState.RUN_STATE_COMPLETED)
        assert await waiting == "f" * 64


async def test_who_asks_again_hears_why_it_failed(session: Session) -> None:
    await told(session, RunState.RUN_STATE_FAILED, "no such recipe")
    with pytest.raises(RunFailed, match="no such recipe"):
        await waited(session)
