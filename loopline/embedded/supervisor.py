"""Keeps processes running: start, readiness, restart with backoff, stop in order.

What runs and how it is started is told by `Unit`s; nothing here knows NATS, SeaweedFS or a service.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import structlog

from loopline.embedded.command import Command
from loopline.embedded.errors import NotReady, PlatformError
from loopline.embedded.logs import LogPump, tail
from loopline.embedded.processes import ChildProcess, Spawner

log = structlog.get_logger()

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 10.0
STABLE_S = 20.0  # a process that ran this long starts its backoff anew
START_ATTEMPTS_MAX = 3  # of a process that was never ready, before starting fails
ENDING = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGABRT, signal.SIGSEGV)
PROBE_FIRST_S = 0.02
PROBE_MAX_S = 0.25
WATCH_S = 2.0


class State(StrEnum):
    """Where a process is in its life."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Trouble:
    """What keeps a running process from its work, and whether starting it again would help now."""

    reason: str
    restart: bool


async def no_trouble() -> Trouble | None:
    """Say that all is well."""
    return None


@dataclass(frozen=True)
class Unit:
    """One process to keep running.

    Attributes:
        name: What it is called.
        prepare: Writes configuration and returns the command; called before each start.
        spawner: How it is started.
        is_ready: Tells whether it does its work.
        endpoint: Where it listens, for people.
        stop_s: How long it may take to end after SIGTERM.
        trouble: Asked every few seconds once it is ready; None if all is well.
    """

    name: str
    prepare: Callable[[], Command]
    spawner: Spawner
    is_ready: Callable[[], Awaitable[bool]]
    endpoint: str = ""
    stop_s: float = 10.0
    trouble: Callable[[], Awaitable[Trouble | None]] = no_trouble


@dataclass
class Condition:
    """What is known of a process now."""

    state: State = State.STOPPED
    pid: int = 0
    restarts: int = 0
    started_at: float = 0.0  # time.time()
    exit_code: int | None = None
    endpoint: str = ""
    trouble: str = ""


class Supervised:
    """One unit's life: a task that starts it, waits for its end, and starts it again."""

    def __init__(
        self,
        unit: Unit,
        logs: LogPump,
        log_file: Path,
        changed: Callable[[], None],
        delay_max_s: float = BACKOFF_MAX_S,
    ):
        self.unit = unit
        self.condition = Condition(endpoint=unit.endpoint)
        self._logs = logs
        self._log_file = log_file
        self._changed = changed
        self._delay_max_s = delay_max_s
        self._child: ChildProcess | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._was_ready = False
        self._error: Exception | None = None

    def start(self) -> None:
        """Begin; see `wait_ready`."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._live(), name=f"supervise {self.unit.name}")

    async def wait_ready(self) -> None:
        """Wait until the process does its work.

        Raises:
            NotReady: It ended several times before it was ever ready, or cannot be started.
        """
        ended = asyncio.create_task(self._ended.wait())
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait((ended, ready), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            ready.cancel()
        if not self._ready.is_set():
            raise self._not_ready()

    def kill(self, sig: int = signal.SIGKILL) -> int:
        """Send a signal to the process and return its pid; 0 if it does not run now.

        After a signal that ends it, `wait_ready` waits for the next start.
        """
        pid = self.condition.pid
        if sig in ENDING:
            self._ready.clear()
        if self._child is not None and pid:
            self._child.send_signal(sig)
        return pid

    async def stop(self) -> None:
        """End the process for good: SIGTERM, then SIGKILL after its time."""
        self._stopping.set()
        self.kill(signal.SIGTERM)
        if self._task is None:
            return
        done, _ = await asyncio.wait((self._task,), timeout=self.unit.stop_s)
        if not done:
            log.warning("process_killed", process=self.unit.name, after_s=self.unit.stop_s)
            self.kill()
            await asyncio.wait((self._task,))
        self._set(State.STOPPED)

    async def _live(self) -> None:
        delay_s = BACKOFF_FIRST_S
        try:
            while True:
                began = time.monotonic()
                await self._run_once()
                if self._stopping.is_set() or self._gave_up():
                    return
                if time.monotonic() - began > STABLE_S:
                    delay_s = BACKOFF_FIRST_S
                self.condition.restarts += 1
                self._set(State.RESTARTING)
                if await self._stopped_within(delay_s):
                    return
                delay_s = min(delay_s * 2, self._delay_max_s)
        finally:
            self._ended.set()

    async def _run_once(self) -> None:
        self._set(State.STARTING)
        self._error = None
        try:
            self._child = child = await self._spawn()
        except (OSError, PlatformError) as error:
            log.error("process_not_started", process=self.unit.name, reason=str(error))  # noqa: TRY400
            self._error = error
            return
        self.condition.pid = child.pid
        self.condition.started_at = time.time()
        probing = asyncio.create_task(self._probe())
        if self._stopping.is_set():  # asked to stop while the process was being started
            child.send_signal(signal.SIGTERM)
        try:
            self.condition.exit_code = await child.wait()
        finally:
            self.condition.pid = 0
            self.condition.trouble = ""
            probing.cancel()
            self._ready.clear()
        if not self._stopping.is_set():
            log.warning("process_ended", process=self.unit.name, exit_code=self.condition.exit_code)

    async def _stopped_within(self, delay_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay_s)
        return self._stopping.is_set()

    async def _spawn(self) -> ChildProcess:
        command = await asyncio.to_thread(self.unit.prepare)
        output = self._logs.open(self.unit.name, self._log_file)
        try:
            return await self.unit.spawner.spawn(command, output)
        finally:
            os.close(output)

    async def _probe(self) -> None:
        wait_s = PROBE_FIRST_S
        while not await self.unit.is_ready():
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 1.3, PROBE_MAX_S)
        self._set(State.READY)
        self._was_ready = True
        self._ready.set()
        await self._watch()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            trouble = await self.unit.trouble()
            if self._stopping.is_set():  # what it takes down as it ends is no trouble
                return
            reason = trouble.reason if trouble else ""
            if reason != self.condition.trouble:
                log.warning("process_trouble", process=self.unit.name, reason=reason or "over")
                self.condition.trouble = reason
                self._changed()
            if trouble and trouble.restart:
                self.kill(signal.SIGTERM)
                return

    def _gave_up(self) -> bool:
        if self._was_ready or self.condition.restarts + 1 < START_ATTEMPTS_MAX:
            return False
        self._set(State.FAILED)
        return True

    def _set(self, state: State) -> None:
        self.condition.state = state
        self._changed()

    def _not_ready(self) -> NotReady:
        if self._error is not None:
            return NotReady(f"{self.unit.name} cannot be started: {self._error}")
        code = self.condition.exit_code
        return NotReady(
            f"{self.unit.name} did not start (exit code {code}); its log {self._log_file} ends:\n"
            f"{tail(self._log_file)}",
            process=self.unit.name,
        )


@dataclass
class Supervisor:
    """All processes of a platform.

    Attributes:
        logs: Takes their output.
        log_file: Names the log of each.
        changed: Called whenever the state of any process changes.
        delay_max_s: Upper bound of the growing delay before a process that ended is started again.
    """

    logs: LogPump
    log_file: Callable[[str], Path]
    changed: Callable[[], None]
    delay_max_s: float = BACKOFF_MAX_S
    units: dict[str, Supervised] = field(default_factory=dict)

    def add(self, unit: Unit) -> Supervised:
        """Start keeping a unit running."""
        supervised = Supervised(
            unit, self.logs, self.log_file(unit.name), self.changed, self.delay_max_s
        )
        self.units[unit.name] = supervised
        supervised.start()
        return supervised

    async def wait_ready(self, *names: str) -> None:
        """Wait until the named units, or all, do their work; raise the first one's `NotReady`."""
        waiting = [self.units[name] for name in names or self.units]
        await _all_or_first_error([each.wait_ready() for each in waiting])

    async def stop(self, *names: str) -> None:
        """Stop the named units, all at once."""
        present = [self.units[name] for name in names if name in self.units]
        await asyncio.gather(*(each.stop() for each in present))

    def conditions(self) -> Mapping[str, Condition]:
        """Return what is known of every process, by name."""
        return {name: each.condition for name, each in self.units.items()}


async def _all_or_first_error(waits: list[Awaitable[None]]) -> None:
    tasks = [asyncio.ensure_future(each) for each in waits]
    try:
        for done in asyncio.as_completed(tasks):
            await done
    finally:
        for task in tasks:
            task.cancel()
