"""Figures of the bus for /metrics: what waits, what died, what is stored, which agents are there.

The console has them because it already has the right to look at every queue. They are gathered
every few seconds and read when asked for; where the bus does not answer there are none, not old
ones.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.js.api import StreamInfo
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from loopline.clock import Clock
from loopline.contracts import AgentReported, catalog
from loopline.contracts.catalog import Stream
from loopline.errors import LooplineError
from loopline.runtime.agents import GONE_AFTER_S
from services.console.adapters.queues import Queues
from services.console.bodies.runs import QueueOut

LOOK_EVERY_S: Final = 5.0
FORGET_AFTER_S: Final = 3600.0
"""An agent that has been silent for this long is not missed any more."""

Labels = Mapping[str, str]
Reading = tuple[float, Labels]
log = structlog.get_logger()


@dataclass(frozen=True)
class Figures:
    """What was seen at one look.

    Attributes:
        queues: Every durable, with what waits.
        streams: Every stream.
        dead: Dead letters by service.
    """

    queues: tuple[QueueOut, ...] = ()
    streams: Mapping[str, StreamInfo] = field(default_factory=dict)
    dead: Mapping[str, int] = field(default_factory=dict)


class BusFigures:
    """Looks at the bus, and offers what it saw as gauges.

    Args:
        client: The bus; None in tests without one, which have no figures.
        workspace: Whose.
        queues: What waits.
        agents: Every agent heard of.
        clock: Time.
    """

    def __init__(
        self,
        client: Client | None,
        workspace: str,
        queues: Queues,
        agents: Callable[[], Iterable[AgentReported]],
        clock: Clock,
    ) -> None:
        self._client = client
        self._workspace = workspace
        self._queues = queues
        self._agents = agents
        self._clock = clock
        self._seen = Figures()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        if self._client is not None:
            self._offer()
            self._task = asyncio.create_task(self._look_often(self._client), name="bus figures")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look_often(self, client: Client) -> None:
        while True:
            try:
                self._seen = await self._look(client)
            except (LooplineError, nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
                self._seen = Figures()
                log.warning("bus_not_seen", reason=repr(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self, client: Client) -> Figures:
        js = client.jetstream()
        dead = catalog.dead_subject(self._workspace, "*", "*")
        queues = await self._queues.queues()
        streams = {
            str(stream): await js.stream_info(stream, dead if stream == Stream.DEAD else None)
            for stream in Stream
        }
        return Figures(tuple(queues.queues), streams, _by_service(streams[Stream.DEAD]))

    def _offer(self) -> None:
        meter = metrics.get_meter("loopline")
        gauges: tuple[tuple[str, str, str, Callable[[], Iterable[Reading]]], ...] = (
            ("loopline_queue_waiting", "", "Messages nobody took yet.", self._waiting),
            ("loopline_queue_in_flight", "", "Messages being handled.", self._in_flight),
            ("loopline_queue_redelivered", "", "Of those, not for the first time.", self._again),
            ("loopline_queue_oldest", "s", "Age of the oldest one not done.", self._oldest),
            ("loopline_dead_letters", "", "Dead letters to look at.", self._dead),
            ("loopline_stream_messages", "", "Messages kept.", self._messages),
            ("loopline_stream_size", "By", "What a stream holds.", self._size),
            ("loopline_stream_limit", "By", "What it may hold; 0 for no limit.", self._limit),
            ("loopline_agents", "", "Agents by what they do.", self._states),
            ("loopline_agent_running", "", "Work that an agent does.", self._running),
            ("loopline_agent_capacity", "", "Work it does at once.", self._capacity),
            ("loopline_agent_disk_free", "By", "Free on its disk.", self._disk),
            ("loopline_agent_memory_free", "By", "Free memory of its machine.", self._memory),
            ("loopline_agent_load", "", "Its machine's load, over a minute.", self._load),
        )
        for name, unit, about, read in gauges:
            meter.create_observable_gauge(name, [_observer(read)], unit=unit, description=about)
        meter.create_observable_counter(
            "loopline_stream_sequence",
            [_observer(self._sequence)],
            description="Messages that a stream ever took.",
        )

    def _waiting(self) -> Iterator[Reading]:
        yield from ((queue.waiting, _queue(queue)) for queue in self._seen.queues)

    def _in_flight(self) -> Iterator[Reading]:
        yield from ((queue.in_flight, _queue(queue)) for queue in self._seen.queues)

    def _again(self) -> Iterator[Reading]:
        yield from ((queue.redelivered, _queue(queue)) for queue in self._seen.queues)

    def _oldest(self) -> Iterator[Reading]:
        yield from ((queue.oldest_age_s or 0.0, _queue(queue)) for queue in self._seen.queues)

    def _dead(self) -> Iterator[Reading]:
        for service, count in self._seen.dead.items():
            yield count, {"consumer_service": service}

    def _messages(self) -> Iterator[Reading]:
        for stream, info in self._seen.streams.items():
            yield info.state.messages, {"stream": stream}

    def _size(self) -> Iterator[Reading]:
        for stream, info in self._seen.streams.items():
            yield info.state.bytes, {"stream": stream}

    def _limit(self) -> Iterator[Reading]:
        for stream, info in self._seen.streams.items():
            yield max(0, info.config.max_bytes or 0), {"stream": stream}

    def _sequence(self) -> Iterator[Reading]:
        for stream, info in self._seen.streams.items():
            yield info.state.last_seq, {"stream": stream}

    def _heard_of(self) -> Iterator[tuple[AgentReported, str]]:
        """Return the agents that somebody would miss, with what they do."""
        now_s = self._clock.now().timestamp()
        for reported in list(self._agents()):
            silent_s = now_s - reported.at.ToMilliseconds() / 1000
            if reported.leaving or silent_s > FORGET_AFTER_S:
                continue
            gone = silent_s > GONE_AFTER_S
            yield reported, "gone" if gone else ("busy" if reported.running else "idle")

    def _states(self) -> Iterator[Reading]:
        counts = Counter(
            {(kind, state): 0 for kind in catalog.AGENTS for state in ("busy", "idle", "gone")}
        )
        counts.update((reported.kind, state) for reported, state in self._heard_of())
        for (kind, state), count in counts.items():
            yield count, {"kind": kind, "state": state}

    def _present(self) -> Iterator[tuple[AgentReported, Labels]]:
        for reported, state in self._heard_of():
            if state != "gone":
                yield reported, {"agent": reported.agent.id, "kind": reported.kind}

    def _running(self) -> Iterator[Reading]:
        yield from ((len(reported.running), labels) for reported, labels in self._present())

    def _capacity(self) -> Iterator[Reading]:
        yield from ((reported.capacity, labels) for reported, labels in self._present())

    def _disk(self) -> Iterator[Reading]:
        return self._told("disk_free_bytes")

    def _memory(self) -> Iterator[Reading]:
        return self._told("memory_free_bytes")

    def _load(self) -> Iterator[Reading]:
        return self._told("load_1m")

    def _told(self, what: str) -> Iterator[Reading]:
        for reported, labels in self._present():
            if what in reported.load:
                yield reported.load[what], labels


def _by_service(dead: StreamInfo) -> dict[str, int]:
    """Return how many dead letters each service has, also where it has none."""
    counts = dict.fromkeys(catalog.SERVICES, 0)
    for subject, count in (dead.state.subjects or {}).items():
        service = subject.split(".")[-2]
        counts[service] = counts.get(service, 0) + count
    return counts


def _queue(queue: QueueOut) -> Labels:
    return {
        "stream": queue.stream,
        "durable": queue.name,
        "event": queue.event,
        "consumer_service": queue.service,
        "pool": queue.pool,
    }


def _observer(
    read: Callable[[], Iterable[Reading]],
) -> Callable[[CallbackOptions], Iterator[Observation]]:
    def observe(_: CallbackOptions) -> Iterator[Observation]:
        for value, labels in read():
            yield Observation(value, labels)

    return observe
