"""Named steps at which the fault tests kill a process.

`LOOPLINE_FAILPOINTS="on_import_chunk/after_write"` kills this process (SIGKILL) the first time that
handler passes that step; "on_import_chunk/after_write#2" the second time that it does so in one
process: handlers publish more than once. A marker file in `LOOPLINE_FAILPOINTS_DIR` makes it once
per platform, not once per restart. Unset, a step costs one dictionary lookup.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextvars import ContextVar
from pathlib import Path

STEPS = ("before_write", "after_write", "after_publish")
"""Before the first object is written; after the writes, before the publish.

After it, before the ack.
"""

current_handler: ContextVar[str] = ContextVar("current_handler", default="")
"""The handler whose message is being processed, set by the runtime."""

_passes: Counter[str] = Counter()
_armed = frozenset(filter(None, os.environ.get("LOOPLINE_FAILPOINTS", "").split(",")))


def failpoint(step: str) -> None:
    """Kill this process if `<current handler>/<step>` is armed and has not fired yet."""
    if not _armed:
        return
    name = f"{current_handler.get()}/{step}"
    _passes[name] += 1
    for armed in (name, f"{name}#{_passes[name]}"):
        if armed in _armed and _is_first(armed):
            os.kill(os.getpid(), signal.SIGKILL)


def _is_first(name: str) -> bool:
    """Leave the marker of a death; False if it is there."""
    marker = Path(os.environ["LOOPLINE_FAILPOINTS_DIR"]) / name.replace("/", ".")
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
