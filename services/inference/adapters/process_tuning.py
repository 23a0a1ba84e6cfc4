"""What the process of a server is told before it serves: each was measured, none changes answers.

A request of 600 KB through grpcio cost 580 us of processor time, 350 with both
(tests/bench/serving).
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # mallopt(3)
_KEPT_BLOCK_BYTES: Final = 32 * 1024 * 1024  # the largest that mallopt takes
_KEPT_FREE_BYTES: Final = 256 * 1024 * 1024
_GRPC_EXPERIMENTS: Final = "GRPC_EXPERIMENTS"


def keep_large_blocks() -> bool:
    """Tell the allocator to keep blocks of tensors and images instead of giving each one back.

    glibc maps each block of 128 KB or more anew, so that the kernel clears its pages each time: a
    third of what receiving a tensor or decoding a photo costs. The heap may then hold up to
    `_KEPT_FREE_BYTES` that are free.

    Returns:
        Whether there is such an allocator here.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    kept = mallopt(_MMAP_THRESHOLD, _KEPT_BLOCK_BYTES)
    return bool(kept and mallopt(_TRIM_THRESHOLD, _KEPT_FREE_BYTES))


def poll_in_callers() -> None:
    """Tell gRPC to read its sockets in the thread that waits for calls.

    grpcio's newer listener hands each event to a pool of its own threads, which costs a change of
    threads per read; on a server whose handlers wait anyway that is a third of a small call. Must
    be called before gRPC is imported. Whoever sets the variable decides.
    """
    os.environ.setdefault(_GRPC_EXPERIMENTS, "-event_engine_listener")
