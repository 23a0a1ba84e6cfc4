"""The training process: started for one run, spoken to in JSON lines, ended with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Final

from loopline.errors import LooplineError, Transient
from services.trainer.domain.ending import failed, verdict
from services.trainer.domain.job import (
    REPORT,
    AnyCommand,
    Describe,
    Described,
    Failed,
    Followed,
    Report,
    Stop,
    Stopped,
    Train,
    Trained,
)

MODULE: Final = "services.trainer.train"
LINE_BYTES_MAX: Final = 4 * 1024**2
LAST_WORDS_BYTES: Final = 64 * 1024  # of standard error, kept for the reason of a crash
DESCRIBE_TIMEOUT_S: Final = 120.0
END_TIMEOUT_S: Final = 5.0
# One thread for each library, until the parameters say otherwise, and no spinning while it waits.
ENVIRONMENT: Final = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


class TrainingProcess:
    """One process; use `started`.

    Args:
        process: The started process.
        attempt: Which delivery of the command this is, from 1.
        silence_s: How long it may say nothing while it trains.
    """

    def __init__(self, process: Process, attempt: int, silence_s: float) -> None:
        self._process = process
        self._attempt = attempt
        self._silence_s = silence_s
        self._last_words = bytearray()
        self._listener = asyncio.create_task(self._listen())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def describe(self, recipe: str, parameters: dict[str, Any]) -> Described:
        """Check a recipe's parameters; the process then loads what training needs.

        Raises:
            Rejected: The recipe or a parameter is wrong.
        """
        await self._say(Describe(recipe=recipe, parameters=parameters))
        report = await self._hear(DESCRIBE_TIMEOUT_S)
        if not isinstance(report, Described):
            raise Transient(f"training answered {report.event} where a description was due")
        return report

    async def train(self, job: Train) -> AsyncIterator[Report]:
        """Train, yielding reports; the last one is `Trained`, or `Followed` where others lead.

        Raises:
            Rejected: The data cannot be trained with, or the recipe is broken.
            Transient: The process was killed and may have more luck next time.
            Separated: Another one that shares the training does not answer.
        """
        await self._say(job)
        while True:
            # Who follows says nothing on the way: who leads is heard, and ends the others.
            report = await self._hear(None if job.place.rank else self._silence_s)
            yield report
            if isinstance(report, Trained | Followed):
                return

    async def stop(self, timeout_s: float) -> bool:
        """Ask the training to stop; return whether it did so, with a checkpoint, in time."""
        with contextlib.suppress(LooplineError, TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._say(Stop())
                while not isinstance(await self._hear(timeout_s), Stopped):
                    pass
                return True
        return False

    def kill(self) -> None:
        """Kill the process, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """Kill the process, if it still runs, and forget it."""
        self.kill()
        await self._process.wait()
        self._listener.cancel()
        await asyncio.gather(self._listener, return_exceptions=True)
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def _say(self, command: AnyCommand) -> None:
        assert self._process.stdin is not None  # a pipe was asked for
        self._process.stdin.write(command.model_dump_json().encode() + b"\n")
        with contextlib.suppress(ConnectionError):  # it is gone: `_hear` finds out why
            await self._process.stdin.drain()

    async def _hear(self, timeout_s: float | None) -> Report:
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), timeout_s)
        except TimeoutError as error:
            raise Transient(f"training said nothing for {timeout_s or 0:.0f} s") from error
        if not line:
            raise await self._post_mortem()
        report: Report = REPORT.validate_json(line)
        if isinstance(report, Failed):
            raise failed(report.kind, report.reason, self._attempt)
        return report

    async def _post_mortem(self) -> Exception:
        try:
            exit_code = await asyncio.wait_for(self._process.wait(), END_TIMEOUT_S)
        except TimeoutError:
            return Transient("training closed its output but goes on")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._listener), END_TIMEOUT_S)
        return verdict(exit_code, self._attempt, self._last_words.decode(errors="replace"))

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(4096):
            self._last_words += chunk
            del self._last_words[:-LAST_WORDS_BYTES]


@contextlib.asynccontextmanager
async def started(
    *, attempt: int, silence_s: float, niceness: int
) -> AsyncIterator[TrainingProcess]:
    """Start a training process and end it at the end of the block, whatever happens.

    It dies with this process too, even if this one is killed.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        MODULE,
        str(os.getpid()),
        str(niceness),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        limit=LINE_BYTES_MAX,
        env=_environment(),
    )
    training = TrainingProcess(process, attempt, silence_s)
    try:
        yield training
    finally:
        await training.end()


@contextlib.asynccontextmanager
async def beside(
    process: TrainingProcess, work: Coroutine[Any, Any, object], name: str
) -> AsyncIterator[None]:
    """Do work while the block trains, and no longer; what it raises kills the process.

    Args:
        process: What the block trains with.
        work: What is done.
        name: Of its task.

    Raises:
        Exception: What the work raised, where the block raises a LooplineError: the process that
            ended of the work says only that it was killed.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(lambda done: process.kill() if _error_of(done) else None)
    try:
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    except LooplineError:
        if (error := _error_of(task)) is not None:
            raise error from None
        raise


def _error_of(task: asyncio.Task[object]) -> BaseException | None:
    return None if task.cancelled() else task.exception()


def _environment() -> dict[str, str]:
    """Return this process's environment without our secrets, importing from where this one does."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LOOPLINE_")}
    root = Path(__file__).parents[3]
    paths = [str(root), *filter(None, inherited.get("PYTHONPATH", "").split(os.pathsep))]
    return inherited | ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(paths)}
