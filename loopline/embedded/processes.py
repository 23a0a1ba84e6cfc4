"""Child processes: started directly, or forked from a server that has the imports done."""

from __future__ import annotations

import asyncio
import os
from typing import Protocol

from loopline.embedded.command import Command, die_with_parent


class ChildProcess(Protocol):
    """A process that runs, or has ended."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    async def wait(self) -> int:
        """Wait until it ends; return its exit code, negative for a signal."""
        ...

    def send_signal(self, signal: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        ...


class Spawner(Protocol):
    """Starts commands."""

    async def spawn(self, command: Command, output: int) -> ChildProcess:
        """Start a command whose output goes to the descriptor `output`."""
        ...


class DirectSpawner:
    """Starts each command as a program of its own."""

    async def spawn(self, command: Command, output: int) -> ChildProcess:
        """See `Spawner`."""
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            cwd=command.cwd,
            env={**os.environ, **command.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops in order
            preexec_fn=die_with_parent(),
        )
        return _Direct(process)


class _Direct:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        return await self._process.wait()

    def send_signal(self, signal: int) -> None:
        if self._process.returncode is None:
            try:
                self._process.send_signal(signal)
            except ProcessLookupError:
                return
