"""The training process: `python -m services.trainer.train <parent pid> <niceness>`, one for a run.

It reads commands as JSON lines from its standard input and writes reports as JSON lines to its
standard output (`services.trainer.domain.job`); whatever else is printed goes to standard error. It
ends with its input, and dies with its parent.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import BinaryIO, Final

from loopline.errors import Rejected
from loopline.store import runs
from services.trainer.domain.job import Command, Describe, Described, Failed, Report, Train
from services.trainer.recipes.parameters import RecipeParameters
from services.trainer.recipes.registry import AnyRecipe, checked_parameters, find_recipe

# The source that weights depend on, beside the recipe's own.
CODE: Final = (
    "loopline.vision",
    "services.trainer.domain",
    "services.trainer.recipes",
    "services.trainer.training",
)
_PR_SET_PDEATHSIG: Final = 1
_OUT_OF_MEMORY: Final = ("out of memory", "can't allocate memory", "cannot allocate memory")


class Program:
    """Answers the commands of one run.

    Args:
        reports: Where reports go.
    """

    def __init__(self, reports: BinaryIO) -> None:
        self._reports = reports
        self._lock = threading.Lock()
        self._described: tuple[AnyRecipe, str, RecipeParameters] | None = None

    def emit(self, report: Report) -> None:
        """Write one report; any thread may."""
        line = report.model_dump_json().encode() + b"\n"
        with self._lock:
            self._reports.write(line)
            self._reports.flush()

    def handle(self, line: bytes) -> None:
        """Carry out one command; whatever goes wrong is reported."""
        try:
            command = Command.validate_json(line)
            if isinstance(command, Describe):
                self._describe(command)
            else:
                self._train(command)
        except Rejected as error:
            self.emit(Failed(kind="rejected", reason=error.message))
        except Exception as error:  # a recipe may raise anything
            traceback.print_exc()
            kind = "out_of_memory" if _is_out_of_memory(error) else "crashed"
            self.emit(Failed(kind=kind, reason=_one_line(error)))

    def _describe(self, command: Describe) -> None:
        recipe = find_recipe(command.recipe)
        parameters = checked_parameters(recipe, command.parameters)
        self._described = (recipe, command.recipe, parameters)
        self.emit(
            Described(
                parameters=parameters.model_dump(mode="json"),
                task=recipe.task,
                code_digest=runs.code_digest(*_code_of(recipe)),
            )
        )
        recipe.load()
        from services.trainer.training import session  # noqa: F401  # loads torch, for seconds

    def _train(self, command: Train) -> None:
        from services.trainer.training import session

        if self._described is None:
            raise Rejected("a recipe must be described before it is trained")
        recipe, name, parameters = self._described
        self.emit(session.train(recipe, name, parameters, command, self.emit))


def _code_of(recipe: AnyRecipe) -> tuple[str, ...]:
    package = recipe.__module__.partition(".")[0]
    return CODE if package == "services" else (*CODE, package)


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY)


def _one_line(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]} ({Path(where.filename).name}:{where.lineno})"


def _die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit("the service that started this process is gone")


def _private_output() -> BinaryIO:
    """Keep standard output for reports: what recipes print goes to standard error."""
    reports = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return reports


def main(parent_pid: int, niceness: int) -> None:
    """Carry out commands until there are no more.

    Args:
        parent_pid: The process to die with.
        niceness: How much to give way to other processes.
    """
    _die_with(parent_pid)
    os.nice(niceness)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service decides what Ctrl-C means
    program = Program(_private_output())
    for line in sys.stdin.buffer:
        program.handle(line)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
