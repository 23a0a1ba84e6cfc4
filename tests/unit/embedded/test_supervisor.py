"""Keeping processes running: with processes that are only played."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from loopline.embedded import supervisor as module
from loopline.embedded.command import Command
from loopline.embedded.errors import MissingBinary, NotReady
from loopline.embedded.logs import LogPump
from loopline.embedded.supervisor import State, Supervised, Supervisor, Trouble, Unit


class PlayedProcess:
    """Ends when told to; a stubborn one ends by SIGKILL only."""

    def __init__(self, pid: int, stubborn: bool) -> None:
        self.pid = pid
        self.signals: list[int] = []
        self._stubborn = stubborn
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    def send_signal(self, signal_: int) -> None:
        self.signals.append(signal_)
        if signal_ == signal.SIGKILL or not self._stubborn:
            self.end(-signal_)

    def end(self, code: int) -> None:
        if not self._code.done():
            self._code.set_result(code)


class Stage:
    """A spawner of played processes, and whether they are ready."""

    def __init__(self) -> None:
        self.processes: list[PlayedProcess] = []
        self.ready = True
        self.stubborn = False
        self.ends_at_once = False
        self.trouble: Trouble | None = None

    async def spawn(self, command: Command, output: int) -> PlayedProcess:
        process = PlayedProcess(100 + len(self.processes), self.stubborn)
        self.processes.append(process)
        if self.ends_at_once:
            process.end(3)
        return process

    async def is_ready(self) -> bool:
        return self.ready

    async def is_troubled(self) -> Trouble | None:
        return self.trouble


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
async def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Supervisor]:
    monkeypatch.setattr(module, "BACKOFF_FIRST_S", 0.001)
    logs = LogPump()
    logs.start()
    supervisor = Supervisor(logs, lambda name: tmp_path / f"{name}.log", lambda: None, 0.004)
    yield supervisor
    await supervisor.stop(*supervisor.units)
    logs.stop()


def add(supervisor: Supervisor, stage: Stage, stop_s: float = 5.0) -> Supervised:
    unit = Unit(
        name="ingest",
        prepare=lambda: Command("ingest", ("true",), Path()),
        spawner=stage,
        is_ready=stage.is_ready,
        stop_s=stop_s,
        trouble=stage.is_troubled,
    )
    return supervisor.add(unit)


async def test_a_process_is_ready_when_it_says_so(supervisor: Supervisor, stage: Stage) -> None:
    stage.ready = False
    unit = add(supervisor, stage)
    waiting = asyncio.create_task(supervisor.wait_ready())
    while not stage.processes:
        await asyncio.sleep(0)
    states = [unit.condition.state]
    assert not waiting.done()
    stage.ready = True
    await waiting
    states.append(unit.condition.state)
    assert states == [State.STARTING, State.READY]
    assert unit.condition.pid == 100


async def test_a_killed_process_is_started_again(supervisor: Supervisor, stage: Stage) -> None:
    unit = add(supervisor, stage)
    await supervisor.wait_ready()
    assert unit.kill() == 100
    await supervisor.wait_ready("ingest")
    assert unit.condition.pid == 101
    assert unit.condition.restarts == 1
    assert unit.condition.exit_code == -signal.SIGKILL


async def test_a_process_that_was_ready_is_restarted_however_often(
    supervisor: Supervisor, stage: Stage
) -> None:
    unit = add(supervisor, stage)
    for _ in range(6):
        await supervisor.wait_ready()
        unit.kill()
    await supervisor.wait_ready()
    assert unit.condition.restarts == 6


async def test_a_process_that_never_gets_ready_fails_after_three_attempts_with_its_log(
    supervisor: Supervisor, stage: Stage, tmp_path: Path
) -> None:
    stage.ends_at_once = True
    stage.ready = False
    (tmp_path / "ingest.log").write_text('{"event":"no module named cv2"}\n')
    unit = add(supervisor, stage)
    with pytest.raises(NotReady, match=r"exit code 3.*(?s:.*)no module named cv2"):
        await supervisor.wait_ready()
    assert len(stage.processes) == 3
    assert unit.condition.state == State.FAILED


async def test_a_program_that_is_not_there_fails_at_once(
    supervisor: Supervisor, stage: Stage
) -> None:
    def prepare() -> Command:
        raise MissingBinary("weed was not found")

    supervisor.add(Unit("weed", prepare, stage, stage.is_ready))
    with pytest.raises(NotReady, match="weed was not found"):
        await supervisor.wait_ready()


async def test_trouble_is_shown_and_passes(
    supervisor: Supervisor, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_S", 0.001)
    unit = add(supervisor, stage)
    await supervisor.wait_ready()
    seen = []
    for trouble in (Trouble("the disk is full", restart=False), None):
        stage.trouble = trouble
        wanted = trouble.reason if trouble else ""
        while unit.condition.trouble != wanted:
            await asyncio.sleep(0)
        seen.append((unit.condition.trouble, unit.condition.pid))
    assert seen == [("the disk is full", 100), ("", 100)]


async def test_trouble_that_a_restart_ends_restarts(
    supervisor: Supervisor, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_S", 0.001)
    unit = add(supervisor, stage)
    await supervisor.wait_ready()
    stage.trouble = Trouble("it cannot write", restart=True)
    while len(stage.processes) == 1:
        await asyncio.sleep(0)
    stage.trouble = None
    await supervisor.wait_ready()
    assert stage.processes[0].signals == [signal.SIGTERM]
    assert unit.condition.restarts == 1


async def test_stopping_asks_first(supervisor: Supervisor, stage: Stage) -> None:
    unit = add(supervisor, stage)
    await supervisor.wait_ready()
    await supervisor.stop("ingest")
    assert stage.processes[0].signals == [signal.SIGTERM]
    assert unit.condition.state == State.STOPPED
    assert len(stage.processes) == 1


async def test_a_process_that_does_not_end_is_killed_after_its_time(
    supervisor: Supervisor, stage: Stage
) -> None:
    stage.stubborn = True
    add(supervisor, stage, stop_s=0.01)
    await supervisor.wait_ready()
    await supervisor.stop("ingest")
    assert stage.processes[0].signals == [signal.SIGTERM, signal.SIGKILL]


async def test_stopping_while_waiting_to_restart_starts_nothing(
    supervisor: Supervisor, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKOFF_FIRST_S", 60.0)
    unit = add(supervisor, stage)
    await supervisor.wait_ready()
    unit.kill()
    while unit.condition.state != State.RESTARTING:
        await asyncio.sleep(0)
    await supervisor.stop("ingest")
    assert len(stage.processes) == 1


async def test_stopping_before_the_process_is_there_ends_it_when_it_is(
    supervisor: Supervisor, stage: Stage
) -> None:
    add(supervisor, stage)
    await supervisor.stop("ingest")
    assert all(process.signals == [signal.SIGTERM] for process in stage.processes)
