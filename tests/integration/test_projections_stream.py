"""Reading the commit stream of a real nats-server: order, live news, restarts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, cast

import nats
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo, StreamInfo

from loopline.clock import SystemClock
from loopline.contracts import ArtefactKind, ArtefactRef, Commit, DatasetCommitted, catalog
from loopline.contracts.catalog import Event, Stream
from loopline.contracts.cloudevents import encode
from loopline.runtime.admin import stream_config
from loopline.store.log_reader import LogReader, StoreReader, StreamReader
from loopline.store.logstore import JetStreamLog
from loopline.testing.servers import NatsTestServer

IDLE_S = 0.2
TIMEOUT_S = 30.0
DATASETS = (catalog.DATASET_COMMITTED,)


@pytest.fixture
def server(nats_server_with: Callable[..., NatsTestServer]) -> NatsTestServer:
    return nats_server_with()


@pytest.fixture
async def client(server: NatsTestServer) -> AsyncIterator[Client]:
    async def quiet(_: Exception) -> None:
        """The server is killed on purpose."""

    client = await nats.connect(
        server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.05, error_cb=quiet
    )
    await client.jetstream().add_stream(stream_config(Stream.COMMITS))
    yield client
    await client.close()


async def publish(
    client: Client, count: int, name: str = "catalogue", workspace: str = "default"
) -> None:
    subject = catalog.DATASET_COMMITTED.subject(workspace, name=name)
    artefact = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_DATASET, name=name)
    message = DatasetCommitted(commit=Commit(workspace=workspace, artefact=artefact))
    headers, body = encode(message, source="test", time=SystemClock().now())
    js = client.jetstream()
    await asyncio.gather(*(js.publish(subject, body, headers=headers) for _ in range(count)))


async def sequences(reader: LogReader, after: int, until: int) -> list[int]:
    batches = [batch async for batch in reader.read(after, until)]
    assert [batch.after for batch in batches] == [after, *(b.through for b in batches[:-1])]
    assert batches[-1].through == until
    return [commit.sequence for batch in batches for commit in batch.commits]


async def collect(reader: LogReader, after: int, seen: list[tuple[int, float]]) -> None:
    async for batch in reader.read(after):
        fresh = [commit for commit in batch.commits if commit.sequence > batch.after]
        seen.extend((commit.sequence, time.monotonic()) for commit in fresh)


async def until_seen(seen: list[tuple[int, float]], count: int) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while len(seen) < count:
            await asyncio.sleep(0.005)


@pytest.fixture(params=["consumer", "direct gets"])
def reader_of(request: pytest.FixtureRequest, client: Client) -> Callable[..., LogReader]:
    def build(events: tuple[Event[DatasetCommitted], ...] = DATASETS) -> LogReader:
        if request.param == "consumer":
            return StreamReader(client.jetstream(), "default", events, idle_s=IDLE_S)
        log = JetStreamLog(client, Stream.COMMITS)
        return StoreReader(log, "default", events, idle_s=IDLE_S)

    return build


async def test_history_is_read_in_order_from_any_sequence_to_any_other(
    client: Client, reader_of: Callable[..., LogReader]
) -> None:
    await publish(client, 1203)
    reader = reader_of()
    assert await reader.last_sequence() == 1203
    assert await sequences(reader, 0, 1203) == list(range(1, 1204))
    assert await sequences(reader, 600, 700) == list(range(601, 701))


async def test_other_workspaces_and_events_are_passed_over(
    client: Client, reader_of: Callable[..., LogReader]
) -> None:
    await publish(client, 3)
    await publish(client, 4, workspace="other")
    reader = reader_of()
    assert await sequences(reader, 0, 7) == [1, 2, 3]
    assert await sequences(reader, 3, 7) == []
    await publish(client, 1)
    assert await sequences(reader, 5, 8) == [8]


async def test_what_is_no_commit_is_told_apart(
    client: Client, reader_of: Callable[..., LogReader]
) -> None:
    js = client.jetstream()
    subject = catalog.DATASET_COMMITTED.subject("default", name="catalogue")
    good = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "x"}
    type_ = catalog.DATASET_COMMITTED.type
    await js.publish(subject, b"nothing of ours")
    await js.publish(subject, b"\xff\xff", headers={**good, "ce-type": type_})
    await js.publish(subject, b"", headers={**good, "ce-type": "com.example.Else"})
    await publish(client, 1)
    batches = [batch async for batch in reader_of().read(0, 4)]
    assert [c.sequence for b in batches for c in b.commits] == [4]
    reasons = {u.sequence: u.reason for b in batches for u in b.undecodable}
    assert "not a CloudEvent" in reasons[1]
    assert "the body is not a" in reasons[2]
    assert "'com.example.Else' is not a type we know" in reasons[3]


async def test_news_arrives_at_once(client: Client) -> None:
    seen: list[tuple[int, float]] = []
    reader = StreamReader(client.jetstream(), "default", DATASETS, idle_s=2.0)
    reading = asyncio.create_task(collect(reader, 0, seen))
    await publish(client, 1)
    await until_seen(seen, 1)
    delays = []
    for count in range(2, 12):
        published = time.monotonic()
        await publish(client, 1)
        await until_seen(seen, count)
        delays.append(seen[-1][1] - published)
    reading.cancel()
    assert sorted(delays)[len(delays) // 2] < 0.1


async def test_nothing_is_lost_or_doubled_when_the_server_is_killed_while_reading(
    server: NatsTestServer, client: Client
) -> None:
    seen: list[tuple[int, float]] = []
    await publish(client, 3000)
    reader = StreamReader(client.jetstream(), "default", DATASETS, idle_s=IDLE_S)
    reading = asyncio.create_task(collect(reader, 0, seen))
    await until_seen(seen, 500)
    await asyncio.to_thread(server.process.restart)
    while not client.is_connected:
        await asyncio.sleep(0.01)
    await publish(client, 700)
    await until_seen(seen, 3700)
    reading.cancel()
    assert [sequence for sequence, _ in seen] == list(range(1, 3701))


async def test_a_consumer_that_the_server_forgot_is_made_again(client: Client) -> None:
    seen: list[tuple[int, float]] = []
    js = client.jetstream()
    reading = asyncio.create_task(
        collect(StreamReader(js, "default", DATASETS, idle_s=IDLE_S), 0, seen)
    )
    await publish(client, 5)
    await until_seen(seen, 5)
    for consumer in await js.consumers_info(Stream.COMMITS):
        await js.delete_consumer(Stream.COMMITS, consumer.name)
    await publish(client, 5)
    await until_seen(seen, 10)
    reading.cancel()
    assert [sequence for sequence, _ in seen] == list(range(1, 11))


async def test_a_reader_leaves_no_consumer_behind(client: Client) -> None:
    await publish(client, 10)
    await sequences(StreamReader(client.jetstream(), "default", DATASETS, idle_s=IDLE_S), 0, 10)
    assert await client.jetstream().consumers_info(Stream.COMMITS) == []


class _HastyServer:
    """A JetStream context of a moment that is rare: stored already, not yet told to consumers."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._js = client.jetstream()
        self.hasty = 3

    def __getattr__(self, name: str) -> Any:
        return getattr(self._js, name)

    async def stream_info(self, name: str) -> StreamInfo:
        if self.hasty:
            await publish(self._client, 10)
        return await self._js.stream_info(name)

    async def consumer_info(self, stream: str, consumer: str) -> ConsumerInfo:
        info: ConsumerInfo = await self._js.consumer_info(stream, consumer)
        if self.hasty:
            self.hasty -= 1
            return replace(info, num_pending=0)
        return info


async def test_what_is_stored_is_read_even_where_the_consumer_does_not_know_of_it_yet(
    client: Client,
) -> None:
    seen: list[tuple[int, float]] = []
    hasty = _HastyServer(client)
    reader = StreamReader(cast("JetStreamContext", hasty), "default", DATASETS, idle_s=IDLE_S)
    reading = asyncio.create_task(collect(reader, 0, seen))
    await until_seen(seen, 30)
    reading.cancel()
    assert not hasty.hasty
    assert [sequence for sequence, _ in seen] == list(range(1, 31))
