"""The process that measures and quantizes: `python -m services.trainer.measure <parent> <nice>`.

It reads one task as JSON from its standard input, writes words as JSON lines to its standard output
(`services.trainer.domain.measuring`), and dies with its parent. It never imports torch.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from typing import BinaryIO

from loopline.errors import Rejected
from services.trainer.adapters.files import write_whole
from services.trainer.domain.job import PLACED, Failed, Placed
from services.trainer.domain.measuring import (
    OUTCOMES_FILE,
    PAGE_FILE,
    REPORT_FILE,
    TASK,
    AnyTask,
    AnyWord,
    Counted,
    Done,
    Measure,
    Quantize,
)
from services.trainer.ending import die_with, failure_of


class Program:
    """Carries out one task.

    Args:
        words: Where reports go.
    """

    def __init__(self, words: BinaryIO) -> None:
        self._words = words

    def carry_out(self, line: bytes) -> None:
        """Do what the task says; whatever goes wrong is said."""
        try:
            self._say(self._do(TASK.validate_json(line)))
        except Rejected as error:
            self._say(Failed(kind="rejected", reason=error.message))
        except Exception as error:  # told, not swallowed
            traceback.print_exc()
            self._say(failure_of(error))

    def _say(self, word: AnyWord) -> None:
        self._words.write(word.model_dump_json().encode() + b"\n")
        self._words.flush()

    def _do(self, task: AnyTask) -> Done:
        with task.examples_file.open("rb") as lines:
            examples = [PLACED.validate_json(line) for line in lines]
        if isinstance(task, Quantize):
            return self._quantize(task, examples)
        return self._measure(task, examples)

    def _measure(self, task: Measure, examples: list[Placed]) -> Done:
        from services.trainer.evaluation import pages
        from services.trainer.evaluation.measuring import measure, named
        from services.trainer.evaluation.network import Network

        subject = task.subject
        network = Network(subject.onnx_file.read_bytes(), subject.task, task.threads)

        def tell(done: int, images_per_s: float) -> None:
            self._say(Counted(done=done, total=len(examples), images_per_s=images_per_s))

        measured = measure(
            network, subject.task, subject.classes, subject.input_format, examples, tell
        )
        report = named(
            measured.findings.report, model=subject.name, dataset=task.dataset, split=task.split
        ).model_copy(update={"speed": measured.speed})
        paths = {one.example.asset: one.path for one in examples}
        write_whole(task.folder / REPORT_FILE, pages.report_file(report))
        write_whole(task.folder / OUTCOMES_FILE, pages.outcomes_file(measured.findings))
        write_whole(task.folder / PAGE_FILE, pages.page_file(report, paths))
        figures = {"images_per_s": measured.speed.images_per_s, "p50_ms": measured.speed.p50_ms}
        return Done(metrics=report.metrics, count=report.count, figures=figures)

    def _quantize(self, task: Quantize, examples: list[Placed]) -> Done:
        from services.trainer.evaluation.quantizing import quantize

        began = time.monotonic()
        before = task.subject.onnx_file.read_bytes()
        after = quantize(before, examples, task.subject.input_format)
        write_whole(task.onnx_file, after)
        return Done(
            count=len(examples),
            figures={
                "onnx_bytes_before": float(len(before)),
                "onnx_bytes": float(len(after)),
                "quantize_s": time.monotonic() - began,
            },
        )


def main(parent_pid: int, niceness: int) -> None:
    """Carry out one task.

    Args:
        parent_pid: The process to die with.
        niceness: How much to give way to other processes.
    """
    die_with(parent_pid)
    os.nice(niceness)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service decides what Ctrl-C means
    words = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes to standard error
    Program(words).carry_out(sys.stdin.buffer.readline())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
