"""The commit log: the last message on a subject IS the head of that artefact.

Decides what a commit is, how writers race (compare-and-set) and how a redelivered one finds its own
work (ADR 0001). Leaves to others what is in the versions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from loopline import tracing
from loopline.clock import Clock, SystemClock
from loopline.contracts import ArtefactRef, Commit, cloudevents
from loopline.contracts.catalog import BY_TYPE, Event
from loopline.errors import Conflict, LooplineError, NotFound, Transient
from loopline.failpoints import failpoint
from loopline.store.logstore import Append, LogStore, Record

MAX_ATTEMPTS = 20
"""Lost races of one commit before it gives up with Conflict."""

SUBJECTS_KNOWN = 512
"""Subjects whose history a process remembers, the last ones used."""

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


class _Known(Generic[M]):
    """What this process has seen of one subject: its head, and which run made which commit.

    May be behind, never wrong: the compare-and-set of the next publish finds out.
    """

    def __init__(self) -> None:
        self.head: Committed[M] | None = None
        self.runs: dict[str, int] = {}  # sequences, not messages: a history may be long

    @property
    def sequence(self) -> int:
        """The head's stream sequence; 0 if there is none."""
        return self.head.sequence if self.head else 0

    def add(self, committed: Committed[M]) -> None:
        """Remember a commit, whichever of us saw it first."""
        if committed.sequence > self.sequence:
            self.head = committed
        self.runs[committed.commit.run.id] = committed.sequence


class CommitLog:
    """Reads and writes commits of one workspace."""

    def __init__(
        self, store: LogStore, workspace: str, *, source: str, clock: Clock | None = None
    ) -> None:
        self.store = store
        self.workspace = workspace
        self._source = source
        self._clock = clock or SystemClock()
        self._known: dict[str, _Known[Any]] = {}

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
        """Return the commit that the run made on this subject, however long ago.

        None if it made none.
        """
        for found in reversed(await self.history(event, **tokens)):
            if found.commit.run.id == run_id:
                return found
        return None

    async def commit(self, event: Event[M], build: Build[M], **tokens: str) -> Committed[M]:
        """Publish what `build(head)` returns as the next version.

        The builder sets kind, name and digest of `commit.artefact`, `commit.run` and
        `commit.summary`; the log sets the rest. If another writer wins, the builder is called again
        with the new head. If the builder's run is already in the history, that commit is returned
        and nothing is published.

        Raises:
            Conflict: Other writers won `MAX_ATTEMPTS` times.
            Transient: The bus did not confirm, and the log does not show the commit.
        """
        subject = event.subject(self.workspace, **tokens)
        known, is_fresh = self._known.get(subject), False
        for _ in range(MAX_ATTEMPTS):
            if known is None:
                known, is_fresh = await self._caught_up(event, subject), True
            base = known.head  # others in this process may move `known` on while we build
            try:
                message = await build(base)
            except Unchanged:
                if is_fresh and base is not None:
                    return base
                if is_fresh:
                    raise
                known = None  # what we remembered may be behind: look before saying so
                continue
            run_id = message.commit.run.id  # type: ignore[attr-defined]
            if run_id in known.runs:
                return await self._at(event, subject, known.runs[run_id])
            now = self._complete(message, base)
            failpoint("after_write")
            try:
                committed = await self._published(event, subject, message, base, now)
            except Conflict:
                known = None
            else:
                known.add(committed)
                return committed
        raise Conflict(subject, known.sequence if known else 0)

    async def _published(
        self, event: Event[M], subject: str, message: M, base: Committed[M] | None, now: datetime
    ) -> Committed[M]:
        """Publish on top of `base`; where the bus did not confirm, the log says what happened."""
        try:
            with tracing.publishing(subject, event.key) as trace:
                headers, body = self._encoded(message, trace, now)
                expected = base.sequence if base else 0
                sequence = await self.store.append(subject, body, headers, expected)
        except Transient:
            known = await self._caught_up(event, subject)
            own = known.runs.get(message.commit.run.id)  # type: ignore[attr-defined]
            if own is None:
                raise
            return await self._at(event, subject, own)
        failpoint("after_publish")
        return Committed(message, subject, sequence)

    async def _at(self, event: Event[M], subject: str, sequence: int) -> Committed[M]:
        """Return the commit that stands at `sequence`."""
        async for record in self.store.read([subject], sequence - 1):
            return decoded(event, record)
        raise Transient(f"{subject} has nothing at {sequence}: the log was read and is not there")

    async def _caught_up(self, event: Event[M], subject: str) -> _Known[M]:
        """Read what is new on the subject and remember it.

        A redelivered run finds itself in there.
        """
        known = self._known.pop(subject, None) or _Known()
        async for record in self.store.read([subject], known.sequence):
            known.add(decoded(event, record))
        self._known[subject] = known
        if len(self._known) > SUBJECTS_KNOWN:
            self._known.pop(next(iter(self._known)))
        return known

    async def commit_many(
        self, event: Event[M], messages: Sequence[tuple[M, Mapping[str, str]]]
    ) -> list[Committed[M] | LooplineError]:
        """Publish each message as the next version of its subject, many in flight.

        For commits on many subjects at once, such as a page of labels. Where another writer wins,
        the answer is that message's Conflict, and `commit` is the way on; the others stand.

        Args:
            event: The row of the catalog.
            messages: Each message as `commit`'s builder would return it, with its subject's tokens.
        """
        heads = {head.subject: head for head in await self._heads_of(event, messages)}
        appends, ready = [], []
        for message, tokens in messages:
            subject = event.subject(self.workspace, **tokens)
            head = heads.get(subject)
            now = self._complete(message, head)
            headers, body = self._encoded(message, {}, now)
            appends.append(Append(subject, body, headers, head.sequence if head else 0))
            ready.append((message, subject))
        failpoint("after_write")
        results = await self.store.append_many(appends)
        failpoint("after_publish")
        return [
            Committed(message, subject, result) if isinstance(result, int) else result
            for (message, subject), result in zip(ready, results, strict=True)
        ]

    async def _heads_of(
        self, event: Event[M], messages: Sequence[tuple[M, Mapping[str, str]]]
    ) -> list[Committed[M]]:
        """Return the heads of the messages' subjects, asked for by the tokens they share."""
        tokens = [tokens for _, tokens in messages]
        shared = (
            {k: v for k, v in tokens[0].items() if all(t[k] == v for t in tokens)} if tokens else {}
        )
        return await self.heads(event, **shared)

    async def read(
        self, events: Sequence[Event[Any]], after: int = 0
    ) -> AsyncIterator[Committed[Any]]:
        """Yield the commits of `events` above sequence `after`, in order, to the log's end."""
        patterns = [event.subject(self.workspace) for event in events]
        async for record in self.store.read(patterns, after):
            yield decoded(BY_TYPE[record.headers["ce-type"]], record)

    def _complete(self, message: Message, head: Committed[M] | None) -> datetime:
        """Set what the log decides; return the moment of the commit."""
        commit: Commit = message.commit  # type: ignore[attr-defined]
        commit.workspace = self.workspace
        if head is None:
            commit.artefact.version = 1
            commit.ClearField("parent")
            commit.parent_sequence = 0
        else:
            parent = head.ref
            commit.artefact.version = parent.version + 1
            commit.parent.CopyFrom(parent)
            commit.parent_sequence = head.sequence
        now = self._clock.now()
        # `FromDatetime` does the same in four times the time.
        commit.committed_at.seconds = int(now.timestamp())
        commit.committed_at.nanos = now.microsecond * 1000
        return now

    def _encoded(
        self, message: Message, trace: Mapping[str, str], now: datetime
    ) -> tuple[dict[str, str], bytes]:
        commit: Commit = message.commit  # type: ignore[attr-defined]
        return cloudevents.encode(
            message,
            source=self._source,
            time=now,
            trace=trace,
            id=f"{commit.artefact.name}@{commit.artefact.version}/{commit.run.id[:16]}",
        )


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
