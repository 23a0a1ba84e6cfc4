"""Files that are there whole or not at all, whoever writes them at the same time."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, data: bytes | memoryview, *, durable: bool = False) -> None:
    """Write a file under a name of its own, then give it the name it is to have.

    Args:
        path: What it is to be called; its folder is made if it is not there.
        data: What is to be in it.
        durable: Whether it must survive a power cut from now on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".writing-", delete=False) as file:
        written = Path(file.name)
        try:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            written.unlink()
            raise
    written.replace(path)
