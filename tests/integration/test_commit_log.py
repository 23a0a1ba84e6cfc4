"""The commit log, chunks and both message loops on a real nats-server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import nats
import pytest
from nats.aio.client import Client

from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    DatasetCommitted,
    RouteChunk,
    RunKind,
    catalog,
)
from loopline.contracts.catalog import Stream
from loopline.errors import Conflict, Rejected, Transient
from loopline.runtime import admin
from loopline.runtime.processing import Delivery
from loopline.runtime.service import Host, Service, build, connect, on, work
from loopline.runtime.settings import ServiceSettings
from loopline.store import runs
from loopline.store.commits import CommitLog, Committed
from loopline.store.deadletters import DeadLetters
from loopline.store.logstore import JetStreamLog
from loopline.testing.servers import NatsTestServer


class Probe(Service):
    """A router that only tells what it was handed."""

    name = "router"
    code = ("loopline.names",)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.datasets: list[int] = []
        self.chunks_seen: list[tuple[int, int]] = []
        self.failures = 0
        self.cured = False
        self.sequences: list[int] = []
        self.slow = asyncio.Event()

    @on(catalog.DATASET_COMMITTED)
    async def on_dataset_committed(self, event: DatasetCommitted, delivery: Delivery) -> None:
        if event.commit.artefact.name == "poison" and not self.cured:
            raise Rejected("poison is not a dataset")
        self.sequences.append(delivery.sequence)
        self.datasets.append(event.commit.artefact.version)

    @work(catalog.ROUTE_CHUNK)
    async def on_route_chunk(self, command: RouteChunk, delivery: Delivery) -> None:
        self.chunks_seen.append((command.index, delivery.attempt))
        if command.run_id == "flaky" and delivery.attempt <= self.failures:
            raise Transient("not now", retry_after_s=0.01)
        if command.run_id == "slow":
            await self.slow.wait()


@pytest.fixture
async def workspace() -> str:
    return f"w{uuid4().hex[:12]}"


@pytest.fixture
async def client(nats_server: NatsTestServer, workspace: str) -> AsyncIterator[Client]:
    client = await nats.connect(nats_server.url)
    await admin.declare(client.jetstream(), workspace)
    yield client
    await client.close()


@pytest.fixture
async def host(nats_server: NatsTestServer, client: Client, workspace: str) -> AsyncIterator[Host]:
    settings = ServiceSettings(
        nats_url=nats_server.url, workspace=workspace, s3_endpoint="127.0.0.1:1", drain_s=0.2
    )
    own = await connect(settings, "router")
    host = Host(build(Probe, settings, own), own)
    await host.start()
    yield host
    await host.stop()


def probe(host: Host) -> Probe:
    assert isinstance(host.service, Probe)
    return host.service


async def until(condition: object, timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def commit(log: CommitLog, name: str, number: int) -> Committed[DatasetCommitted]:
    async def build_version(_: Committed[DatasetCommitted] | None) -> DatasetCommitted:
        message = DatasetCommitted()
        kind = ArtefactKind.ARTEFACT_KIND_DATASET
        message.commit.artefact.CopyFrom(ArtefactRef(kind=kind, name=name, digest=f"{number:064}"))
        run = runs.new_run(RunKind.RUN_KIND_IMPORT, parameters={"number": number})
        message.commit.run.CopyFrom(run)
        return message

    return await log.commit(catalog.DATASET_COMMITTED, build_version, name=name)


async def test_racing_writers_on_one_subject_all_land_in_order(
    client: Client, workspace: str
) -> None:
    log = CommitLog(JetStreamLog(client, Stream.COMMITS), workspace, source="test")
    await asyncio.gather(*(commit(log, "c", number) for number in range(12)))
    history = await log.history(catalog.DATASET_COMMITTED, name="c")
    assert [c.ref.version for c in history] == list(range(1, 13))
    head = await log.head(catalog.DATASET_COMMITTED, name="c")
    assert head == history[-1]


async def test_compare_and_set_refuses_the_second_writer(client: Client, workspace: str) -> None:
    store = JetStreamLog(client, Stream.COMMITS)
    subject = catalog.FLOW_COMMITTED.subject(workspace, name="f")
    await store.append(subject, b"one", {}, 0)
    with pytest.raises(Conflict):
        await store.append(subject, b"two", {}, 0)


async def test_heads_of_more_subjects_than_one_answer_holds(client: Client, workspace: str) -> None:
    store = JetStreamLog(client, Stream.COMMITS)
    count = 1100
    for start in range(0, count, 100):
        names = [f"f{number}" for number in range(start, start + 100)]
        subjects = [catalog.FLOW_COMMITTED.subject(workspace, name=name) for name in names]
        await asyncio.gather(*(store.append(subject, b"", {}, 0) for subject in subjects))
    assert len(await store.last(catalog.FLOW_COMMITTED.subject(workspace))) == count


async def test_commits_cannot_be_deleted(client: Client) -> None:
    with pytest.raises(nats.js.errors.APIError):
        await client.jetstream().purge_stream("COMMITS")


async def test_a_reaction_sees_every_commit_once(host: Host) -> None:
    for number in range(5):
        await commit(host.service.log, "c", number)
    await until(lambda: len(probe(host).datasets) == 5)
    assert sorted(probe(host).datasets) == [1, 2, 3, 4, 5]


async def test_poison_goes_to_the_dead_letters_and_blocks_nothing(
    host: Host, client: Client, workspace: str
) -> None:
    await commit(host.service.log, "poison", 1)
    await commit(host.service.log, "c", 2)
    await until(lambda: probe(host).datasets == [1])
    subject = catalog.dead_subject(workspace, "router", "dataset_committed")
    dead = JetStreamLog(client, Stream.DEAD)
    async with asyncio.timeout(5):
        while not (found := await dead.last(subject)):
            await asyncio.sleep(0.01)
    assert found[0].headers["Loopline-Dead-Reason"] == "poison is not a dataset"


async def test_a_dead_reaction_can_be_retried_once_its_cause_is_gone(
    host: Host, client: Client, workspace: str
) -> None:
    poison = await commit(host.service.log, "poison", 1)
    letters = DeadLetters(client, workspace)
    async with asyncio.timeout(5):
        while not (found := await letters.list()):
            await asyncio.sleep(0.01)
    probe(host).cured = True
    await letters.retry(found[0].sequence)
    await until(lambda: probe(host).sequences == [poison.sequence])
    assert await letters.list() == []
    history = await host.service.log.history(catalog.DATASET_COMMITTED, name="poison")
    assert len(history) == 1


async def test_a_transient_failure_is_delivered_again(host: Host) -> None:
    probe(host).failures = 2
    await host.service.bus.send(catalog.ROUTE_CHUNK, RouteChunk(run_id="flaky", index=7))
    await until(lambda: probe(host).chunks_seen == [(7, 1), (7, 2), (7, 3)])


async def test_invalid_bytes_on_a_command_subject_are_buried_with_the_reason(
    host: Host, client: Client, workspace: str
) -> None:
    subject = catalog.ROUTE_CHUNK.subject(workspace, pool="default")
    await client.jetstream().publish(subject, b"\xff\xfe")
    dead = JetStreamLog(client, Stream.DEAD)
    where = catalog.dead_subject(workspace, "router", "route_chunk")
    async with asyncio.timeout(5):
        while not (found := await dead.last(where)):
            await asyncio.sleep(0.01)
    assert "not a CloudEvent" in found[0].headers["Loopline-Dead-Reason"]


async def test_work_that_outlasts_the_drain_is_handed_back(
    nats_server: NatsTestServer, client: Client, workspace: str
) -> None:
    settings = ServiceSettings(
        nats_url=nats_server.url, workspace=workspace, s3_endpoint="127.0.0.1:1", drain_s=0.05
    )
    own = await connect(settings, "router")
    host = Host(build(Probe, settings, own), own)
    await host.start()
    await host.service.bus.send(catalog.ROUTE_CHUNK, RouteChunk(run_id="slow", index=1))
    await until(lambda: probe(host).chunks_seen)
    await host.stop()
    durable = catalog.ROUTE_CHUNK.durable_name("router", workspace)
    again = await client.jetstream().pull_subscribe_bind(durable=durable, stream="WORK")
    [message] = await again.fetch(1, timeout=5)
    assert message.metadata.num_delivered == 2
    await message.ack()
