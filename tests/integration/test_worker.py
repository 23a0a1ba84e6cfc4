"""The loop for long work over a real bus: who takes a command, and who leaves it to others."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from loopline.contracts import catalog
from loopline.contracts.catalog import Durable, Stream
from loopline.runtime.admin import declare
from loopline.runtime.worker import Worker
from loopline.testing.servers import NatsTestServer

TIMEOUT_S = 20.0
EVENT = catalog.TRAIN_MODEL


@dataclass
class Hand:
    """Handles what a worker takes, and says whether it has time."""

    is_free: bool = True
    taken: list[tuple[bytes, int]] = field(default_factory=list)
    stream: Stream = EVENT.stream
    durable: Durable = EVENT.durables[0]

    async def process(self, message: Msg) -> None:
        """Note the message, and how often it was delivered."""
        self.taken.append((message.data, message.metadata.num_delivered))
        await message.ack()


class Place:
    """A workspace whose workers share one durable."""

    def __init__(self, client: Client, workspace: str) -> None:
        self.client = client
        self._workspace = workspace
        self.durable = EVENT.durable_name("trainer", workspace)

    def worker(self, hand: Hand) -> Worker:
        """Return a worker that has begun to pull."""
        names = [self.durable]
        worker = Worker(self.client, hand, names, 1, lambda: hand.is_free)  # type: ignore[arg-type]
        worker.start()
        return worker

    async def send(self, data: bytes) -> None:
        """Ask for work."""
        subject = EVENT.subject(self._workspace, pool=catalog.DEFAULT_POOL)
        await self.client.jetstream().publish(subject, data)

    async def asked_for(self, pulls: int) -> None:
        """Wait until so many pull requests are open."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                info = await self.client.jetstream().consumer_info(EVENT.stream, self.durable)
                if info.num_waiting == pulls:
                    return
                await asyncio.sleep(0.01)


@pytest.fixture
async def place(nats_server: NatsTestServer) -> AsyncIterator[Place]:
    client = await nats.connect(nats_server.url)
    workspace = f"w-{secrets.token_hex(6)}"
    await declare(client.jetstream(), workspace)
    yield Place(client, workspace)
    await client.close()


async def taken(hand: Hand, count: int) -> list[tuple[bytes, int]]:
    async with asyncio.timeout(TIMEOUT_S):
        while len(hand.taken) < count:
            await asyncio.sleep(0.01)
    return hand.taken


async def test_a_worker_that_is_not_free_leaves_commands_to_others(place: Place) -> None:
    busy, idle = Hand(is_free=False), Hand()
    workers = [place.worker(busy), place.worker(idle)]
    for number in range(6):
        await place.send(b"%d" % number)
    assert len(await taken(idle, 6)) == 6
    assert busy.taken == []
    await workers.pop().stop(drain_s=1)
    busy.is_free = True
    await place.send(b"later")
    assert await taken(busy, 1) == [(b"later", 1)]
    await workers.pop().stop(drain_s=1)


async def test_a_command_that_comes_when_the_worker_has_begun_something_else_is_handed_back(
    place: Place,
) -> None:
    first, other = Hand(), Hand()
    worker = place.worker(first)
    await place.asked_for(pulls=1)
    first.is_free = False
    await place.send(b"work")
    second = place.worker(other)
    assert await taken(other, 1) == [(b"work", 2)]
    assert first.taken == []
    await worker.stop(drain_s=1)
    await second.stop(drain_s=1)
