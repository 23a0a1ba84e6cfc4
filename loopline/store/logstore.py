"""The stream under the commit log: publish with compare-and-set, read by subject, nothing else.

Reads are direct gets (ADR 0001): they need no consumer, so a service may read the log without the
right to make one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import nats.errors
import nats.js.errors
import orjson
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import PubAck

from loopline.errors import Conflict, LooplineError, Rejected, Transient

WRONG_LAST_SEQUENCE = 10071
EXPECTED_HEADER = "Nats-Expected-Last-Subject-Sequence"
IN_FLIGHT = 2000  # pipelined publishes that wait for their acks at once
PUBLISH_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
BATCH_MESSAGES = 500  # per direct get
TOO_MANY_SUBJECTS = "413"  # the server answers for at most 1,024 subjects at once


@dataclass(frozen=True, slots=True)
class Record:
    """One stored message."""

    subject: str
    sequence: int
    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Append:
    """One message to append; see `LogStore.append`."""

    subject: str
    data: bytes
    headers: Mapping[str, str]
    expected: int


class LogStore(Protocol):
    """An append-only stream with compare-and-set per subject."""

    async def append(
        self, subject: str, data: bytes, headers: Mapping[str, str], expected: int
    ) -> int:
        """Publish if the subject's last sequence is `expected` (0: none yet); return the new one.

        Raises:
            Conflict: It is not.
            Transient: No answer came: it may or may not have been stored.
        """
        ...

    async def append_many(self, appends: Sequence[Append]) -> list[int | LooplineError]:
        """Append each, many in flight; return the sequence or the error of each, in order."""
        ...

    async def last(self, pattern: str) -> list[Record]:
        """Return the last message of every subject that matches `pattern`, by sequence."""
        ...

    def read(self, patterns: Sequence[str], after: int = 0) -> AsyncIterator[Record]:
        """Yield the messages on `patterns` whose sequence is above `after`.

        In order, to the end.
        """
        ...

    async def last_sequence(self) -> int:
        """Return the sequence of the stream's last message, 0 if it is empty."""
        ...


class JetStreamLog:
    """A `LogStore` on one JetStream stream with `allow_direct`."""

    def __init__(self, client: Client, stream: str) -> None:
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=PUBLISH_TIMEOUT_S)
        self._stream = stream

    async def append(
        self, subject: str, data: bytes, headers: Mapping[str, str], expected: int
    ) -> int:
        """See `LogStore`."""
        headers = {**headers, EXPECTED_HEADER: str(expected)}
        try:
            # What `js.publish` does, without its objects: they cost a tenth of a commit.
            answer = await self._client.request(subject, data, PUBLISH_TIMEOUT_S, headers=headers)
            ack = orjson.loads(answer.data)
            if "error" in ack:
                raise nats.js.errors.APIError.from_error(ack["error"])
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
            raise publish_error(error, subject, expected) from error
        return int(ack["seq"])

    async def append_many(self, appends: Sequence[Append]) -> list[int | LooplineError]:
        """See `LogStore`."""
        results: list[int | LooplineError] = []
        for start in range(0, len(appends), IN_FLIGHT):
            window = appends[start : start + IN_FLIGHT]
            futures = [
                await self._js.publish_async(
                    a.subject, a.data, headers={**a.headers, EXPECTED_HEADER: str(a.expected)}
                )
                for a in window
            ]
            await asyncio.wait(futures, timeout=READ_TIMEOUT_S)
            results += [_outcome(future, a) for future, a in zip(futures, window, strict=True)]
        return results

    async def last(self, pattern: str) -> list[Record]:
        """See `LogStore`."""
        if "*" not in pattern and ">" not in pattern:
            return await self._last_of(pattern)
        try:
            return await self._direct({"multi_last": [pattern]})
        except _TooMany:
            by_subject = {record.subject: record async for record in self.read([pattern])}
            return sorted(by_subject.values(), key=lambda record: record.sequence)

    async def read(self, patterns: Sequence[str], after: int = 0) -> AsyncIterator[Record]:
        """See `LogStore`."""
        for pattern in patterns if len(patterns) == 1 else [">"]:
            while True:
                request = {"seq": after + 1, "next_by_subj": pattern, "batch": BATCH_MESSAGES}
                records = await self._direct(request)
                for record in records:
                    if len(patterns) == 1 or any(matches(p, record.subject) for p in patterns):
                        yield record
                if not records:
                    break
                after = records[-1].sequence

    async def last_sequence(self) -> int:
        """See `LogStore`."""
        try:
            return int((await self._js.stream_info(self._stream)).state.last_seq)
        except (nats.errors.Error, nats.js.errors.Error) as error:
            raise Transient(f"the bus does not answer: {error!r}") from error

    async def _last_of(self, subject: str) -> list[Record]:
        """Ask for one subject's last message: one request, no inbox of its own."""
        where = f"$JS.API.DIRECT.GET.{self._stream}.{subject}"
        try:
            message = await self._client.request(where, timeout=READ_TIMEOUT_S)
        except (nats.errors.Error, TimeoutError) as error:
            raise Transient(f"the log cannot be read: {error!r}") from error
        headers = message.headers or {}
        if "Nats-Sequence" not in headers:
            return _ended(headers, [])
        return [Record(subject, int(headers["Nats-Sequence"]), message.data, headers)]

    async def _direct(self, request: Mapping[str, object]) -> list[Record]:
        """Send one batched direct get; its replies end with a status message."""
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox)
        try:
            await self._client.publish(
                f"$JS.API.DIRECT.GET.{self._stream}", orjson.dumps(request), reply=inbox
            )
            records: list[Record] = []
            async with asyncio.timeout(READ_TIMEOUT_S):
                while True:
                    message = await subscription.next_msg(timeout=READ_TIMEOUT_S)
                    headers = message.headers or {}
                    if "Nats-Sequence" not in headers:
                        return _ended(headers, records)
                    records.append(
                        Record(
                            headers["Nats-Subject"],
                            int(headers["Nats-Sequence"]),
                            message.data,
                            headers,
                        )
                    )
        except (nats.errors.Error, TimeoutError) as error:
            raise Transient(f"the log cannot be read: {error!r}") from error
        finally:
            await subscription.unsubscribe()


class _TooMany(Exception):
    """More subjects match than one answer holds."""


def publish_error(error: Exception, subject: str, expected: int) -> LooplineError:
    """Return our error for one of a publish."""
    if isinstance(error, nats.js.errors.APIError):
        if error.err_code == WRONG_LAST_SEQUENCE:
            return Conflict(subject, expected)
        return Transient(f"the bus refused {subject}: {error.description}", subject=subject)
    if isinstance(error, nats.errors.MaxPayloadError):
        return Rejected(f"{subject}: the message is larger than the bus takes", subject=subject)
    return Transient(f"the bus did not confirm {subject}: {error!r}", subject=subject)


def _outcome(future: asyncio.Future[PubAck], append: Append) -> int | LooplineError:
    if not future.done():
        future.cancel()
        return Transient(f"the bus did not confirm {append.subject}", subject=append.subject)
    error = future.exception()
    if isinstance(error, Exception):
        return publish_error(error, append.subject, append.expected)
    return int(future.result().seq)


def _ended(headers: Mapping[str, str], records: list[Record]) -> list[Record]:
    status = headers.get("Status", "")
    if status in ("204", "404"):  # end of batch, or nothing there
        return records
    if status == TOO_MANY_SUBJECTS:
        raise _TooMany
    raise Transient(f"the log cannot be read: {status} {headers.get('Description', '')}")


def matches(pattern: str, subject: str) -> bool:
    """Tell whether `subject` matches a NATS subject `pattern` with `*` and `>`."""
    wanted, got = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return len(got) >= len(wanted) and all(
            w in ("*", g) for w, g in zip(wanted[:-1], got, strict=False)
        )
    return len(wanted) == len(got) and all(w in ("*", g) for w, g in zip(wanted, got, strict=True))
