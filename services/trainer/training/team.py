"""A training shared by several processes: torchrun's launcher starts and watches them.

The first of them speaks through a socket as a training alone does through its output; one that is
killed takes the others with it, and the attempt ends cleanly.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

from services.trainer.domain.job import REPORT, Failed, Report, Stop, Stopped, Train, Trained

MEMBER: Final = "services.trainer.member"
MONITOR_S: Final = 0.2  # how soon the end of one is noticed
LAST: Final = (Failed, Stopped, Trained)


class Assignment(BaseModel):
    """What every member is told, in a file."""

    recipe: str
    parameters: dict[str, Any]
    job: Train


ASSIGNMENT = TypeAdapter(Assignment)


def train(assignment: Assignment, count: int, emit: Any, stop: threading.Event) -> Report:
    """Train with `count` processes; return how it ended, `emit` is told everything before.

    Args:
        assignment: What to train.
        count: How many processes.
        emit: Told of progress and checkpoints.
        stop: Set by whoever wants it to stop.
    """
    with tempfile.TemporaryDirectory(prefix="loopline-team-") as name:
        folder = Path(name)
        (folder / "assignment.json").write_text(assignment.model_dump_json())
        switchboard = Switchboard(folder / "reports", emit, stop)
        killed = ""
        try:
            killed = _launch(folder, count)
        finally:
            switchboard.close()
    ending = switchboard.ending
    if ending is None or (killed and isinstance(ending, Failed) and ending.kind == "crashed"):
        # What the others say then is that one does not answer any more.
        return Failed(kind="killed", reason=killed or "the processes ended without a word")
    return ending


class Switchboard:
    """Hears what members report, and tells the first of them to stop.

    Args:
        path: Of the socket.
        emit: Told of progress and checkpoints.
        stop: Set by whoever wants the training to stop.
    """

    def __init__(self, path: Path, emit: Any, stop: threading.Event) -> None:
        self.ending: Report | None = None
        self._emit = emit
        self._stop = stop
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Hear the last words and close."""
        self._closed.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:  # closed
                return
            for target in (self._hear, self._pass_on):
                thread = threading.Thread(target=target, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _hear(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                report: Report = REPORT.validate_json(line)
                if isinstance(report, LAST):
                    with self._lock:
                        # What went wrong first is the reason; what follows from it is not.
                        self.ending = self.ending or report
                else:
                    self._emit(report)

    def _pass_on(self, connection: socket.socket) -> None:
        while not self._closed.is_set():
            if self._stop.wait(MONITOR_S):
                with contextlib.suppress(OSError):  # that one is gone
                    connection.sendall(Stop().model_dump_json().encode() + b"\n")
                return


def _launch(folder: Path, count: int) -> str:
    """Run the members to their end; return which was killed, and by what, or ""."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=folder.name,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        rdzv_configs={"is_host": True},
        max_restarts=0,
        monitor_interval=MONITOR_S,
        local_addr="127.0.0.1",
    )
    try:
        elastic_launch(config, sys.executable)("-m", MEMBER, str(folder), str(os.getpid()))
    except ChildFailedError as error:
        return next(_killed(error), "")
    return ""


def _killed(error: Any) -> Iterator[str]:
    for failure in error.failures.values():
        # SIGTERM is how the launcher ends the others.
        if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:
            name = signal.Signals(-failure.exitcode).name
            number = failure.local_rank + 1
            yield f"process {number} of those that share the training was killed ({name})"
