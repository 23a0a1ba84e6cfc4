"""Dead letters: what was refused or exhausted its deliveries, with the reason; and putting it back.

The runtime buries what a handler refused, the router what killed its worker every time
(`Loopline-Dead-*` headers say why, whence and how often). A command goes back on the subject it
came from. A commit cannot, since publishing it again would make another version: it goes to the one
service whose reaction failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import nats.errors
import nats.js.errors
from google.protobuf import json_format
from nats.aio.client import Client
from nats.js import JetStreamContext

from loopline.contracts import catalog, cloudevents
from loopline.contracts.catalog import BY_TYPE, Stream
from loopline.errors import LooplineError, NotFound, Rejected, Transient
from loopline.runtime.bus import JetStreamOutlet, Outlet
from loopline.store.logstore import JetStreamLog, LogStore, Record

LIST_LIMIT = 1000  # letters returned at once
SHOWN_BYTES = 4096  # of a body that is no message of ours
QUEUES = (Stream.WORK, Stream.RELABEL)
_PREFIX = "Loopline-Dead-"
_GONE = "no message found"  # the server has one error code for all that can go wrong here


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that nobody could handle.

    Args:
        sequence: Its number among the dead, by which it is shown and retried.
        at: When it died.
        service: Whose handler it was for.
        event: The handler's event, as in the catalog: "import_images".
        reason: Why it died.
        stream: The stream it was on.
        stream_sequence: Its sequence there.
        subject: The subject it was on.
        consumer: The durable that gave it up.
        attempts: How often it was delivered.
        headers: Its own headers, without those of its death.
        data: Its body.
    """

    sequence: int
    at: datetime
    service: str
    event: str
    reason: str
    stream: str
    stream_sequence: int
    subject: str
    consumer: str
    attempts: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def retryable(self) -> bool:
        """Whether it can be tried again.

        A command on its subject, a reaction on its service's own.
        """
        return self.stream in (*QUEUES, Stream.COMMITS)

    def body(self) -> dict[str, Any]:  # JSON
        """Return the message as JSON; what cannot be decoded is shown as text, with the reason."""
        event = BY_TYPE.get(self.headers.get("ce-type", ""))
        try:
            if event is None:
                raise Rejected(f"the type {self.headers.get('ce-type', '')!r} is not known")
            envelope = cloudevents.decode(self.headers, self.data, event.message)
        except LooplineError as error:
            text = self.data[:SHOWN_BYTES].decode(errors="replace")
            return {"undecodable": error.message, "text": text}
        return json_format.MessageToDict(envelope.message, preserving_proto_field_name=True)


class DeadLetters:
    """The stream DEAD of one workspace.

    Args:
        client: The bus, as a user who may read and remove dead letters.
        workspace: The workspace.
        letters: The stream; that of `client` if None.
        outlet: Publishes; on `client` if None.
    """

    def __init__(
        self,
        client: Client,
        workspace: str,
        *,
        letters: LogStore | None = None,
        outlet: Outlet | None = None,
    ) -> None:
        self._js = client.jetstream()
        self._workspace = workspace
        self._letters = letters or JetStreamLog(client, Stream.DEAD)
        self._outlet = outlet or JetStreamOutlet(client)

    async def list(self, *, service: str = "*", limit: int = LIST_LIMIT) -> list[DeadLetter]:
        """Return the newest dead letters, oldest of them first.

        Args:
            service: Those of one service; all by default.
            limit: At most this many.
        """
        subject = catalog.dead_subject(self._workspace, service, "*")
        found = [_letter(record) async for record in self._letters.read([subject])]
        return found[-limit:]

    async def show(self, sequence: int) -> DeadLetter:
        """Return one dead letter.

        Raises:
            NotFound: There is none of that number.
        """
        subject = catalog.dead_subject(self._workspace, "*", "*")
        async for record in self._letters.read([subject], after=sequence - 1):
            if record.sequence == sequence:
                return _letter(record)
            break
        raise NotFound(f"there is no dead letter {sequence}", sequence=sequence)

    async def retry(self, sequence: int) -> DeadLetter:
        """Have a dead letter handled again, and remove it from the dead.

        A command goes back on the subject it came from; a reaction to a commit goes to the one
        service that failed at it, for a commit is never published twice.

        Raises:
            NotFound: There is none of that number.
            Rejected: It was on no queue and is no reaction to a commit.
            Transient: The bus does not confirm; nothing is lost.
        """
        letter = await self.show(sequence)
        if not letter.retryable:
            raise Rejected(
                f"dead letter {sequence} was on {letter.stream}, which cannot be retried"
            )
        subject, stream = letter.subject, letter.stream
        own: dict[str, str] = {}
        if letter.stream == Stream.COMMITS:
            subject = catalog.retry_subject(self._workspace, letter.service, letter.event)
            stream = Stream.WORK
            own = {f"{_PREFIX}Sequence": str(letter.stream_sequence)}
        # An id of its own: the first message's may still be within the stream's window.
        headers = {**letter.headers, **own, "Nats-Msg-Id": f"retry/{sequence}"}
        await self._outlet.publish(subject, letter.data, headers, stream)
        await self.discard(sequence)
        return letter

    async def discard(self, sequence: int) -> None:
        """Remove a dead letter; nothing happens if it is gone already."""
        await remove_message(self._js, Stream.DEAD, sequence)


async def remove_message(js: JetStreamContext, stream: str, sequence: int) -> None:
    """Remove a message from a stream; nothing happens if it is gone already.

    Raises:
        Transient: The bus does not confirm.
    """
    try:
        await js.delete_msg(stream, sequence)
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
        gone = isinstance(error, nats.js.errors.APIError) and _GONE in (error.description or "")
        if not gone:
            raise Transient(f"{stream}/{sequence} was not removed: {error!r}") from error


def _letter(record: Record) -> DeadLetter:
    headers = dict(record.headers)
    death = {
        name.removeprefix(_PREFIX): value
        for name, value in headers.items()
        if name.startswith(_PREFIX)
    }
    tokens = record.subject.split(".")
    return DeadLetter(
        sequence=record.sequence,
        at=datetime.fromisoformat(headers["Nats-Time-Stamp"]),
        service=tokens[-2],
        event=tokens[-1],
        reason=death.get("Reason", ""),
        stream=death.get("Stream", ""),
        stream_sequence=int(death.get("Sequence", 0)),
        subject=death.get("Subject", ""),
        consumer=death.get("Consumer", ""),
        attempts=int(death.get("Attempts", 0)),
        headers={n: v for n, v in headers.items() if not n.startswith((_PREFIX, "Nats-"))},
        data=record.data,
    )
