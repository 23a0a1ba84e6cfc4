"""Answers questions about runs and agents."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from loopline.clock import Clock
from loopline.contracts import RunChanged, catalog
from loopline.contracts.catalog import BY_TYPE
from loopline.errors import NotFound, Rejected
from loopline.runtime.agents import GONE_AFTER_S
from loopline.store.commits import Committed
from services.console.adapters.log_view import LogView
from services.console.adapters.messages import (
    UNDER_WAY,
    agent_out,
    committed_run_out,
    live_run_out,
    point_out,
    state_of,
)
from services.console.bodies.runs import (
    AgentsOut,
    LogLineOut,
    LogOut,
    ProgressOut,
    RunOut,
    RunsOut,
)

POINTS_MAX = 2_000  # of one run's curves
REPORTS_MAX = 100_000  # that are read for them
LOG_TAIL_BYTES = 8 * 1024**2  # of each file, from its end
CONSUMED = ("event", "level", "timestamp", "logger", "service")


class RunDesk:
    """Runs, from their commits and their reports.

    Args:
        view: What the log says.
        clock: Time.
        trace_url: Where a trace is shown, with `{trace_id}` in it.
        logs_dir: The services' logs; None if they cannot be read here.
    """

    def __init__(
        self, view: LogView, clock: Clock, trace_url: str = "", logs_dir: Path | None = None
    ) -> None:
        self._view = view
        self._clock = clock
        self._trace_url = trace_url
        self._logs_dir = logs_dir
        self._made: dict[str, Committed[Any]] = {}
        self._seen = 0

    async def run(self, id_: str) -> RunOut:
        """Return a run; NotFound if nobody ever told of it."""
        committed, changed = self.committed(id_), self._view.runs.get(id_)
        if committed is None and changed is None:
            raise NotFound(f"there is no run {id_!r}", run=id_)
        return self._out(id_, committed, changed)

    async def runs(
        self, kinds: frozenset[str], state: str, search: str, command_id: str, cursor: str,
        limit: int,
    ) -> RunsOut:  # fmt: skip
        """Return runs, the last heard of first."""
        words, begun = search.lower().split(), self._view.commands.get(command_id)
        found: list[RunOut] = []
        for run in self._all():
            if kinds and run.kind not in kinds:
                continue
            if state and run.state != state and not (state == "active" and run.state in UNDER_WAY):
                continue
            if command_id and run.id != begun:
                continue
            text = f"{run.id} {run.title} {run.message} {run.kind}".lower()
            if all(word in text for word in words):
                found.append(run)
        found.sort(key=lambda run: (run.at, run.id), reverse=True)
        if cursor:
            found = [run for run in found if f"{run.at}~{run.id}" < cursor]
        page = found[:limit]
        more = f"{page[-1].at}~{page[-1].id}" if len(found) > limit else None
        return RunsOut(runs=page, next_cursor=more)

    async def progress(self, id_: str) -> ProgressOut:
        """Return a run's reports as points of curves."""
        await self.run(id_)
        subject = catalog.RUN_CHANGED.subject(self._view.workspace, run_id=_token(id_))
        points = []
        async for record in self._view.events_store.read([subject]):
            points.append(point_out(RunChanged.FromString(record.data)))
            if len(points) == REPORTS_MAX:
                break
        every = max(1, -(-len(points) // POINTS_MAX))
        kept = points[::every]
        if points and kept[-1] is not points[-1]:
            kept.append(points[-1])
        return ProgressOut(run=id_, points=kept)

    async def log(self, id_: str, limit: int) -> LogOut:
        """Return the log lines that mention a run."""
        run = await self.run(id_)
        if self._logs_dir is None:
            raise NotFound("the services' logs are not kept where the console can read them")
        marks = tuple(mark.encode() for mark in (run.id, run.trace_id, run.command_id) if mark)
        lines, is_whole = await asyncio.to_thread(_lines, self._logs_dir, marks)
        lines.sort(key=lambda line: line.at)
        return LogOut(lines=lines[-limit:], is_whole=is_whole and len(lines) <= limit)

    async def agents(self) -> AgentsOut:
        """Return every agent heard of."""
        now = self._clock.now()
        found = [agent_out(one, now, GONE_AFTER_S) for one in self._view.agents.values()]
        return AgentsOut(agents=sorted(found, key=lambda agent: (agent.state, agent.id)))

    async def asked(self, id_: str) -> Message:
        """Return the command that a run follows from, as its first reports tell it.

        Raises:
            NotFound: No report tells it, or none is kept any more.
        """
        subject = catalog.RUN_CHANGED.subject(self._view.workspace, run_id=_token(id_))
        async for record in self._view.events_store.read([subject]):
            changed = RunChanged.FromString(record.data)
            event = BY_TYPE.get(changed.command_type)
            if event is not None:
                command: Message = event.message.FromString(changed.command)
                return command
        raise NotFound(f"what the run {id_[:12]} was asked is known no more", run=id_)

    def committed(self, id_: str) -> Committed[Any] | None:
        """Return what a run committed first, or None."""
        self._catch_up()
        return self._made.get(id_)

    def live(self, changed: RunChanged) -> RunOut:
        """Return a run as one of its reports tells it."""
        began = self._view.began.get(changed.run_id, "")
        run = live_run_out(changed, began, self._clock.now().astimezone(UTC).isoformat())
        if (known := self._view.runs.get(run.id)) is not None:
            run.command_id = known.command_id
        run.log_url = f"/api/runs/{run.id}/log" if self._logs_dir else ""
        return run

    def _all(self) -> Iterator[RunOut]:
        self._catch_up()
        for id_, committed in self._made.items():
            yield self._out(id_, committed, self._view.runs.get(id_))
        for id_, changed in list(self._view.runs.items()):
            if id_ not in self._made:
                yield self._out(id_, None, changed)

    def _catch_up(self) -> None:
        """Index the commits by run; few are new each time."""
        commits = self._view.commits
        if len(commits) == self._seen:
            return
        for committed in list(commits.values())[self._seen :]:
            self._made.setdefault(committed.commit.run.id, committed)
        self._seen = len(commits)

    def _out(
        self, id_: str, committed: Committed[Any] | None, changed: RunChanged | None
    ) -> RunOut:
        if committed is None or (changed is not None and state_of(changed) in UNDER_WAY):
            assert changed is not None  # the caller knows one of them
            return self.live(changed)
        run = committed_run_out(committed, changed)
        if run.trace_id and self._trace_url:
            run.trace_url = self._trace_url.replace("{trace_id}", run.trace_id)
        run.log_url = f"/api/runs/{id_}/log" if self._logs_dir else ""
        return run


def _token(id_: str) -> str:
    """Return a run's id if it is one token of a subject."""
    if not id_.replace("-", "").replace("_", "").isalnum():
        raise Rejected(f"{id_!r} is not the id of a run")
    return id_


def _lines(folder: Path, marks: tuple[bytes, ...]) -> tuple[list[LogLineOut], bool]:
    """Read the end of every log file; tell whether that was all of them."""
    found: list[LogLineOut] = []
    is_whole = True
    for path in sorted(folder.glob("*.log")):
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            file.seek(max(0, size_bytes - LOG_TAIL_BYTES))
            is_whole = is_whole and size_bytes <= LOG_TAIL_BYTES
            lines = (line for line in file if any(mark in line for mark in marks))
            found += [_line(path.stem, line) for line in lines]
    return found, is_whole


def _line(service: str, data: bytes) -> LogLineOut:
    try:
        told: dict[str, Any] = json.loads(data)
    except ValueError:
        told = {"event": data.decode(errors="replace").rstrip()}
    return LogLineOut(
        at=str(told.get("timestamp", "")),
        service=service,
        level=str(told.get("level", "")),
        event=str(told.get("event", "")),
        fields={name: value for name, value in told.items() if name not in CONSUMED},
    )
