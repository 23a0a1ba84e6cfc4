"""The commit log: the last message on a subject IS the head of that artefact.

Decides what a commit is, how writers race (compare-and-set) and how a redelivered one finds its own work
(ADR 0001). Leaves to others what is in the versions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from loopline.clock import Clock, SystemClock
from loopline.contracts import ArtefactRef, Commit, cloudevents
from loopline.contracts.catalog import BY_TYPE, Event
from loopline.errors import Conflict, LooplineError, NotFound, Transient
from loopline import tracing
from loopline.failpoints import failpoint
from loopline.store.logstore import LogStore, Record

MAX_ATTEMPTS = 20
"""Lost races of one commit before it gives up with Conflict."""

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Committed(Generic[M]):
    """A commit as it stands in the log."""

    message: M
    subject: str
    sequence: int

    @property
    def commit(self) -> Commit:
        """The commit's head: version, parent, run."""
        head: Commit = self.message.commit  # type: ignore[attr-defined]  # every commit message has it
        return head

    @property
    def ref(self) -> ArtefactRef:
        """The committed version."""
        return self.commit.artefact


class Unchanged(LooplineError):
    """Raised by a builder: what it would commit is what is there."""


Build = Callable[["Committed[M] | None"], Awaitable[M]]


class CommitLog:
    """Reads and writes commits of one workspace."""

    def __init__(
        self, store: LogStore, workspace: str, *, source: str, clock: Clock | None = None
    ) -> None:
        self.store = store
        self.workspace = workspace
        self._source = source
        self._clock = clock or SystemClock()

    async def head(self, event: Event[M], **tokens: str) -> Committed[M] | None:
        """Return the last commit on the subject, or None if there is none yet."""
        found = await self.store.last(event.subject(self.workspace, **tokens))
        return decoded(event, found[-1]) if found else None

    async def heads(self, event: Event[M], **tokens: str) -> list[Committed[M]]:
        """Return the last commit of every subject of `event`; tokens left out match anything."""
        found = await self.store.last(event.subject(self.workspace, **tokens))
        return [decoded(event, record) for record in found]

    async def history(self, event: Event[M], **tokens: str) -> list[Committed[M]]:
        """Return every commit on the subject, oldest first."""
        subject = event.subject(self.workspace, **tokens)
        return [decoded(event, record) async for record in self.store.read([subject])]

    async def version(self, event: Event[M], ref: ArtefactRef, **tokens: str) -> Committed[M]:
        """Return the commit that `ref` names: by digest, else by version, else the head.

        Where the same content was committed twice (a restore), a version number decides.

        Raises:
            NotFound: There is none.
        """
        if not ref.digest and not ref.version:
            head = await self.head(event, **tokens)
            if head is not None:
                return head
        else:
            for found in reversed(await self.history(event, **tokens)):
                if _names(ref, found.ref):
                    return found
        wanted = f"@v{ref.version}" if ref.version else f"@{ref.digest[:12]}" if ref.digest else ""
        kind = event.key.rpartition("_")[0].replace("_", " ")
        raise NotFound(f"there is no {kind} {ref.name or tokens}{wanted}", name=ref.name)

    async def find_run(self, event: Event[M], run_id: str, **tokens: str) -> Committed[M] | None:
        """Return the commit that the run made on this subject, however long ago; None if it made none."""
        for found in reversed(await self.history(event, **tokens)):
            if found.commit.run.id == run_id:
                return found
        return None

    async def commit(self, event: Event[M], build: Build[M], **tokens: str) -> Committed[M]:
        """Publish what `build(head)` returns as the next version.

        The builder sets kind, name and digest of `commit.artefact`, `commit.run` and `commit.summary`;
        the log sets the rest. If another writer wins, the builder is called again with the new head. If
        the builder's run is already in the history, that commit is returned and nothing is published.

        Raises:
            Conflict: Other writers won `MAX_ATTEMPTS` times.
            Transient: The bus did not confirm, and the log does not show the commit.
        """
        subject = event.subject(self.workspace, **tokens)
        head = await self.head(event, **tokens)
        for _ in range(MAX_ATTEMPTS):
            try:
                message = await build(head)
            except Unchanged:
                if head is None:
                    raise
                return head
            self._complete(message, head)
            run_id = message.commit.run.id  # type: ignore[attr-defined]
            if head and (own := await self._own(event, head, run_id, tokens)):
                return own
            failpoint("after_write")
            try:
                return await self._publish(event, subject, message, head.sequence if head else 0)
            except Conflict:
                head = await self.head(event, **tokens)
            except Transient:
                if own := await self.find_run(event, run_id, **tokens):
                    return own
                raise
        raise Conflict(subject, head.sequence if head else 0)

    async def read(self, events: Sequence[Event[Any]], after: int = 0) -> AsyncIterator[Committed[Any]]:
        """Yield the commits of `events` above sequence `after`, in order, to the log's end."""
        patterns = [event.subject(self.workspace) for event in events]
        async for record in self.store.read(patterns, after):
            yield decoded(BY_TYPE[record.headers["ce-type"]], record)

    async def _own(
        self, event: Event[M], head: Committed[M], run_id: str, tokens: dict[str, str]
    ) -> Committed[M] | None:
        if head.commit.run.id == run_id:
            return head
        return await self.find_run(event, run_id, **tokens)

    def _complete(self, message: Message, head: Committed[M] | None) -> None:
        commit: Commit = message.commit  # type: ignore[attr-defined]
        commit.workspace = self.workspace
        commit.artefact.version = 1
        commit.ClearField("parent")
        commit.parent_sequence = 0
        if head is not None:
            commit.artefact.version = head.ref.version + 1
            commit.parent.CopyFrom(head.ref)
            commit.parent_sequence = head.sequence
        commit.committed_at.CopyFrom(timestamp(self._clock))

    async def _publish(
        self, event: Event[M], subject: str, message: M, expected: int
    ) -> Committed[M]:
        with tracing.publishing(subject, event.key) as trace:
            commit: Commit = message.commit  # type: ignore[attr-defined]
            headers, body = cloudevents.encode(
                message, source=self._source, time=self._clock.now(), trace=trace,
                id=f"{commit.artefact.name}@{commit.artefact.version}/{commit.run.id[:16]}",
            )  # fmt: skip
            sequence = await self.store.append(subject, body, headers, expected)
        failpoint("after_publish")
        return Committed(message, subject, sequence)


def timestamp(clock: Clock) -> Timestamp:
    """Return the present moment as a protobuf timestamp."""
    now = Timestamp()
    now.FromDatetime(clock.now())
    return now


def decoded(event: Event[M], record: Record) -> Committed[M]:
    """Return the commit in a stored message."""
    return Committed(event.message.FromString(record.data), record.subject, record.sequence)


def _names(ref: ArtefactRef, found: ArtefactRef) -> bool:
    if ref.version and ref.version != found.version:
        return False
    return not ref.digest or ref.digest == found.digest
