"""What it means that a training process ended without a result."""

from __future__ import annotations

import signal

from loopline.errors import LooplineError, Rejected, Transient

KILLED_ATTEMPTS_MAX = 3
"""Deliveries in which the process may be killed before the run is given up."""


class Separated(Transient):
    """A process that shares the training does not answer: why is known where that one ran."""


def verdict(exit_code: int, attempt: int, last_words: str) -> LooplineError:
    """Return the error that a process's end without any report stands for.

    A killed process may have been unlucky: the run goes on from its last checkpoint, a few times.
    One that ended by itself would do so again.

    Args:
        exit_code: Negative for a signal.
        attempt: Which delivery of the command this is, from 1.
        last_words: The end of its standard error.
    """
    if exit_code >= 0:
        return Rejected(f"training ended with exit code {exit_code}{_quoted(last_words)}")
    name = _signal_name(-exit_code)
    if exit_code == -signal.SIGKILL:
        reason = f"training was killed ({name}): most likely the machine ran out of memory"
    else:
        reason = f"training crashed ({name}){_quoted(last_words)}"
    return _killed(reason, attempt)


def failed(kind: str, reason: str, attempt: int) -> LooplineError:
    """Return the error that a training's own report of its failure stands for.

    Args:
        kind: See `services.trainer.domain.job.Failed`.
        reason: One sentence.
        attempt: Which delivery of the command this is, from 1.
    """
    if kind == "killed":
        return _killed(reason, attempt)
    if kind == "separated":
        return Separated(f"who shares the training does not answer: {reason}")
    if kind == "disk_full":
        return Transient(f"the disk is full: {reason}")
    meaning = {
        "out_of_memory": "training ran out of memory: ",
        "loader": "images could not be made into a batch: ",
        "crashed": "the recipe failed: ",
    }
    return Rejected(f"{meaning.get(kind, '')}{reason}")


def _killed(reason: str, attempt: int) -> LooplineError:
    if attempt < KILLED_ATTEMPTS_MAX:
        return Transient(f"{reason}; it goes on from its last checkpoint")
    return Rejected(f"{reason}; given up after {attempt} attempts")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _quoted(last_words: str) -> str:
    lines = [line.strip() for line in last_words.splitlines() if line.strip()]
    return f": {lines[-1]}" if lines else ""
