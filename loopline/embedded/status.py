"""What runs, for people: kept in the data folder, so that any process can ask."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import psutil

from loopline.embedded.files import write_private_json
from loopline.embedded.layout import DataFolder, holder
from loopline.embedded.supervisor import Condition, State


@dataclass(frozen=True)
class ProcessStatus:
    """One process now.

    Attributes:
        name: What it is called.
        pid: Its process id; 0 if it does not run.
        state: starting, ready, restarting, failed or stopped.
        restarts: How often it was started again.
        rss_bytes: Resident memory, shared pages counted in full.
        pss_bytes: Resident memory, each shared page divided by who shares it: what adds up.
        uptime_s: Seconds since its last start; 0 if it does not run.
        endpoint: Where it listens.
        trouble: What keeps it from its work; empty if all is well.
    """

    name: str
    pid: int
    state: str
    restarts: int
    rss_bytes: int
    pss_bytes: int
    uptime_s: float
    endpoint: str
    trouble: str


def of(conditions: Mapping[str, Condition]) -> list[ProcessStatus]:
    """Return the status of processes whose condition is known."""
    return [_one(name, condition) for name, condition in conditions.items()]


def save(folder: DataFolder, conditions: Mapping[str, Condition]) -> None:
    """Write what runs into the data folder; a full disk must not stop the supervisor."""
    with contextlib.suppress(OSError):
        write_private_json(
            folder.processes,
            [{"name": name} | asdict(condition) for name, condition in conditions.items()],
        )


def load(folder: DataFolder) -> list[ProcessStatus]:
    """Return the status of a platform run by another process; empty if none runs."""
    if holder(folder) is None:
        return []
    try:
        stored = json.loads(folder.processes.read_text())
    except FileNotFoundError:
        return []
    return of({each.pop("name"): Condition(**each) for each in stored})


def _one(name: str, condition: Condition) -> ProcessStatus:
    rss_bytes, pss_bytes = _memory(condition.pid)
    return ProcessStatus(
        name=name,
        pid=condition.pid,
        state=State(condition.state).value,
        restarts=condition.restarts,
        rss_bytes=rss_bytes,
        pss_bytes=pss_bytes,
        uptime_s=time.time() - condition.started_at if condition.pid else 0.0,
        endpoint=condition.endpoint,
        trouble=condition.trouble,
    )


def _memory(pid: int) -> tuple[int, int]:
    if not pid:
        return 0, 0
    with contextlib.suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        rss_bytes = process.memory_info().rss
        # Only Linux knows the proportional size.
        return rss_bytes, getattr(process.memory_full_info(), "pss", rss_bytes)
    return 0, 0
