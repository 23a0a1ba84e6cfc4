"""Queues with depth and age, and dead letters."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import ConsumerInfo

from loopline.clock import Clock
from loopline.contracts import catalog
from loopline.contracts.catalog import EVENTS, Event, Stream
from loopline.errors import NotFound, Rejected, Transient
from loopline.store.deadletters import DeadLetter, DeadLetters
from loopline.store.logstore import JetStreamLog
from services.console.adapters.people import iso
from services.console.bodies.runs import (
    DeadLetterDetailOut,
    DeadLetterOut,
    DeadLettersOut,
    QueueOut,
    QueuesOut,
)

STREAMS = (Stream.WORK, Stream.RELABEL, Stream.COMMITS)
"""Streams whose durables are queues of work; the last one's are reactions."""
KEPT_S = 1.0  # an answer is good for this long: pages of many browsers ask at once


class Queues:
    """What waits, and what nobody could do.

    Args:
        client: The bus; None in tests without one, which have no queues.
        workspace: Whose.
        clock: Time.
    """

    def __init__(self, client: Client | None, workspace: str, clock: Clock) -> None:
        self._client = client
        self._workspace = workspace
        self._clock = clock
        self._letters = DeadLetters(client, workspace) if client is not None else None
        self._kept: tuple[float, QueuesOut] | None = None
        self._asking = asyncio.Lock()

    async def queues(self) -> QueuesOut:
        """Return every queue, the deepest first."""
        async with self._asking:
            now_s = self._clock.monotonic_s()
            if self._kept is None or self._kept[0] < now_s:
                self._kept = (now_s + KEPT_S, await self._look())
            return self._kept[1]

    async def letters(self, service: str, limit: int) -> DeadLettersOut:
        """Return dead letters, the newest first."""
        if service and service not in catalog.SERVICES:
            raise Rejected(f"there is no service {service!r}")
        if self._letters is None:
            return DeadLettersOut(letters=[])
        found = await self._letters.list(service=service or "*", limit=limit)
        return DeadLettersOut(letters=[_letter_out(one) for one in found[::-1]])

    async def letter(self, sequence: int) -> DeadLetterDetailOut:
        """Return one dead letter with what was in it."""
        letter = await self._dead(sequence).show(sequence)
        told = _letter_out(letter).model_dump()
        return DeadLetterDetailOut(**told, headers=dict(letter.headers), body=letter.body())

    async def retry(self, sequence: int) -> DeadLetterOut:
        """Have a dead letter handled again."""
        return _letter_out(await self._dead(sequence).retry(sequence))

    async def discard(self, sequence: int) -> None:
        """Remove a dead letter; NotFound if it is not there."""
        await self._dead(sequence).show(sequence)
        await self._dead(sequence).discard(sequence)

    def _dead(self, sequence: int) -> DeadLetters:
        if self._letters is None:  # without a bus nothing dies
            raise NotFound(f"there is no dead letter {sequence}", sequence=sequence)
        return self._letters

    async def _look(self) -> QueuesOut:
        if self._client is None:
            return QueuesOut(queues=[], dead=0)
        js = self._client.jetstream()
        try:
            found = await asyncio.gather(*(js.consumers_info(stream) for stream in STREAMS))
            dead = (await js.stream_info(Stream.DEAD)).state.messages
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
            raise Transient(f"the bus does not answer: {error!r}") from error
        mine = [
            (str(stream), info, place)
            for stream, infos in zip(STREAMS, found, strict=True)
            for info in infos
            if (place := _place_of(info.name, self._workspace)) is not None
        ]
        ages = await asyncio.gather(*(self._age_s(*one) for one in mine))
        queues = [_queue_out(*one, age) for one, age in zip(mine, ages, strict=True)]
        queues.sort(key=lambda queue: (-(queue.waiting + queue.in_flight), queue.name))
        return QueuesOut(queues=queues, dead=dead)

    async def _age_s(self, stream: str, info: ConsumerInfo, place: _Place) -> float | None:
        """Return how old the oldest message is that is not done."""
        if not (info.num_pending or info.num_ack_pending) or self._client is None:
            return None
        floor = info.ack_floor.stream_seq if info.ack_floor else 0
        subject = info.config.filter_subject or place.event.subject(self._workspace)
        async for record in JetStreamLog(self._client, stream).read([subject], floor):
            at = datetime.fromisoformat(record.headers["Nats-Time-Stamp"])
            return max(0.0, (self._clock.now() - at.astimezone(UTC)).total_seconds())
        return None


@dataclass(frozen=True, slots=True)
class _Place:
    """A durable: whose place in the queue of which event."""

    event: Event[Any]
    service: str
    pool: str


def _place_of(durable: str, workspace: str) -> _Place | None:
    """Return what a durable's name says; None if it is of another workspace."""
    for event in EVENTS:
        for one in event.durables:
            name = event.durable_name(one.service, workspace, "")
            if durable == name:
                return _Place(event, one.service, "")
            if "pool" in event.tokens and durable.startswith(name):
                return _Place(event, one.service, durable.removeprefix(name))
    return None


def _queue_out(stream: str, info: ConsumerInfo, place: _Place, age_s: float | None) -> QueueOut:
    return QueueOut(
        name=info.name,
        stream=stream,
        event=place.event.key,
        service=place.service,
        pool=place.pool,
        waiting=info.num_pending or 0,
        in_flight=info.num_ack_pending or 0,
        redelivered=info.num_redelivered or 0,
        workers_waiting=info.num_waiting or 0,
        oldest_age_s=age_s,
    )


def _letter_out(letter: DeadLetter) -> DeadLetterOut:
    return DeadLetterOut(
        sequence=letter.sequence,
        at=iso(letter.at),
        service=letter.service,
        event=letter.event,
        reason=letter.reason,
        stream=letter.stream,
        subject=letter.subject,
        attempts=letter.attempts,
        can_retry=letter.retryable,
    )
