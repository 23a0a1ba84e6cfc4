"""Agents: how a worker says what it is and what it does, and how others read that.

An agent connects outward only. Its last report on its subject is its state; one that has been
silent for three intervals counts as gone, and by then its messages are with another
(`Durable.ack_wait_s`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from loopline import __version__
from loopline.clock import Clock
from loopline.contracts import (
    Agent,
    AgentReported,
    Device,
    Membership,
    RunKind,
    RunningWork,
    Team,
    catalog,
)
from loopline.runtime.bus import Bus, current_event
from loopline.store.commits import timestamp
from loopline.store.logstore import LogStore

REPORT_EVERY_S: Final = 10.0
GONE_AFTER_S: Final = 30.0


class Occupation:
    """What this process does now.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[int, RunningWork] = {}
        self._number = 0
        self._leads: Team | None = None
        self._joined: Membership | None = None
        self.changed = asyncio.Event()

    @property
    def running(self) -> list[RunningWork]:
        """The work, in the order it began."""
        return list(self._running.values())

    @property
    def leads(self) -> Team | None:
        """The work that it leads and others share, if there is any."""
        return self._leads

    @property
    def joined(self) -> Membership | None:
        """Its last part in work that another agent leads."""
        return self._joined

    def lead(self, team: Team | None) -> None:
        """Say what it leads, and to whom; None for nothing any more."""
        self._leads = team
        self.changed.set()

    def join(self, membership: Membership | None) -> None:
        """Say what part it has in work that another agent leads."""
        self._joined = membership
        self.changed.set()

    @contextlib.contextmanager
    def doing(self, run_id: str, kind: RunKind, title: str) -> Iterator[None]:
        """Be occupied with a run within the block."""
        self._number += 1
        number = self._number
        self._running[number] = RunningWork(
            run_id=run_id,
            kind=kind,
            title=title,
            since=timestamp(self._clock),
            command_id=current_event.get(),
        )
        self.changed.set()
        try:
            yield
        finally:
            del self._running[number]
            self.changed.set()


@dataclass(frozen=True)
class Description:
    """What an agent is.

    Attributes:
        agent: Who.
        labels: What it is chosen by.
        pools: Whose commands it takes.
        devices: What it computes with.
        capacity: How much work it does at once.
        folder: Where its data are, for the free disk space.
    """

    agent: Agent
    labels: Mapping[str, str]
    pools: Sequence[str]
    devices: Sequence[Device]
    capacity: int
    folder: Path


class AgentReporter:
    """Reports every few seconds, at once when what it does changes, and a last time as it leaves.

    Args:
        bus: What it reports with.
        clock: Time.
        description: What the agent is.
        occupation: What it does.
        every_s: How often.
    """

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        description: Description,
        occupation: Occupation,
        every_s: float = REPORT_EVERY_S,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._description = description
        self._occupation = occupation
        self._every_s = every_s
        self._started_at = timestamp(clock)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to report."""
        self._task = asyncio.create_task(self._run(), name="agent reports")

    async def stop(self) -> None:
        """Say that it leaves."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._bus.announce(self.report(leaving=True))

    def report(self, leaving: bool = False) -> AgentReported:
        """Return its state now."""
        about = self._description
        return AgentReported(
            agent=about.agent,
            kind=about.agent.service,
            labels=about.labels,
            pools=about.pools,
            devices=about.devices,
            capacity=about.capacity,
            running=self._occupation.running,
            load=load(about.folder),
            version=__version__,
            started_at=self._started_at,
            at=timestamp(self._clock),
            every_s=self._every_s,
            leaving=leaving,
            leads=self._occupation.leads,
            joined=self._occupation.joined,
        )

    async def _run(self) -> None:
        changed = self._occupation.changed
        while True:
            changed.clear()
            await self._bus.announce(self.report())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):  # `wait_for` may swallow a cancellation
                    await changed.wait()


@dataclass(frozen=True)
class AgentState:
    """An agent as the log knows it.

    Attributes:
        reported: Its last report.
        heard_at: When the bus stored that.
    """

    reported: AgentReported
    heard_at: datetime

    @property
    def name(self) -> str:
        """Its name."""
        return self.reported.agent.id

    def silent_s(self, now: datetime) -> float:
        """Return for how long it has said nothing."""
        return max(0.0, (now - self.heard_at).total_seconds())

    def state(self, now: datetime) -> str:
        """Return "busy", "idle" or "gone"."""
        if self.reported.leaving or self.silent_s(now) > GONE_AFTER_S:
            return "gone"
        return "busy" if self.reported.running else "idle"

    def takes(self, pool: str) -> bool:
        """Tell whether it takes commands of a pool, or sent to its name."""
        return pool in self.reported.pools


async def known_agents(events: LogStore, workspace: str) -> list[AgentState]:
    """Return every agent that has reported within the stream's memory, by name.

    Args:
        events: The stream EVENTS.
        workspace: Whose agents.
    """
    records = await events.last(catalog.AGENT_REPORTED.subject(workspace))
    states = []
    for record in records:
        reported = AgentReported.FromString(record.data)
        stamp = record.headers.get("Nats-Time-Stamp", "")
        heard = datetime.fromisoformat(stamp) if stamp else reported.at.ToDatetime(UTC)
        states.append(AgentState(reported, heard))
    return sorted(states, key=lambda state: state.name)


def load(folder: Path) -> dict[str, float]:
    """Return how busy the machine is, as far as it tells."""
    figures: dict[str, float] = {}
    with contextlib.suppress(OSError, AttributeError):
        figures["load_1m"] = os.getloadavg()[0]
    with contextlib.suppress(OSError, ValueError, AttributeError):
        figures["memory_free_bytes"] = float(
            os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        )
    with contextlib.suppress(OSError):
        figures["disk_free_bytes"] = float(shutil.disk_usage(folder).free)
    return figures
