"""In-memory twins of the bus and storage: services under test without a server.

They keep the semantics that code relies on: compare-and-set per subject, last message per subject,
de-duplication by id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.message import Message

from loopline.contracts import cloudevents
from loopline.contracts.catalog import BY_TYPE, Event, Stream
from loopline.errors import Conflict, LooplineError
from loopline.runtime.processing import Delivery
from loopline.runtime.service import Service
from loopline.runtime.settings import ServiceSettings
from loopline.store.blobs import MemoryBlobs
from loopline.store.logstore import EXPECTED_HEADER, Append, Record, matches

S = TypeVar("S", bound=Service)
M = TypeVar("M", bound=Message)


class MemoryLog:
    """A `LogStore` in a list."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._last: dict[str, Record] = {}

    async def append(
        self, subject: str, data: bytes, headers: Mapping[str, str], expected: int
    ) -> int:
        """See `LogStore`."""
        last = self._last.get(subject)
        if (last.sequence if last else 0) != expected:
            raise Conflict(subject, expected)
        return self.add(subject, data, headers)

    async def append_many(self, appends: Sequence[Append]) -> list[int | LooplineError]:
        """See `LogStore`."""
        results: list[int | LooplineError] = []
        for a in appends:
            try:
                results.append(await self.append(a.subject, a.data, a.headers, a.expected))
            except LooplineError as error:
                results.append(error)
        return results

    def add(self, subject: str, data: bytes, headers: Mapping[str, str]) -> int:
        """Append without any expectation."""
        stamp = {"Nats-Time-Stamp": datetime.now(UTC).isoformat()}
        record = Record(subject, len(self.records) + 1, data, stamp | dict(headers))
        self.records.append(record)
        self._last[subject] = record
        return record.sequence

    async def last(self, pattern: str) -> list[Record]:
        """See `LogStore`."""
        found = [r for subject, r in self._last.items() if matches(pattern, subject)]
        return sorted(found, key=lambda record: record.sequence)

    async def read(self, patterns: Sequence[str], after: int = 0) -> AsyncIterator[Record]:
        """See `LogStore`."""
        for record in list(self.records[after:]):
            if any(matches(pattern, record.subject) for pattern in patterns):
                yield record

    async def last_sequence(self) -> int:
        """See `LogStore`."""
        return len(self.records)


class MemoryBus:
    """Every stream in memory; an `Outlet` that keeps what was published."""

    def __init__(self) -> None:
        self.streams: dict[str, MemoryLog] = defaultdict(MemoryLog)
        self._ids: set[tuple[str, str]] = set()

    async def publish(
        self, subject: str, data: bytes, headers: Mapping[str, str], stream: str
    ) -> None:
        """See `Outlet`."""
        key = (str(stream), headers.get("Nats-Msg-Id", ""))
        if key[1] and key in self._ids:
            return
        log = self.streams[str(stream)]
        if EXPECTED_HEADER in headers:
            expected = int(headers[EXPECTED_HEADER])
            await log.append(subject, data, headers, expected)
        else:
            log.add(subject, data, headers)
        self._ids.add(key)

    def sent(self, event: Event[M]) -> list[M]:
        """Return the messages of `event` published so far, in order."""
        records = self.streams[str(event.stream)].records
        return [
            event.message.FromString(record.data)
            for record in records
            if record.headers.get("ce-type") == event.type
        ]


def memory_service(
    service_class: type[S],
    settings: ServiceSettings,
    bus: MemoryBus,
    blobs: MemoryBlobs,
    **kwargs: Any,
) -> S:
    """Return a service over in-memory twins; call its handlers directly, with `delivery()`."""
    return service_class(
        settings,
        commits=bus.streams[str(Stream.COMMITS)],
        events=bus.streams[str(Stream.EVENTS)],
        outlet=bus,
        blobs=blobs,
        **kwargs,
    )


def delivery(sequence: int = 1, attempt: int = 1, source: str = "test") -> Delivery:
    """Return what a handler is told of a message beside its body."""
    return Delivery(f"event-{sequence}", source, "test.subject", sequence, attempt)


async def pump(bus: MemoryBus, *services: Service, limit: int = 10_000) -> int:
    """Hand every published message to the services' handlers until none is left; return how many.

    A small, deterministic stand-in for the consumers: order of publication, one at a time.
    """
    handlers = _handlers(services)
    done: set[tuple[str, int]] = set()
    count = 0
    while (found := _next(bus, done)) is not None and count < limit:
        stream, record = found
        done.add((stream, record.sequence))
        event = BY_TYPE[record.headers["ce-type"]]
        for handler in handlers[event.key]:
            envelope = cloudevents.decode(record.headers, record.data, event.message)
            await handler(envelope.message, delivery(record.sequence))
            count += 1
    return count


def _handlers(services: Sequence[Service]) -> dict[str, list[Any]]:
    handlers: dict[str, list[Any]] = defaultdict(list)
    for service in services:
        for name, event in service.reactions().items():
            handlers[event.key].append(getattr(service, name))
        for name, (event, _) in service.works().items():
            handlers[event.key].append(getattr(service, name))
    return handlers


def _next(bus: MemoryBus, done: set[tuple[str, int]]) -> tuple[str, Record] | None:
    for stream in (Stream.COMMITS, Stream.WORK, Stream.RELABEL):
        for record in bus.streams[str(stream)].records:
            if (str(stream), record.sequence) not in done:
                return str(stream), record
    return None


class ManualClock:
    """A clock that moves when told to."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._start = start

    def now(self) -> datetime:
        """See `Clock`."""
        return self._now

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return (self._now - self._start).total_seconds()

    def advance(self, seconds: float) -> None:
        """Move on."""
        self._now += timedelta(seconds=seconds)
