"""A second version beside an alias's target: which requests it answers, and how it compares."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.inference.domain.model import (
    CLASSIFICATION,
    DETECTION,
    LABELS,
    PROBABILITIES,
    SCORES,
    VersionKey,
)
from services.inference.domain.tensors import Arrays

FOUND_SCORE = 0.3
"""A box at least this sure counts where two detectors are compared."""
CLOSE = 1e-3


@dataclass(frozen=True, slots=True)
class Rollout:
    """What an alias says of a second version.

    Args:
        key: The version.
        digest: Its digest.
        canary: Share of the requests that it answers, in [0, 1].
        shadow: Share of the other requests that it gets a copy of, in [0, 1].
    """

    key: VersionKey
    digest: str
    canary: float
    shadow: float


def place_of(key: str, salt: str = "") -> float:
    """Return where a key lies in [0, 1): the same for the same key, on every worker, for ever.

    A share that grows keeps the keys it had.
    """
    digest = hashlib.sha256(f"{salt}\0{key}".encode()).digest()
    return int.from_bytes(digest[:7]) / (1 << 56)


def agrees(task: str, ours: Arrays, theirs: Arrays) -> bool:
    """Tell whether two versions say the same of a request.

    Classifiers: the same class of every image. Detectors: as many boxes of each class. Others: the
    same numbers, but for rounding.
    """
    if task == CLASSIFICATION:
        one, other = (outputs[PROBABILITIES].argmax(axis=1) for outputs in (ours, theirs))
        return bool(np.array_equal(one, other))
    if task == DETECTION:
        return _found(ours) == _found(theirs)
    return ours.keys() == theirs.keys() and all(
        values.shape == theirs[name].shape
        and (values.dtype == object or np.allclose(values, theirs[name], atol=CLOSE))
        for name, values in ours.items()
    )


class Tally:
    """Counts what became of a rollout's requests. Thread-safe."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, *names: str) -> None:
        """Count one request under each name; who reads the figures sees all of them or none."""
        with self._lock:
            self._counts.update(names)

    def figures(self) -> Mapping[str, int]:
        """Return the counts so far."""
        with self._lock:
            return dict(self._counts)


def _found(outputs: Arrays) -> list[Counter[int]]:
    return [
        Counter(labels[scores >= FOUND_SCORE].tolist())
        for scores, labels in zip(outputs[SCORES], outputs[LABELS], strict=True)
    ]
