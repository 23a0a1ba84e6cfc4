"""The tail of both streams as server-sent events that a browser can take up again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from heapq import merge

from fastapi import Response
from fastapi.responses import StreamingResponse

from loopline.clock import Clock
from loopline.contracts import AgentReported, RunChanged, catalog
from loopline.contracts.catalog import BY_TYPE, COMMITS, PREFIX
from loopline.errors import LooplineError, Rejected, Transient
from loopline.lineage import fragment_of
from loopline.lineage.details import iso
from loopline.runtime.agents import GONE_AFTER_S
from loopline.store.commits import decoded
from loopline.store.logstore import LogStore, Record
from services.console.adapters.log_view import LogView
from services.console.adapters.messages import agent_out
from services.console.adapters.runs import RunDesk
from services.console.bodies.runs import EventOut, EventsOut
from services.console.domain.workflow import card_id

QUEUE_MAX = 1_000  # events that a slow reader may be behind before the stream ends
RECENT_MAX = 1_000
PAST_EVENTS_MAX = 5_000  # messages of the stream of events that are looked at for the past
RESET = "reset"
_LEFT_OUT = frozenset({catalog.CHUNK_COMPLETED.type})
"""Messages between workers that say nothing to people."""
_NOW_ONLY = _LEFT_OUT | {catalog.AGENT_REPORTED.type}
"""Those, and what says nothing of the past: how busy an agent was."""
_COMMITS = frozenset(event.type for event in COMMITS)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in both streams.

    >>> str(Position.parse("12-7"))
    '12-7'
    """

    commits: int
    events: int

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Return the place that an id names; None for no id.

        Raises:
            Rejected: It is no id of ours.
        """
        if not text:
            return None
        commits, _, events = text.partition("-")
        if not (commits.isdecimal() and events.isdecimal()) or len(text) > 40:
            raise Rejected(f"{text!r} is not the id of an event")
        return cls(int(commits), int(events))

    def __str__(self) -> str:
        return f"{self.commits}-{self.events}"


@dataclass(eq=False)
class _Reader:
    """One browser that listens."""

    types: frozenset[str]
    queue: asyncio.Queue[EventOut | None] = field(default_factory=lambda: asyncio.Queue(QUEUE_MAX))


class EventFeed:
    """Hands what happens to whoever listens.

    Args:
        view: What follows the streams.
        runs: Tells of runs.
        clock: Time.
        readers_max: At once.
        behind_max: Messages that a reader may ask for again.
        keepalive_s: How often a silent stream says something.
    """

    def __init__(
        self,
        view: LogView,
        runs: RunDesk,
        clock: Clock,
        *,
        readers_max: int,
        behind_max: int,
        keepalive_s: float,
    ) -> None:
        self._view = view
        self._runs = runs
        self._clock = clock
        self._readers_max = readers_max
        self._behind_max = behind_max
        self._keepalive_s = keepalive_s
        self._readers: set[_Reader] = set()
        self._recent: deque[EventOut] = deque(maxlen=RECENT_MAX)
        self._past: list[EventOut] | None = None
        self._reading_past = asyncio.Lock()
        self._at = self._began = Position(0, 0)

    async def start(self) -> None:
        """Begin to listen."""
        self._view.listen(self._heard)
        self._at = Position(self._view.commits_sequence, self._view.events_sequence)
        self._began = self._at

    async def stop(self) -> None:
        """End every stream."""
        for reader in list(self._readers):
            self._end(reader)

    async def recent(self, limit: int) -> EventsOut:
        """Return what happened last, whenever this process began."""
        async with self._reading_past:
            if self._past is None:
                self._past = await self._read_past()
        heard, last_id = list(self._recent), str(self._at)
        return EventsOut(events=[*self._past, *heard][-limit:], last_id=last_id)

    async def stream(self, types: frozenset[str], last_id: str) -> Response:
        """Return what happens from now on, or from an id on."""
        if len(self._readers) >= self._readers_max:
            raise Transient("too many streams of events are open: come back later")
        position = Position.parse(last_id)
        return StreamingResponse(
            self._events(types, position),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    async def _events(
        self, types: frozenset[str], position: Position | None
    ) -> AsyncIterator[bytes]:
        reader = _Reader(types)
        self._readers.add(reader)  # before the past is read: nothing falls between
        began = self._at
        try:
            yield b": what happens in this workspace\n\n"
            if position is not None:
                async for event in self._missed(position, began):
                    if not types or event.type in types or event.type == RESET:
                        yield _frame(event)
            while True:
                try:
                    told = await asyncio.wait_for(reader.queue.get(), self._keepalive_s)
                except TimeoutError:
                    yield b": nothing new\n\n"
                    continue
                if told is None:
                    return
                yield _frame(told)
        finally:
            self._readers.discard(reader)

    async def _missed(self, since: Position, until: Position) -> AsyncIterator[EventOut]:
        """Yield what happened between two places, or that it was too much."""
        behind = until.commits - since.commits + until.events - since.events
        if (
            behind > self._behind_max
            or since.commits > until.commits
            or (since.events > until.events)
        ):
            yield self._event(RESET, "", str(until), "too far back: ask for everything again")
            return
        everything = [f"{PREFIX}.{self._view.workspace}.>"]
        commits, events = since.commits, since.events
        async for record in self._view.commits_store.read(everything, commits):
            if record.sequence > until.commits:
                break
            commits = record.sequence
            if (event := self._told(record, Position(commits, events))) is not None:
                yield event
        async for record in self._view.events_store.read(everything, events):
            if record.sequence > until.events:
                break
            events = record.sequence
            if (event := self._told(record, Position(commits, events))) is not None:
                yield event

    async def _read_past(self) -> list[EventOut]:
        """Return what happened last before this process began, in the order of time."""
        view, began = self._view, self._began
        commits = await _between(
            view.commits_store, view.workspace, began.commits - RECENT_MAX, began.commits
        )
        events = await _between(
            view.events_store, view.workspace, began.events - PAST_EVENTS_MAX, began.events
        )
        at = Position(max(0, began.commits - RECENT_MAX), max(0, began.events - PAST_EVENTS_MAX))
        found: deque[EventOut] = deque(maxlen=RECENT_MAX)
        for record, is_commit in merge(
            ((record, True) for record in commits),
            ((record, False) for record in events),
            key=lambda one: one[0].headers.get("ce-time", ""),
        ):
            if is_commit:
                at = Position(record.sequence, at.events)
            else:
                at = Position(at.commits, record.sequence)
            if record.headers.get("ce-type", "") in _NOW_ONLY:
                continue
            if (event := self._told(record, at)) is not None:
                found.append(event)
        return list(found)

    async def _heard(self, stream: str, record: Record) -> None:
        if stream == "commits":
            self._at = Position(record.sequence, self._at.events)
        else:
            self._at = Position(self._at.commits, record.sequence)
        event = self._told(record, self._at)
        if event is None:
            return
        self._recent.append(event)
        for reader in list(self._readers):
            if reader.types and event.type not in reader.types:
                continue
            try:
                reader.queue.put_nowait(event)
            except asyncio.QueueFull:  # it comes back and says what it has
                self._end(reader)

    def _end(self, reader: _Reader) -> None:
        self._readers.discard(reader)
        while not reader.queue.empty():
            reader.queue.get_nowait()
        reader.queue.put_nowait(None)

    def _told(self, record: Record, at: Position) -> EventOut | None:
        """Return what a message says to people; None if nothing."""
        type_ = record.headers.get("ce-type", "")
        event = BY_TYPE.get(type_)
        if event is None or type_ in _LEFT_OUT:
            return None
        try:
            if type_ in _COMMITS:
                return self._of_commit(record, at)
            told = self._event(event.key, record.subject.split(".")[3], str(at), "")
            told.at = record.headers.get("ce-time", "")
            if type_ == catalog.RUN_CHANGED.type:
                changed = RunChanged.FromString(record.data)
                told.run = self._runs.live(changed)
                told.node, told.name = f"run:{changed.run_id}", told.run.kind
                told.summary = changed.message or changed.title
            elif type_ == catalog.AGENT_REPORTED.type:
                reported = AgentReported.FromString(record.data)
                told.agent = agent_out(reported, self._clock.now(), GONE_AFTER_S)
        except (LooplineError, ValueError):
            return None
        return told

    def _of_commit(self, record: Record, at: Position) -> EventOut:
        committed = decoded(BY_TYPE[record.headers["ce-type"]], record)
        commit = committed.commit
        event = BY_TYPE[record.headers["ce-type"]]
        told = self._event(event.key, commit.artefact.name, str(at), commit.summary)
        told.at = iso(commit.committed_at)
        told.actor = commit.run.actor.name
        told.node = card_id(fragment_of(committed).artefact.id)
        return told

    def _event(self, type_: str, name: str, id_: str, summary: str) -> EventOut:
        return EventOut(
            id=id_, type=type_, at="", name=name, node="", summary=summary, actor="", run=None,
            agent=None,
        )  # fmt: skip


async def _between(store: LogStore, workspace: str, after: int, until: int) -> list[Record]:
    """Return the messages of a workspace behind one sequence, up to another."""
    found: list[Record] = []
    async for record in store.read([f"{PREFIX}.{workspace}.>"], max(0, after)):
        if record.sequence > until:
            break
        found.append(record)
    return found


def _frame(event: EventOut) -> bytes:
    data = event.model_dump_json()
    return f"id: {event.id}\nevent: {event.type}\ndata: {data}\n\n".encode()
