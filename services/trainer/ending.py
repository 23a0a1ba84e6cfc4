"""How training processes end: with their parent, and with a report of what went wrong."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Final

from services.trainer.domain.job import Failed

_PR_SET_PDEATHSIG: Final = 1
_OUT_OF_MEMORY: Final = ("out of memory", "can't allocate memory", "cannot allocate memory")
FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_SEPARATED: Final = "gloo"  # in what its errors say of connections; they have no type of their own
_DISTRIBUTED: Final = "DistError"  # torch's, by name: who is not in a team need not load it
LOADING: Final = ("batches.py", "pixels.py")
"""Where images are read and made into batches."""


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit("the process that started this one is gone")


def failure_of(error: Exception) -> Failed:
    """Return what an exception within a training stands for."""
    if _is_out_of_memory(error):
        return Failed(kind="out_of_memory", reason=_one_line(error))
    if isinstance(error, OSError) and error.errno in FULL:
        return Failed(kind="disk_full", reason=_one_line(error))
    if _is_separated(error):
        return Failed(kind="separated", reason=_one_line(error))
    frames = [Path(frame.filename).name for frame in traceback.extract_tb(error.__traceback__)]
    kind: Final = "loader" if any(name in LOADING for name in frames) else "crashed"
    return Failed(kind=kind, reason=_one_line(error))


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY)


def _is_separated(error: Exception) -> bool:
    """Tell whether another process that shares the training is gone, as far as this one knows."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return _DISTRIBUTED in kinds or (
        type(error) is RuntimeError and _SEPARATED in str(error).lower()
    )


def _one_line(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]} ({Path(where.filename).name}:{where.lineno})"
