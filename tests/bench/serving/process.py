"""A server's process, on one core, and the processor time of its whole tree."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

START_S = 180.0
STOP_S = 30.0


class ServerProcess:
    """A running server.

    Args:
        popen: The process; `taskset` became it.
        port: Where it listens.
    """

    def __init__(self, popen: subprocess.Popen[str], port: int) -> None:
        self._popen = popen
        self._process = psutil.Process(popen.pid)
        self.port = port

    def cpu_s(self) -> float:
        """Return the processor time of the process and its descendants so far, seconds."""
        tree = [self._process, *self._process.children(recursive=True)]
        return sum(_cpu_s(process.pid) for process in tree)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run only here: some servers are busy even when nobody asks them anything."""
        self.wake()
        try:
            yield
        finally:
            self.rest()

    def wake(self) -> None:
        """Let it run."""
        self._signal(signal.SIGCONT)

    def rest(self) -> None:
        """Stop it until it is `awake`."""
        self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        for process in [self._process, *self._process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def ask(self, line: str) -> str:
        """Send a line, return the answer's."""
        stdin, stdout = _pipes(self._popen)
        stdin.write(line + "\n")
        stdin.flush()
        return stdout.readline().strip()


@contextmanager
def serving(
    command: Sequence[str], core: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """Start a server on a core and wait until it prints "port N"; end it afterwards."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as errors:
        popen = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        try:
            server = ServerProcess(popen, _port(popen, log))
            server.rest()
            try:
                yield server
            finally:
                server.wake()
        finally:
            _end(popen)


def _port(popen: subprocess.Popen[str], log: Path) -> int:
    _, stdout = _pipes(popen)
    until = time.monotonic() + START_S
    for line in stdout:
        if line.startswith("port "):
            return int(line.split()[1])
        if time.monotonic() > until:
            break
    raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}")


def _end(popen: subprocess.Popen[str]) -> None:
    stdin, stdout = _pipes(popen)
    tree = psutil.Process(popen.pid).children(recursive=True) if popen.poll() is None else []
    stdin.close()
    try:
        popen.wait(STOP_S)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait(STOP_S)
    for process in tree:
        if process.is_running():
            process.kill()
    psutil.wait_procs(tree, STOP_S)
    stdout.close()


def _pipes(popen: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert popen.stdin is not None
    assert popen.stdout is not None
    return popen.stdin, popen.stdout


def _cpu_s(pid: int) -> float:
    """Return what the scheduler says a process used, its ended threads too, to the nanosecond.

    The number of another process's clock is made as clock_getcpuclockid(3) makes it.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:  # it ended
        return 0.0
