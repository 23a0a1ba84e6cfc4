"""What a machine computes with, found out without loading what computes."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Final

from loopline.contracts import Device

MIB: Final = 1024**2
ASK_TIMEOUT_S: Final = 10.0
FEATURES: Final = ("avx", "avx2", "avx512f", "avx512_bf16", "amx_tile", "fma", "asimd", "sve")
"""What a CPU can do that changes in which order libraries sum, and so the last bits."""


def devices() -> list[Device]:
    """Return the machine's accelerators, then its CPU."""
    return [*_nvidia(), Device(kind="cpu", name=cpu_name(), memory_bytes=_memory(), cores=_cores())]


@lru_cache
def cpu_name() -> str:
    """Return the CPU's model, or its architecture where the system does not tell."""
    for line in _cpuinfo():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor() or platform.machine()


@lru_cache
def cpu_features() -> tuple[str, ...]:
    """Return which of `FEATURES` the CPU has, sorted."""
    for line in _cpuinfo():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return tuple(sorted(set(value.split()) & set(FEATURES)))
    return ()


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return []


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 0


def _memory() -> int:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0


def _nvidia() -> list[Device]:
    """Ask the driver's own tool: torch would take seconds and hundreds of megabytes."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(
            query, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in answer.splitlines():
        name, _, memory = line.rpartition(",")
        if name and memory.strip().isdigit():
            found.append(
                Device(kind="cuda", name=name.strip(), memory_bytes=int(memory.strip()) * MIB)
            )
    return found
