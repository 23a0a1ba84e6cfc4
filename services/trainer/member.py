"""One of the processes that share a training: `python -m services.trainer.member FOLDER PID`.

torchrun's launcher starts it; see `services.trainer.training.team`.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import traceback
from pathlib import Path

from loopline.errors import Rejected
from services.trainer.domain.job import Failed, Followed, Report, Stopped
from services.trainer.ending import die_with, failure_of
from services.trainer.recipes.registry import checked_parameters, find_recipe


def main(folder: Path) -> int:
    """Train; return the exit status."""
    from services.trainer.training import loop, peers, session
    from services.trainer.training.team import ASSIGNMENT

    assignment = ASSIGNMENT.validate_json((folder / "assignment.json").read_bytes())
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(folder / "reports"))
    lock, stop = threading.Lock(), threading.Event()

    def emit(report: Report) -> None:
        with lock:
            connection.sendall(report.model_dump_json().encode() + b"\n")

    threading.Thread(target=_hear, args=(connection, stop), daemon=True).start()
    try:
        recipe = find_recipe(assignment.recipe)
        parameters = checked_parameters(recipe, assignment.parameters)
        trained = session.train(
            recipe, assignment.recipe, parameters, assignment.job, emit, stop, peers.joined()
        )
    except loop.Stopped as stopped:
        emit(Stopped(step=stopped.step))
        return 1  # the launcher ends the others
    except Rejected as error:
        emit(Failed(kind="rejected", reason=error.message))
        return 1
    except Exception as error:  # a recipe may raise anything
        traceback.print_exc()
        emit(failure_of(error))
        return 1
    emit(Followed() if trained is None else trained)
    return 0


def _hear(connection: socket.socket, stop: threading.Event) -> None:
    """The one thing that is ever said to a member is to stop."""
    with connection.makefile("rb") as lines:
        if next(lines, None):
            stop.set()


if __name__ == "__main__":
    die_with(int(sys.argv[2]))
    # Threads of torch's that still wait for the others must not keep it from ending.
    status = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
