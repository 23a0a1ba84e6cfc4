"""A training shared by several processes: torchrun's launcher starts and watches them.

The first of them speaks through a socket as a training alone does through its output; one that is
killed takes the others with it, and the attempt ends cleanly. Where several machines share it, each
starts its own processes, and they meet at the first one's address.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

from services.trainer.domain.job import (
    REPORT,
    Failed,
    Followed,
    Place,
    Report,
    Stop,
    Stopped,
    Train,
    Trained,
)

MEMBER: Final = "services.trainer.member"
MONITOR_S: Final = 0.2  # how soon the end of one is noticed
MEETING_S: Final = 120  # how long machines wait for each other; they have all loaded torch by then
INTERFACES: Final = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
_SIOCGIFADDR: Final = 0x8915
LAST: Final = (Failed, Stopped, Trained)
SURVIVED: Final = ("crashed", "separated")
"""What those say whose peer was killed: it does not answer any more."""


class Assignment(BaseModel):
    """What every member is told, in a file."""

    recipe: str
    parameters: dict[str, Any]
    job: Train


ASSIGNMENT = TypeAdapter(Assignment)


def train(assignment: Assignment, count: int, emit: Any, stop: threading.Event) -> Report:
    """Train with `count` processes; return how it ended, as `emit` is told too.

    Who trains and who follows is told of as soon as it is done: the launcher waits for those of
    other machines, which have other things to do.

    Args:
        assignment: What to train.
        count: How many processes, on this machine.
        emit: Told of all.
        stop: Set by whoever wants it to stop.
    """
    place = assignment.job.place
    with tempfile.TemporaryDirectory(prefix="loopline-team-") as name:
        folder = Path(name)
        (folder / "assignment.json").write_text(assignment.model_dump_json())
        switchboard = Switchboard(folder / "reports", emit, stop, count if place.rank else 0)
        killed = ""
        try:
            killed = _launch(folder, count, place)
        finally:
            switchboard.close()
    ending = switchboard.ending
    if isinstance(ending, Trained | Followed):  # as `emit` knows
        return ending
    if ending is None or (killed and isinstance(ending, Failed) and ending.kind in SURVIVED):
        ending = Failed(kind="killed", reason=killed or "the processes ended without a word")
    emit(ending)
    return ending


class Switchboard:
    """Hears what members report, and tells the first of them to stop.

    Args:
        path: Of the socket.
        emit: Told of progress and checkpoints, and of what is done.
        stop: Set by whoever wants the training to stop.
        following: How many members follow the first one of another machine; 0 where that is here.
    """

    def __init__(self, path: Path, emit: Any, stop: threading.Event, following: int = 0) -> None:
        self.ending: Report | None = None
        self._following = following
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
                if isinstance(report, Followed):
                    self._note_followed(report)
                elif isinstance(report, LAST):
                    self._note_ending(report)
                else:
                    self._emit(report)

    def _note_followed(self, report: Followed) -> None:
        with self._lock:
            self._following -= 1
            is_last = self._following == 0
        if is_last:
            self._note_ending(report)

    def _note_ending(self, report: Report) -> None:
        with self._lock:
            # What went wrong first is the reason; what follows from it is not.
            if self.ending is not None and not _is_separated(self.ending):
                return
            self.ending = report
        if isinstance(report, Trained | Followed):
            self._emit(report)

    def _pass_on(self, connection: socket.socket) -> None:
        while not self._closed.is_set():
            if self._stop.wait(MONITOR_S):
                with contextlib.suppress(OSError):  # that one is gone
                    connection.sendall(Stop().model_dump_json().encode() + b"\n")
                return


def _is_separated(report: Report) -> bool:
    return isinstance(report, Failed) and report.kind == "separated"


def _launch(folder: Path, count: int, place: Place) -> str:
    """Run the members of this machine to their end; return which was killed, and by what, or ""."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from services.trainer.training import meeting

    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    # What they say to each other goes over the interface at which the others reach this one.
    if interface := interface_of(place.address):
        os.environ.update(dict.fromkeys(INTERFACES, interface))
    config = LaunchConfig(
        min_nodes=place.nodes,
        max_nodes=place.nodes,
        nproc_per_node=count,
        max_restarts=0,
        monitor_interval=MONITOR_S,
        run_id=place.team,
        rdzv_backend=meeting.BACKEND,
        rdzv_endpoint=place.rendezvous,
        rdzv_configs={"rank": place.rank, "timeout": MEETING_S},
        local_addr=place.address,
    )
    try:
        elastic_launch(config, sys.executable)("-m", MEMBER, str(folder), str(os.getpid()))
    except ChildFailedError as error:
        return next(_killed(error), "")
    return ""


def interface_of(host: str) -> str:
    """Return the network interface that has an address (Linux, IPv4); "" if none has."""
    import fcntl

    wanted = socket.gethostbyname(host)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            with contextlib.suppress(OSError):  # it has no address
                answer = fcntl.ioctl(asking.fileno(), _SIOCGIFADDR, request)
                if socket.inet_ntoa(answer[20:24]) == wanted:
                    return name
    return ""


def _killed(error: Any) -> Iterator[str]:
    for failure in error.failures.values():
        # SIGTERM is how the launcher ends the others.
        if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:
            name = signal.Signals(-failure.exitcode).name
            number = failure.local_rank + 1
            yield f"process {number} of those that share the training was killed ({name})"
