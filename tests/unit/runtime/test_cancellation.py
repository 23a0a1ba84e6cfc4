"""Runs that someone asks to stop."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from loopline.clock import SystemClock
from loopline.contracts import Actor, CancelRun, catalog
from loopline.contracts.catalog import Stream
from loopline.errors import Cancelled
from loopline.runtime.bus import Bus
from loopline.runtime.cancellation import Cancellations, command_token
from loopline.runtime.processing import Delivery
from loopline.testing.memory import MemoryBus, MemoryLog

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RUN = "a" * 64


def asked_for(command: str = "command-1", stored_at: datetime | None = NOON) -> Delivery:
    return Delivery(command, "test", "test.subject", 1, 1, stored_at=stored_at)


def cancellations(bus: MemoryBus) -> Cancellations:
    return Cancellations(bus.streams[str(Stream.EVENTS)], "default", poll_s=0.01)


async def cancel(bus: MemoryBus, token: str = RUN) -> None:
    sender = Bus(bus, "default", source="test", clock=SystemClock())
    message = CancelRun(run_id=RUN, actor=Actor(kind="user", name="ada"), reason="too slow")
    await sender.send(catalog.CANCEL_RUN, message, run_id=token)


async def test_a_run_that_nobody_cancels_does_its_work() -> None:
    async def work() -> int:
        await asyncio.sleep(0.03)
        return 7

    assert await cancellations(MemoryBus()).unless_cancelled(RUN, asked_for(), work()) == 7


@pytest.mark.parametrize("token", [RUN, command_token("command-1")], ids=["run", "command"])
async def test_a_cancelled_run_ends_its_work_before_it_says_so(token: str) -> None:
    bus, ended = MemoryBus(), asyncio.Event()

    async def work() -> None:
        await cancel(bus, token)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(Cancelled, match="cancelled by ada: too slow"):
        await cancellations(bus).unless_cancelled(RUN, asked_for(), work())
    assert ended.is_set()


async def test_an_error_of_the_work_is_the_answer() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await cancellations(MemoryBus()).unless_cancelled(RUN, asked_for(), work())


async def test_work_that_is_given_up_is_ended_too() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    outer = asyncio.create_task(
        cancellations(MemoryBus()).unless_cancelled(RUN, asked_for(), work())
    )
    await asyncio.sleep(0.03)
    outer.cancel()
    await asyncio.gather(outer, return_exceptions=True)
    assert ended.is_set()


@pytest.mark.parametrize(
    ("later_s", "is_cancelled"), [(1.0, True), (-1.0, False)], ids=["before it", "after it"]
)
async def test_only_what_was_asked_for_before_the_cancellation_is_stopped(
    later_s: float, is_cancelled: bool
) -> None:
    events = MemoryLog()
    stamp = (NOON + timedelta(seconds=later_s)).isoformat()
    subject = catalog.CANCEL_RUN.subject("default", run_id=RUN)
    events.add(subject, CancelRun(run_id=RUN).SerializeToString(), {"Nats-Time-Stamp": stamp})
    found = await Cancellations(events, "default").asked(RUN, asked_for())
    assert (found is not None) == is_cancelled
