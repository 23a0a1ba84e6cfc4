"""The stream under the commit log: publish with compare-and-set, read by subject, nothing else.

Reads are direct gets (ADR 0001): they need no consumer, so a service may read the log without the right
to make one.
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

from loopline.errors import Conflict, Rejected, Transient

WRONG_LAST_SEQUENCE = 10071
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


class LogStore(Protocol):
    """An append-only stream with compare-and-set per subject."""

    async def append(self, subject: str, data: bytes, headers: Mapping[str, str], expected: int) -> int:
        """Publish if the subject's last sequence is `expected` (0: none yet); return the new one.

        Raises:
            Conflict: It is not.
            Transient: No answer came: it may or may not have been stored.
        """
        ...

    async def last(self, pattern: str) -> list[Record]:
        """Return the last message of every subject that matches `pattern`, by sequence."""
        ...

    def read(self, patterns: Sequence[str], after: int = 0) -> AsyncIterator[Record]:
        """Yield the messages on `patterns` whose sequence is above `after`, in order, to the end."""
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

    async def append(self, subject: str, data: bytes, headers: Mapping[str, str], expected: int) -> int:
        """See `LogStore`."""
        headers = {**headers, "Nats-Expected-Last-Subject-Sequence": str(expected)}
        try:
            ack = await self._js.publish(subject, data, stream=self._stream, headers=headers)
        except nats.js.errors.APIError as error:
            if error.err_code == WRONG_LAST_SEQUENCE:
                raise Conflict(subject, expected) from error
            raise Transient(f"the bus refused {subject}: {error.description}", subject=subject) from error
        except nats.errors.MaxPayloadError as error:
            raise Rejected(f"{subject}: {len(data)} bytes are more than the bus takes") from error
        except (nats.errors.Error, TimeoutError, nats.js.errors.Error) as error:
            raise Transient(f"the bus did not confirm {subject}: {error!r}", subject=subject) from error
        return int(ack.seq)

    async def last(self, pattern: str) -> list[Record]:
        """See `LogStore`."""
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
