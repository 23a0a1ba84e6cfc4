"""The training process: `python -m services.trainer.train <parent pid> <niceness>`, one for a run.

It reads commands as JSON lines from its standard input and writes reports as JSON lines to its
standard output (`services.trainer.domain.job`); whatever else is printed goes to standard error. It
ends with its input, and dies with its parent.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Iterable
from typing import BinaryIO, Final

from loopline.digests import code_digest
from loopline.errors import Rejected
from services.trainer.domain.job import (
    AnyCommand,
    Command,
    Describe,
    Described,
    Failed,
    Report,
    Stop,
    Stopped,
    Train,
)
from services.trainer.ending import die_with, failure_of
from services.trainer.recipes.parameters import RecipeParameters
from services.trainer.recipes.registry import AnyRecipe, checked_parameters, find_recipe

# The source that weights depend on, beside the recipe's own.
CODE: Final = (
    "loopline.evaluation",
    "loopline.vision",
    "services.trainer.domain",
    "services.trainer.evaluation",
    "services.trainer.recipes",
    "services.trainer.training",
)
STOP: Final = Stop().model_dump_json().encode()


class Program:
    """Answers the commands of one run.

    Args:
        reports: Where reports go.
    """

    def __init__(self, reports: BinaryIO) -> None:
        self._reports = reports
        self._lock = threading.Lock()
        self._described: tuple[AnyRecipe, Describe, RecipeParameters] | None = None
        self.stop = threading.Event()

    def emit(self, report: Report) -> None:
        """Write one report; any thread may."""
        line = report.model_dump_json().encode() + b"\n"
        with self._lock:
            self._reports.write(line)
            self._reports.flush()

    def hear(self, lines: Iterable[bytes]) -> None:
        """Carry out commands, one after the other; `Stop` is heard while another is carried out."""
        commands: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        listener = threading.Thread(target=self._listen, args=(lines, commands), daemon=True)
        listener.start()
        while (line := commands.get()) is not None:
            self.handle(line)

    def _listen(self, lines: Iterable[bytes], commands: queue.SimpleQueue[bytes | None]) -> None:
        for line in lines:
            if line.strip() == STOP:
                self.stop.set()
            else:
                commands.put(line)
        commands.put(None)

    def handle(self, line: bytes) -> None:
        """Carry out one command; whatever goes wrong is reported."""
        try:
            self._carry_out(Command.validate_json(line))
        except Rejected as error:
            self.emit(Failed(kind="rejected", reason=error.message))
        except Exception as error:  # a recipe may raise anything
            traceback.print_exc()
            self.emit(failure_of(error))

    def _carry_out(self, command: AnyCommand) -> None:
        if isinstance(command, Describe):
            self._describe(command)
        elif isinstance(command, Train):
            self._train(command)
        else:
            self.stop.set()

    def _describe(self, command: Describe) -> None:
        recipe = find_recipe(command.recipe)
        parameters = checked_parameters(recipe, command.parameters)
        self._described = (recipe, command, parameters)
        self.emit(
            Described(
                parameters=parameters.decisive(),
                task=recipe.task,
                code_digest=code_digest(*_code_of(recipe)),
            )
        )
        # What is loaded here takes seconds.
        if parameters.processes * parameters.nodes > 1:  # others train, and load the rest
            import torch.distributed.launcher.api  # noqa: F401
        else:
            recipe.load()
            from services.trainer.training import session  # noqa: F401

    def _train(self, command: Train) -> None:
        from services.trainer.training import team

        if self._described is None:
            raise Rejected("a recipe must be described before it is trained")
        recipe, asked, parameters = self._described
        if parameters.processes * parameters.nodes > 1:
            assignment = team.Assignment(
                recipe=asked.recipe, parameters=asked.parameters, job=command
            )
            team.train(assignment, parameters.processes, self.emit, self.stop)
            return
        from services.trainer.training import loop, session

        try:
            trained = session.train(recipe, asked.recipe, parameters, command, self.emit, self.stop)
        except loop.Stopped as stopped:
            self.emit(Stopped(step=stopped.step))
        else:
            assert trained is not None  # it is, for a process alone
            self.emit(trained)


def _code_of(recipe: AnyRecipe) -> tuple[str, ...]:
    package = recipe.__module__.partition(".")[0]
    return CODE if package == "services" else (*CODE, package)


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
    die_with(parent_pid)
    os.nice(niceness)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service decides what Ctrl-C means
    Program(_private_output()).hear(sys.stdin.buffer)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
