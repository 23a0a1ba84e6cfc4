"""The process that measures and quantizes: started for one task, heard to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from loopline.errors import LooplineError, Rejected, Transient
from services.trainer.adapters.process import ENVIRONMENT, LINE_BYTES_MAX
from services.trainer.domain.ending import KILLED_ATTEMPTS_MAX
from services.trainer.domain.job import Failed
from services.trainer.domain.measuring import WORD, AnyTask, AnyWord, Counted, Done

MODULE: Final = "services.trainer.measure"
LAST_WORDS_BYTES: Final = 4096

Hear = Callable[[Counted], Awaitable[None]]


async def carried_out(
    task: AnyTask, folder: Path, hear: Hear, *, attempt: int, silence_s: float, niceness: int
) -> Done:
    """Have a process do the task; it dies with this one, and when this call is cancelled.

    Args:
        task: What to do.
        folder: Where its standard error is kept.
        hear: Told how far it is.
        attempt: Which delivery of the command this is, from 1.
        silence_s: How long it may say nothing.
        niceness: How much it gives way to others.

    Raises:
        Rejected: It cannot be done.
        Transient: The process was killed and may have more luck next time.
    """
    with (folder / "measure.log").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", MODULE, str(os.getpid()), str(niceness)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
            limit=LINE_BYTES_MAX,
            env=_environment(),
        )
    try:
        return await _heard(process, task, hear, folder, attempt, silence_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _heard(
    process: Process, task: AnyTask, hear: Hear, folder: Path, attempt: int, silence_s: float
) -> Done:
    assert process.stdin is not None  # pipes were asked for
    assert process.stdout is not None
    process.stdin.write(task.model_dump_json().encode() + b"\n")
    with contextlib.suppress(ConnectionError):  # it is gone: the next line says so
        await process.stdin.drain()
        process.stdin.close()
    while True:
        try:
            line = await asyncio.wait_for(process.stdout.readline(), silence_s)
        except TimeoutError as error:
            raise Transient(f"it said nothing for {silence_s:.0f} s") from error
        if not line:
            raise _ended(await process.wait(), folder, attempt)
        word: AnyWord = WORD.validate_json(line)
        if isinstance(word, Done):
            return word
        if isinstance(word, Failed):
            raise _failed(word)
        await hear(word)


def _failed(word: Failed) -> LooplineError:
    if word.kind == "disk_full":
        return Transient(f"the disk is full: {word.reason}")
    if word.kind == "out_of_memory":
        return Rejected(f"it ran out of memory: {word.reason}")
    return Rejected(word.reason)


def _ended(exit_code: int, folder: Path, attempt: int) -> LooplineError:
    """Return what it means that the process ended without a result."""
    if exit_code == -signal.SIGKILL:
        reason = "the process was killed: most likely the machine ran out of memory"
        if attempt < KILLED_ATTEMPTS_MAX:
            return Transient(reason)
        return Rejected(f"{reason}; given up after {attempt} attempts")
    last = (folder / "measure.log").read_bytes()[-LAST_WORDS_BYTES:].decode(errors="replace")
    lines = [line.strip() for line in last.splitlines() if line.strip()]
    said = f": {lines[-1]}" if lines else ""
    return Rejected(f"the process ended with exit code {exit_code}{said}")


def _environment() -> dict[str, str]:
    """Return this process's environment without our secrets, importing from where this one does."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LOOPLINE_")}
    root = Path(__file__).parents[3]
    paths = [str(root), *filter(None, inherited.get("PYTHONPATH", "").split(os.pathsep))]
    return inherited | ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(paths)}
