"""What commits and handlers cost over the libraries they stand on, as ratios within one run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import nats
import uvloop
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.nats.opentelemetry import NatsTelemetryMiddleware
from nats.aio.client import Client
from nats.js.api import StorageType, StreamConfig

from loopline.contracts import ArtefactKind, ArtefactRef, FlowCommitted, RunKind, catalog
from loopline.contracts.catalog import Durable, Event, Stream
from loopline.runtime import admin, reactions, telemetry
from loopline.runtime.processing import Delivery, Processor
from loopline.store import runs
from loopline.store.commits import CommitLog, Committed
from loopline.store.logstore import JetStreamLog
from loopline.testing.servers import start_nats

ROUNDS = 5
TURNS = 75  # of one by one: short ones, so that both sides see the same weather
ONE_BY_ONE = 100
PIPELINED = 20_000
EVENTS = 10_000


def run() -> list[dict[str, Any]]:
    """Return the results."""
    with TemporaryDirectory() as folder:
        server = start_nats(Path(folder))
        try:
            return uvloop.run(_run(server.url))
        finally:
            server.stop()


async def _run(url: str) -> list[dict[str, Any]]:
    telemetry.configure_logging("bench", "error")  # neither side writes a line per message
    telemetry.configure_traces("bench", "")
    telemetry.configure_metrics("bench")
    client = await nats.connect(url)
    js = client.jetstream()
    await admin.declare(js)
    plain = StreamConfig(name="PLAIN", subjects=["plain.>"], storage=StorageType.FILE)
    await js.add_stream(plain)
    log = CommitLog(JetStreamLog(client, Stream.COMMITS), "default", source="bench")
    results = [*await _one_by_one(client, log), *await _pipelined(client, log)]
    results += await _handlers(url, client)
    await client.close()
    return results


def _flow(name: str, number: int) -> FlowCommitted:
    message = FlowCommitted(document="x" * 120)
    kind = ArtefactKind.ARTEFACT_KIND_FLOW
    message.commit.artefact.CopyFrom(ArtefactRef(kind=kind, name=name, digest=f"{number:064}"))
    message.commit.run.CopyFrom(_RUN)
    message.commit.run.id = f"{number:064}"
    return message


_RUN = runs.new_run(RunKind.RUN_KIND_EDIT)


async def _one_by_one(client: Client, log: CommitLog) -> list[dict[str, Any]]:
    js = client.jetstream()
    sequence = 0

    async def publish(_: int) -> None:
        for number in range(ONE_BY_ONE):
            await js.publish("plain.f", _flow("f", number).SerializeToString())

    async def commit(_: int) -> None:
        nonlocal sequence
        for _n in range(ONE_BY_ONE):
            sequence += 1
            number = sequence

            async def build(_: Committed[FlowCommitted] | None) -> FlowCommitted:
                return _flow("f", number)  # noqa: B023  # called before the loop goes on

            await log.commit(catalog.FLOW_COMMITTED, build, name="f")

    bare, ours = await _alternate(publish, commit, TURNS)
    ratio = median(b / o for b, o in zip(bare, ours, strict=True))
    return [
        _entry("bus.commit", ratio, "ratio", 0.7, "nats-py: awaited publish of the same message"),
        _entry("bus.commits_per_s", ONE_BY_ONE / median(ours), "1/s", None, ""),
    ]


async def _pipelined(client: Client, log: CommitLog) -> list[dict[str, Any]]:
    js = client.jetstream(publish_async_max_pending=4000)

    async def publish(round_: int) -> None:
        for start in range(0, PIPELINED, 2000):
            futures = [
                await js.publish_async(
                    f"plain.{round_}.{n}", _flow(f"p{round_}-{n}", n).SerializeToString()
                )
                for n in range(start, start + 2000)
            ]
            await asyncio.gather(*futures)

    async def commit(round_: int) -> None:
        messages = [
            (_flow(f"p{round_}-{n}", n), {"job": f"j{round_}", "asset": f"a{n}"})
            for n in range(PIPELINED)
        ]
        results = await log.commit_many(_BULK, messages)
        assert all(isinstance(r, Committed) for r in results)

    bare, ours = await _alternate(publish, commit)
    ratio = median(b / o for b, o in zip(bare, ours, strict=True))
    return [
        _entry(
            "bus.bulk_commit", ratio, "ratio", 0.4, "nats-py: pipelined publish of the same message"
        ),
        _entry("bus.bulk_commits_per_s", PIPELINED / median(ours), "1/s", None, ""),
    ]


_BULK: Event[FlowCommitted] = Event(
    "flow_committed",
    FlowCommitted,
    catalog.LABELS_SUBMITTED.template,
    Stream.COMMITS,
    ("bench",),
)


async def _handlers(url: str, client: Client) -> list[dict[str, Any]]:
    """Time both from the first message handled to the last: 10,000 are waiting."""
    rounds = 3
    bare, ours = [], []
    for number in range(rounds):
        subject = catalog.DATASET_COMMITTED.subject("default", name=f"r{number}")
        await _fill(client, subject)
        bare.append(await _faststream(url, client, subject, f"bare{number}"))
        ours.append(await _reaction(url, client, subject, f"ours{number}"))
    ratio = median(b / o for b, o in zip(bare, ours, strict=True))
    return [
        _entry(
            "bus.handler", ratio, "ratio", 0.8, "FastStream with its own telemetry, same messages"
        ),
        _entry("bus.handled_per_s", EVENTS / median(ours), "1/s", None, ""),
    ]


async def _fill(client: Client, subject: str) -> None:
    from datetime import UTC, datetime

    from loopline.contracts import DatasetCommitted, cloudevents

    js = client.jetstream(publish_async_max_pending=4000)
    headers, body = cloudevents.encode(
        DatasetCommitted(), source="bench", time=datetime.now(UTC), id="x"
    )
    for _ in range(0, EVENTS, 2000):
        await asyncio.gather(
            *[await js.publish_async(subject, body, headers=headers) for _ in range(2000)]
        )


async def _faststream(url: str, client: Client, subject: str, durable: str) -> float:
    broker = NatsBroker(
        url, middlewares=[NatsTelemetryMiddleware()], apply_types=False, logger=None
    )
    watch = _Watch()
    pull = PullSub(batch_size=reactions.BATCH, timeout=reactions.PULL_TIMEOUT_S)
    stream = JStream(Stream.COMMITS, declare=False)
    subscriber = broker.subscriber(
        subject,
        stream=stream,
        durable=durable,
        pull_sub=pull,
        ack_policy=AckPolicy.ACK,
        decoder=_raw,
    )

    @subscriber  # type: ignore[untyped-decorator]
    async def handle(_: object) -> None:
        watch.tick()

    await _declare(client, durable, subject)
    return await watch.time(broker)


async def _raw(message: Any) -> Any:
    return message


async def _reaction(url: str, client: Client, subject: str, durable: str) -> float:
    watch = _Watch()

    async def handle(_: object, __: Delivery) -> None:
        watch.tick()

    broker = NatsBroker(url, apply_types=False, logger=None)
    processor = Processor(catalog.DATASET_COMMITTED, Durable("router"), handle, _NoDead())
    reactions.subscribe(broker, processor, subject, durable)
    await _declare(client, durable, subject)
    return await watch.time(broker)


async def _declare(client: Client, durable: str, subject: str) -> None:
    from nats.js.api import AckPolicy as Ack
    from nats.js.api import ConsumerConfig

    config = ConsumerConfig(durable_name=durable, filter_subject=subject, ack_policy=Ack.EXPLICIT)
    await client.jetstream().add_consumer(Stream.COMMITS, config)


class _NoDead:
    async def bury(self, *_: object) -> None:
        raise AssertionError("nothing is rejected here")


class _Watch:
    def __init__(self) -> None:
        self._count = 0
        self._first = 0.0
        self._done = asyncio.Event()

    def tick(self) -> None:
        self._count += 1
        if self._count == 1:
            self._first = time.perf_counter()
        elif self._count == EVENTS:
            self._done.set()

    async def time(self, broker: NatsBroker) -> float:
        await broker.start()
        async with asyncio.timeout(120):
            await self._done.wait()
        seconds = time.perf_counter() - self._first
        await broker.stop()
        return seconds


async def _alternate(
    bare: Callable[[int], Awaitable[None]],
    ours: Callable[[int], Awaitable[None]],
    rounds: int = ROUNDS,
) -> tuple[list[float], list[float]]:
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which, call in enumerate((bare, ours)):
            started = time.perf_counter()
            await call(number)
            times[which].append(time.perf_counter() - started)
    return times


def _entry(name: str, value: float, unit: str, goal: float | None, against: str) -> dict[str, Any]:
    holds = None if goal is None else value >= goal
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "goal": goal,
        "holds": holds,
        "against": against,
    }
