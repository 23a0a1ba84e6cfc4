"""How a child process is started: what it runs, and that it never outlives its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import site
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import loopline

PR_SET_PDEATHSIG = 1
PRIVATE_UMASK = 0o077


@dataclass(frozen=True)
class Command:
    """A program to run as a child process.

    Attributes:
        name: What the process is called in status tables and log files.
        argv: Program and arguments.
        cwd: The folder it runs in.
        env: Variables set on top of the inherited ones.
    """

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)


def die_with_parent() -> Callable[[], None]:
    """Return what a child runs between fork and exec, so that kill -9 of the parent leaves nothing.

    The library is loaded here, before the fork. The parent is compared by pid afterwards because it
    may have died before the request reached the kernel. Other systems than Linux have no such
    request: there a killed parent leaves its children.
    """
    parent = os.getpid()
    # Between fork and exec the child would run gRPC's own fork handlers, and one in a hundred dies
    # or hangs in them. Read at the first use of gRPC: who used it before must set it by himself.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def prepare() -> None:
        os.umask(PRIVATE_UMASK)
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return prepare


def import_path() -> dict[str, str]:
    """Return the variables that let a child import what this process imports, from any folder."""
    root = str(Path(loopline.__file__).parents[1])
    if root in site.getsitepackages():
        return {}  # in front of the standard library it could shadow it
    inherited = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": os.pathsep.join(filter(None, (inherited, root)))}
