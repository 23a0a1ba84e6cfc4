"""What the console tells of the bus at /metrics: agents that are missed, letters, queues."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.aio.client import Client

from loopline.contracts import Agent, AgentReported, RunningWork
from loopline.contracts.catalog import Stream
from loopline.errors import Transient
from services.console.adapters import bus_figures
from services.console.adapters.bus_figures import FORGET_AFTER_S, BusFigures
from services.console.adapters.queues import Queues
from services.console.bodies.runs import QueueOut, QueuesOut

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUEUE = QueueOut(
    name="default_router_model_committed",
    stream="COMMITS",
    event="model_committed",
    service="router",
    pool="",
    waiting=3,
    in_flight=2,
    redelivered=1,
    workers_waiting=0,
    oldest_age_s=4.5,
)


class Still:
    """A clock that stands."""

    def now(self) -> datetime:
        return NOW

    def monotonic_s(self) -> float:
        return 0.0


class Seen:
    """Queues that are there, until the bus is away."""

    def __init__(self) -> None:
        self.is_away = False

    async def queues(self) -> QueuesOut:
        if self.is_away:
            raise Transient("the bus does not answer")
        return QueuesOut(queues=[QUEUE], dead=3)


class Server:
    """A bus whose streams hold the same, and DEAD two letters of the router and one of ingest."""

    def jetstream(self) -> Server:
        return self

    async def stream_info(self, stream: str, subjects_filter: str | None = None) -> Any:
        letters = {
            "loopline.default.dead.router.model_committed": 2,
            "loopline.default.dead.ingest.import_chunk": 1,
        }
        asked = letters if subjects_filter == "loopline.default.dead.*.*" else None
        assert (asked is not None) == (stream == Stream.DEAD)
        state = SimpleNamespace(messages=5, bytes=100, last_seq=9, subjects=asked)
        return SimpleNamespace(state=state, config=SimpleNamespace(max_bytes=-1))


def agent(name: str, silent_s: float, **given: Any) -> AgentReported:
    reported = AgentReported(agent=Agent(id=name), kind="trainer", capacity=2, **given)
    reported.at.FromDatetime(NOW - timedelta(seconds=silent_s))
    return reported


def figures(agents: Sequence[AgentReported], queues: Seen | None = None) -> BusFigures:
    looked = cast("Queues", queues or Seen())
    return BusFigures(cast("Client", Server()), "default", looked, lambda: agents, Still())


def test_agents_are_counted_by_what_they_do_and_missed_for_an_hour() -> None:
    told = figures(
        [
            agent("busy", 1, running=[RunningWork(run_id="r")]),
            agent("idle", 1, load={"disk_free_bytes": 7.0}),
            agent("killed", 60),
            agent("left", 60, leaving=True),
            agent("of-last-week", FORGET_AFTER_S + 1),
        ]
    )
    states = {tuple(labels.values()): count for count, labels in told._states()}
    assert states == {
        ("trainer", "busy"): 1,
        ("trainer", "idle"): 1,
        ("trainer", "gone"): 1,
        ("inference", "busy"): 0,
        ("inference", "idle"): 0,
        ("inference", "gone"): 0,
    }
    assert list(told._disk()) == [(7.0, {"agent": "idle", "kind": "trainer"})]
    assert [labels["agent"] for _, labels in told._running()] == ["busy", "idle"]


async def test_letters_are_counted_by_service_also_where_there_are_none() -> None:
    told = figures([])
    told._seen = await told._look(cast("Client", Server()))
    counts = {labels["consumer_service"]: count for count, labels in told._dead()}
    assert (counts["router"], counts["ingest"], counts["annotate"]) == (2, 1, 0)
    assert {value for value, _ in told._limit()} == {0}, "no limit"
    assert [value for value, _ in told._waiting()] == [3]
    assert [value for value, _ in told._oldest()] == [4.5]


async def test_there_are_no_old_figures_where_the_bus_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus_figures, "LOOK_EVERY_S", 0.001)
    queues = Seen()
    told = figures([], queues)
    await told.start()

    async def until(there: bool) -> None:
        async with asyncio.timeout(10):
            while bool(list(told._waiting())) != there:
                await asyncio.sleep(0)

    await until(there=True)
    queues.is_away = True
    await until(there=False)
    assert not list(told._dead())
    queues.is_away = False
    await until(there=True)
    await told.stop()
