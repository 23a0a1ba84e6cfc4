"""What the log says, in memory: the workflow graph, runs, agents, and the tail of events.

The console keeps no database of it: at its start it reads the commits that make cards (submissions
of labels, the bulk of a log, are not among them), then follows both streams. Every read is a direct
get by sequence, so a lost connection loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from loopline.contracts import AgentReported, RunChanged, RunState, catalog, cloudevents
from loopline.contracts.catalog import BY_TYPE, PREFIX
from loopline.errors import LooplineError, Rejected
from loopline.lineage import fragment_of
from loopline.lineage.details import iso
from loopline.store.commits import Committed, decoded
from loopline.store.logstore import LogStore, Record
from services.console.adapters.messages import report_of
from services.console.domain.workflow import Workflow

log = structlog.get_logger()

CROWDS = ("labels_submitted", "item_reviewed", "access_revoked")
"""Commits without a card: what people submit one by one, and what is no part of the workflow."""
CARDS = tuple(event for event in catalog.COMMITS if event.key not in CROWDS)
"""The commits that make cards."""
_CARD_TYPES = frozenset(event.type for event in CARDS)
RUNS_MAX = 5_000  # runs whose last report is remembered, those heard of last
IDLE_S = 1.0  # without a sign of news the streams are looked at this often
SETTLE_S = 0.02  # news come in bursts: what comes within this is read at once
RETRY_S = 1.0
MENTIONED = re.compile(r"([a-z0-9][a-z0-9_-]*)@v(\d+)")

Listener = Callable[[str, Record], Awaitable[None]]
"""Called with "commits" or "events" and each new message, in order."""


class LogView:
    """Follows both streams of a workspace.

    Args:
        commits: The stream of commits.
        events: The stream of events.
        workspace: Which.
        client: Tells of news at once; None in tests, where the streams are looked at often.
    """

    def __init__(
        self,
        commits: LogStore,
        events: LogStore,
        workspace: str,
        client: Client | None,
        idle_s: float = IDLE_S,
    ) -> None:
        self.commits_store = commits
        self.events_store = events
        self.workspace = workspace
        self.workflow = Workflow()
        self.commits: dict[str, Committed[Any]] = {}
        self.runs: OrderedDict[str, RunChanged] = OrderedDict()
        self.began: dict[str, str] = {}  # run -> when it was first heard of
        self.commands: dict[str, str] = {}  # id of a handled message -> its run
        self.agents: dict[str, AgentReported] = {}
        self.commits_sequence = 0
        self.events_sequence = 0
        self._client = client
        self._idle_s = idle_s
        self._news = asyncio.Event()
        self._listeners: list[Listener] = []
        self._task: asyncio.Task[None] | None = None
        self._reading = asyncio.Lock()

    async def start(self) -> None:
        """Read what there is and begin to follow."""
        if self._client is not None:
            subject = f"{PREFIX}.{self.workspace}.>"
            await self._client.subscribe(subject, cb=self._on_news)
        await self._load()
        self._task = asyncio.create_task(self._follow(), name="follow the log")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def trouble(self) -> str:
        """Why the log is not followed, or ""."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            return f"the log is not followed: {self._task.exception()}"
        return ""

    def listen(self, listener: Listener) -> None:
        """Have each new message handed to somebody."""
        self._listeners.append(listener)

    async def catch_up(self, commits_sequence: int = 0) -> None:
        """Read what is new now: whoever wrote sees what was written."""
        if not commits_sequence or commits_sequence > self.commits_sequence:
            await self._read_news()

    async def _load(self) -> None:
        """Read the commits that make cards, and the last word of every run and agent."""
        commits_end = await self.commits_store.last_sequence()
        events_end = await self.events_store.last_sequence()
        found: list[Record] = []
        for event in CARDS:
            pattern = event.subject(self.workspace)
            found += [record async for record in self.commits_store.read([pattern])]
        for record in sorted(found, key=lambda one: one.sequence):
            self._commit(record)
        self.commits_sequence, self.events_sequence = commits_end, events_end
        for subject in (
            catalog.RUN_CHANGED.subject(self.workspace),
            catalog.AGENT_REPORTED.subject(self.workspace),
        ):
            last = await self.events_store.last(subject)
            for record in last[-RUNS_MAX:]:
                self._event(record)
        await self._find_beginnings()

    async def _find_beginnings(self) -> None:
        """Ask when the runs began that are under way now."""
        for run, changed in list(self.runs.items()):
            if changed.state in (RunState.RUN_STATE_QUEUED, RunState.RUN_STATE_RUNNING):
                subject = catalog.RUN_CHANGED.subject(self.workspace, run_id=run)
                async for record in self.events_store.read([subject]):
                    self.began[run] = iso(RunChanged.FromString(record.data).at)
                    break

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._idle_s)
                await asyncio.sleep(SETTLE_S)
            self._news.clear()
            try:
                await self._read_news()
            except LooplineError as error:
                log.warning("log_not_read", reason=error.message)
                await asyncio.sleep(RETRY_S)

    async def _read_news(self) -> None:
        async with self._reading:
            await self._read_both([f"{PREFIX}.{self.workspace}.>"])

    async def _read_both(self, everything: list[str]) -> None:
        async for record in self.commits_store.read(everything, self.commits_sequence):
            self._commit(record)
            self.commits_sequence = record.sequence
            await self._tell("commits", record)
        async for record in self.events_store.read(everything, self.events_sequence):
            self._event(record)
            self.events_sequence = record.sequence
            await self._tell("events", record)

    async def _tell(self, stream: str, record: Record) -> None:
        for listener in self._listeners:
            await listener(stream, record)

    async def _on_news(self, _: Msg) -> None:
        self._news.set()

    def _commit(self, record: Record) -> None:
        type_ = record.headers.get("ce-type", "")
        if type_ not in _CARD_TYPES:
            return
        try:
            committed = decoded(BY_TYPE[type_], record)
            fragment = fragment_of(committed)
        except (Rejected, ValueError) as error:
            log.warning("commit_not_shown", sequence=record.sequence, reason=str(error))
            return
        self.workflow.add(fragment)
        self.commits[fragment.artefact.id] = committed

    def _event(self, record: Record) -> None:
        type_ = record.headers.get("ce-type", "")
        try:
            if type_ == catalog.RUN_CHANGED.type:
                message = cloudevents.decode(record.headers, record.data, RunChanged).message
                assert isinstance(message, RunChanged)
                self._run_changed(message)
            elif type_ == catalog.AGENT_REPORTED.type:
                reported = AgentReported.FromString(record.data)
                self.agents[reported.agent.id] = reported
        except (Rejected, ValueError) as error:
            log.warning("event_not_shown", sequence=record.sequence, reason=str(error))

    def _run_changed(self, changed: RunChanged) -> None:
        run = changed.run_id
        before = self.runs.pop(run, None)
        if changed.command_id:
            self.commands[changed.command_id] = run
        if before is not None and before.command_id:
            # A run's first report names the command; the later ones what was handled then.
            changed.command_id = before.command_id
        self.began.setdefault(run, iso(changed.at))
        self.runs[run] = changed
        self.workflow.report(report_of(changed, self._mentions(changed.title)))
        while len(self.runs) > RUNS_MAX:
            gone, _ = self.runs.popitem(last=False)
            self.commands = {c: r for c, r in self.commands.items() if r != gone}
            self.began.pop(gone, None)
            self.workflow.forget(gone)

    def _mentions(self, title: str) -> tuple[str, ...]:
        found = []
        for name, version in MENTIONED.findall(title):
            for kind in ("dataset", "model"):
                if (id_ := f"{kind}:{name}@{version}") in self.workflow.cards:
                    found.append(id_)
                    break
        return tuple(found)
