"""Reads the COMMITS stream in order, from any sequence, to its end or for ever.

An ordered, ephemeral pull consumer: nothing is acknowledged, the reader keeps its own position, and
a gap in the consumer's numbers, a lost connection or a restarted server makes it begin again right
after the last message it handed over. `fetch` of nats-py is not used: it holds a single live
message back until its whole batch or its timeout is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import nats.errors
import orjson
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError, NotFoundError

from loopline.contracts import cloudevents
from loopline.contracts.catalog import COMMITS, PREFIX, Event, Stream
from loopline.errors import Rejected, Transient
from loopline.store.commits import Committed
from loopline.store.logstore import LogStore, Record

FETCH_MESSAGES = 500  # per pull request, and at most per batch
IDLE_S = 2.0  # without a message for this long, the reader checks where the stream is
INACTIVE_THRESHOLD_S = 60.0  # after which the server forgets the consumer of a reader that is gone
RETRY_S = 0.5
REASON_LENGTH_MAX = 500  # characters
_LOST = (nats.errors.Error, APIError, TimeoutError, ConnectionError, OSError)

_BY_ENTITY = {event.template.split(".")[2]: event for event in COMMITS}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A message of the stream that is no commit of ours: kept out, and said so."""

    sequence: int
    subject: str
    type: str
    reason: str


@dataclass(frozen=True, slots=True)
class LogBatch:
    """What the stream holds at sequences in `(after, through]`.

    Args:
        after: The sequence this batch follows; nothing that the reader asked for lies between.
        through: The last sequence it covers.
        commits: The commits, oldest first; none if the reader only learnt that nothing came.
        undecodable: Messages that could not be read.
    """

    after: int
    through: int
    commits: tuple[Committed[Any], ...] = ()
    undecodable: tuple[Undecodable, ...] = ()


class LogReader(Protocol):
    """What a projector asks of the log."""

    async def last_sequence(self) -> int:
        """Return the stream's last sequence, whatever its subject; 0 if it is empty."""
        ...

    def read(self, after: int, until: int | None = None) -> AsyncGenerator[LogBatch, None]:
        """Yield everything after sequence `after`, through `until`, or for ever if that is None.

        With `until` the last batch's `through` equals it, whatever the stream holds there.
        """
        ...


def decode(record: Record) -> Committed[Any] | Undecodable:
    """Return the commit in a stored message, or why there is none. Never raises."""
    tokens = record.subject.split(".", 3)
    event = _BY_ENTITY.get(tokens[2]) if len(tokens) > 3 else None
    type_ = record.headers.get("ce-type", "")
    try:
        if event is None:
            raise Rejected(f"{record.subject} is not the subject of a commit")
        message = cloudevents.decode(record.headers, record.data, event.message).message
    except (Rejected, ValueError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"[:REASON_LENGTH_MAX]
        return Undecodable(record.sequence, record.subject, type_, reason)
    return Committed(message, record.subject, record.sequence)


class StoreReader:
    """A `LogReader` over a `LogStore`: for programs that may make no consumer, and for tests.

    It cannot wait for news: past the end it asks again every `idle_s`.
    """

    def __init__(
        self,
        store: LogStore,
        workspace: str,
        events: Sequence[Event[Any]] = COMMITS,
        *,
        idle_s: float = IDLE_S,
    ) -> None:
        self._store = store
        self._patterns = [event.subject(workspace) for event in events]
        self._idle_s = idle_s

    async def last_sequence(self) -> int:
        """Return the stream's last sequence."""
        return await self._store.last_sequence()

    async def read(self, after: int, until: int | None = None) -> AsyncGenerator[LogBatch, None]:
        """Yield batches as `LogReader.read` says."""
        while True:
            end = await self._store.last_sequence() if until is None else until
            async for batch in self._read_to(after, end):
                after = batch.through
                yield batch
            if until is not None:
                return
            await asyncio.sleep(self._idle_s)

    async def _read_to(self, after: int, end: int) -> AsyncGenerator[LogBatch, None]:
        read: list[Committed[Any] | Undecodable] = []
        async for record in self._store.read(self._patterns, after):
            if record.sequence > end:
                break
            read.append(decode(record))
            if len(read) == FETCH_MESSAGES:
                yield _batch(after, record.sequence, read)
                after, read = record.sequence, []
        if end > after:
            yield _batch(after, end, read)


class StreamReader:
    """A `LogReader` over JetStream.

    Args:
        js: A context on a connection that reconnects for ever.
        workspace: Whose commits; "*" for all.
        events: Which commits; all by default.
        idle_s: How long nothing may come before the reader looks where the stream is.
    """

    def __init__(
        self,
        js: JetStreamContext,
        workspace: str,
        events: Sequence[Event[Any]] = COMMITS,
        *,
        idle_s: float = IDLE_S,
    ) -> None:
        self._js = js
        self._events = tuple(events)
        # The server is ten times slower with several filters than with one: what is not asked for
        # is left out here.
        subject = events[0].subject(workspace) if len(events) == 1 else f"{PREFIX}.{workspace}.>"
        self._subject = subject
        self._idle_s = idle_s

    async def last_sequence(self) -> int:
        """Return the stream's last sequence.

        Raises:
            Transient: The server does not answer.
        """
        try:
            info = await self._js.stream_info(Stream.COMMITS)
        except _LOST as error:
            raise Transient(f"the stream {Stream.COMMITS} does not answer: {error}") from error
        return int(info.state.last_seq)

    async def read(self, after: int, until: int | None = None) -> AsyncGenerator[LogBatch, None]:
        """Yield batches as `LogReader.read` says; reconnects by itself."""
        while until is None or after < until:
            try:
                pull = _Pull(self._js, self._subject, after, until, self._idle_s)
                async with aclosing(pull.batches()) as batches:
                    async for batch in batches:
                        after = batch.through
                        yield self._asked_for(batch)
            except _LOST as error:
                log.warning(
                    "log_reader_lost", after=after, error=f"{type(error).__name__}: {error}"
                )
                await asyncio.sleep(RETRY_S)

    def _asked_for(self, batch: LogBatch) -> LogBatch:
        if len(self._events) in (1, len(COMMITS)):
            return batch
        messages = tuple(event.message for event in self._events)
        commits = tuple(one for one in batch.commits if isinstance(one.message, messages))
        return replace(batch, commits=commits)


class _Restart(nats.errors.Error):
    """The consumer skipped something, or is gone."""


class _Pull:
    """One ephemeral consumer, until it is exhausted (`until`) or lost."""

    def __init__(
        self,
        js: JetStreamContext,
        subject: str,
        after: int,
        until: int | None,
        idle_s: float,
    ) -> None:
        self._js = js
        self._nc = js._nc  # nats-py offers no public way to pull without its fetch()
        self._inbox = self._nc.new_inbox()
        self._subject = subject
        self._after = after
        self._until = until
        self._idle_s = idle_s
        self._consumer = uuid.uuid4().hex
        self._arrived: list[Msg] = []
        self._complete = asyncio.Event()  # what arrived is all that comes now
        self._received = 0  # messages of this consumer, handed over
        self._wanted = 0  # messages that the open pull request may still bring

    async def batches(self) -> AsyncGenerator[LogBatch, None]:
        subscription = await self._nc.subscribe(self._inbox, cb=self._on_message)
        try:
            pending = await self._create()
            if not pending and self._until is not None:
                yield self._nothing_through(self._until)
            while not self._exhausted():
                batch = await self._next()
                if batch is not None:
                    yield batch
        finally:
            await self._forget(subscription)

    async def _on_message(self, message: Msg) -> None:
        self._arrived.append(message)
        if (
            _status(message)
            or len(self._arrived) >= self._wanted
            or _position(message).pending == 0
        ):
            self._complete.set()

    def _exhausted(self) -> bool:
        return self._until is not None and self._after >= self._until

    def _nothing_through(self, sequence: int) -> LogBatch:
        batch = LogBatch(self._after, sequence)
        self._after = sequence
        return batch

    async def _create(self) -> int:
        config = ConsumerConfig(
            name=self._consumer,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._after + 1,
            ack_policy=AckPolicy.NONE,
            filter_subject=self._subject,
            inactive_threshold=INACTIVE_THRESHOLD_S,
            max_deliver=1,
            mem_storage=True,
            num_replicas=1,
        )
        info = await self._js.add_consumer(Stream.COMMITS, config)
        return info.num_pending or 0

    async def _next(self) -> LogBatch | None:
        """Wait for what comes first: a full batch, the end of the log, or silence."""
        if self._wanted == 0:
            await self._request()
        # A request that ends with nothing is answered after `idle_s`; longer silence is a lost one.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._complete.wait(), 2 * self._idle_s)
        messages, self._arrived = self._arrived, []
        self._complete.clear()
        data = [message for message in messages if not _status(message)]
        ended = not messages or len(data) < len(messages)
        self._wanted = 0 if ended else max(0, self._wanted - len(data))
        if not data:
            return await self._idle()
        if self._wanted == 0:
            await self._request()  # comes while this batch is applied
        return self._batch(data)

    async def _request(self) -> None:
        request = {"batch": FETCH_MESSAGES, "expires": int(self._idle_s * 1e9)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{Stream.COMMITS}.{self._consumer}"
        self._wanted = FETCH_MESSAGES
        await self._nc.publish(subject, orjson.dumps(request), reply=self._inbox)

    def _batch(self, messages: list[Msg]) -> LogBatch:
        read: list[Committed[Any] | Undecodable] = []
        through = self._after
        for message in messages:
            position = _position(message)
            self._received += 1
            if position.consumer_sequence != self._received:
                raise _Restart
            if self._until is not None and position.stream_sequence > self._until:
                through = self._until
                break
            through = position.stream_sequence
            read.append(
                decode(Record(message.subject, through, message.data, message.headers or {}))
            )
        else:
            if self._until is not None and position.pending == 0:
                through = self._until  # the rest up to there is not ours to read
        batch = _batch(self._after, through, read)
        self._after = through
        return batch

    async def _idle(self) -> LogBatch | None:
        """Nothing came: find out whether that is so, and up to where."""
        last = int((await self._js.stream_info(Stream.COMMITS)).state.last_seq)
        info = await self._js.consumer_info(Stream.COMMITS, self._consumer)
        delivered = info.delivered.consumer_seq if info.delivered else 0
        if self._arrived:
            return None
        if delivered > self._received:
            raise _Restart  # handed to a connection that was lost
        through = last if self._until is None else self._until
        if info.num_pending or through <= self._after:
            return None
        # The server stores a message first and tells its consumers later: only the store knows.
        if self._until is None and await self._is_more_stored():
            return None
        return self._nothing_through(through)

    async def _is_more_stored(self) -> bool:
        try:
            await self._js.get_msg(Stream.COMMITS, self._after + 1, self._subject, next=True)
        except NotFoundError:
            return False
        return True

    async def _forget(self, subscription: Subscription) -> None:
        try:
            await subscription.unsubscribe()
            await self._js.delete_consumer(Stream.COMMITS, self._consumer)
        except (*_LOST, NotFoundError):
            pass  # the server forgets it by itself


def _status(message: Msg) -> bool:
    return not message.data and bool(message.headers) and "Status" in (message.headers or {})


class _Position(NamedTuple):
    stream_sequence: int
    consumer_sequence: int
    pending: int  # messages that this consumer may still bring


def _position(message: Msg) -> _Position:
    """Return where a message stands, from its reply subject."""
    # $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<stream sequence>.
    # <consumer sequence>.<time>.<pending>[.<random>]
    tokens = message.reply.split(".")
    at = 5 if len(tokens) == 9 else 7
    return _Position(int(tokens[at]), int(tokens[at + 1]), int(tokens[at + 3]))


def _batch(after: int, through: int, read: Sequence[Committed[Any] | Undecodable]) -> LogBatch:
    commits = tuple(one for one in read if isinstance(one, Committed))
    return LogBatch(after, through, commits, tuple(o for o in read if isinstance(o, Undecodable)))
