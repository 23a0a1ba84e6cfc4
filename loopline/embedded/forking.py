"""The supervisor's side of the fork server: a `Spawner` that asks it for children."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal as signals
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from loopline.embedded import forkserver
from loopline.embedded.command import Command, die_with_parent, import_path
from loopline.embedded.errors import PlatformError
from loopline.embedded.logs import LogPump

log = structlog.get_logger()

KILLED = -int(signals.SIGKILL)
READY_TIMEOUT_S = 60.0
SPAWN_TIMEOUT_S = 30.0
ENVIRONMENT = {
    # Read when libraries load, so before any child's own environment is there. Without the first
    # two, NumPy's OpenBLAS (one per core) and Arrow's jemalloc (which its default pool does not
    # use) start threads, and a process with threads cannot be forked safely.
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    # Each memory arena of a thread pool keeps tens of megabytes; two are enough.
    "MALLOC_ARENA_MAX": "2",
}


class ForkSpawner:
    """Starts `python -m ...` commands as forks of one server that has the imports done.

    The server is started at the first request, and again after it died; its children die with it.

    Args:
        logs: Takes what the server itself prints.
        log_file: Where that goes.
    """

    def __init__(self, logs: LogPump, log_file: Path) -> None:
        self._logs = logs
        self._log_file = log_file
        self._server: _Server | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Start the server, so that it imports while other things start."""
        await self._running()

    async def spawn(self, command: Command, output: int) -> _Forked:
        """See `Spawner`."""
        server = await self._running()
        return await server.spawn(command, output)

    async def stop(self) -> None:
        """End the server; its children must have ended."""
        if self._server is not None and self._server.alive:
            await self._server.stop()

    @property
    def pid(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self._server.pid if self._server is not None and self._server.alive else 0

    def kill(self, sig: int) -> int:
        """Send a signal to the server and return its pid; 0 if it does not run."""
        pid = self.pid
        if pid:
            os.kill(pid, sig)
        return pid

    async def _running(self) -> _Server:
        async with self._starting:
            if self._server is None or not self._server.alive:
                self._server = await _Server.start(self._logs, self._log_file)
            return self._server


class _Server:
    """One fork server process."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._ready = asyncio.get_running_loop().create_future()
        self._ids = itertools.count()
        self._spawned: dict[int, asyncio.Future[int]] = {}
        self._running: dict[int, _Forked] = {}
        # A child may end before the answer that tells its pid is read.
        self._ended: dict[int, int] = {}
        self._reader = asyncio.create_task(self._read())
        self.alive = True

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def start(cls, logs: LogPump, log_file: Path) -> _Server:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output = logs.open("forkserver", log_file)
        try:
            process = subprocess.Popen(  # noqa: ASYNC220 - milliseconds
                (sys.executable, "-m", forkserver.__name__, str(theirs.fileno())),
                env={**os.environ, **ENVIRONMENT, **import_path()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509
            )
        finally:
            os.close(output)
            theirs.close()
        ours.setblocking(False)
        return cls(process, ours)

    async def spawn(self, command: Command, output: int) -> _Forked:
        await asyncio.wait_for(asyncio.shield(self._ready), READY_TIMEOUT_S)
        number = next(self._ids)
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._spawned[number] = answer
        request = {
            "id": number,
            "name": command.name,
            "module": _module(command),
            "arguments": list(command.argv[3:]),
            "cwd": str(command.cwd),
            "env": {**os.environ, **command.env},
        }
        # One message of some kilobytes: the socket's buffer takes it whole.
        socket.send_fds(self._control, [json.dumps(request).encode()], [output])
        pid = await asyncio.wait_for(answer, SPAWN_TIMEOUT_S)
        child = _Forked(pid)
        self._running[pid] = child
        if pid in self._ended:
            self._finish(pid, self._ended.pop(pid))
        return child

    async def stop(self) -> None:
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader
        self._control.close()
        self._process.terminate()
        await asyncio.to_thread(self._process.wait)
        self.alive = False

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        rest = b""
        with suppress(OSError):
            while data := await loop.sock_recv(self._control, 65_536):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._hear(json.loads(line))
        self._died()

    def _hear(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            self._ready.set_result(None)
        elif "pid" in message:
            answer = self._spawned.pop(message["id"])
            if not answer.done():
                answer.set_result(message["pid"])
        else:
            self._finish(message["exit"], message["code"])

    def _finish(self, pid: int, code: int) -> None:
        child = self._running.pop(pid, None)
        if child is None:
            self._ended[pid] = code
        else:
            child.finish(code)

    def _died(self) -> None:
        """Every child is dead with it, by the kernel's hand."""
        self.alive = False
        self._control.close()
        self._process.wait()
        log.warning("fork_server_ended", exit_code=self._process.returncode)
        error = PlatformError("the fork server ended; see its log")
        for answer in (self._ready, *self._spawned.values()):
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # seen, also if nobody waits
        for child in list(self._running.values()):
            child.finish(KILLED)


class _Forked:
    """A child of the fork server."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int:
        return self._pid

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    def send_signal(self, signal: int) -> None:
        if not self._code.done():
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal)

    def finish(self, code: int) -> None:
        if not self._code.done():
            self._code.set_result(code)


def _module(command: Command) -> str:
    if command.argv[:2] != (sys.executable, "-m"):
        raise PlatformError(f"{command.name} is not `python -m ...`: it cannot be forked")
    return command.argv[2]
