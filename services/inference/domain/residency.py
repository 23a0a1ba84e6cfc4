"""Which model versions stay in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from services.inference.domain.model import VersionKey


@dataclass(frozen=True, slots=True)
class Budget:
    """What loaded versions may take together.

    Args:
        models: How many versions.
        size_bytes: Sum of the sizes of their ONNX files.
    """

    models: int = 8
    size_bytes: int = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Resident:
    """A loaded version and what it takes."""

    key: VersionKey
    size_bytes: int


def to_unload(
    residents: Sequence[Resident], budget: Budget, pinned: Collection[VersionKey], keep: VersionKey
) -> list[VersionKey]:
    """Return the versions to unload so that the rest fits the budget.

    Those no alias points to go first, then those an alias points to, which load again when they are
    asked for; in both the least recently used first.

    Args:
        residents: What is loaded, the least recently used first.
        budget: What may be.
        pinned: The versions that aliases point to.
        keep: The version that was just loaded: it stays even where it alone is over the budget.
    """
    unloaded: list[VersionKey] = []
    count, size = len(residents), sum(resident.size_bytes for resident in residents)
    for resident in sorted(residents, key=lambda resident: resident.key in pinned):
        if count <= budget.models and size <= budget.size_bytes:
            break
        if resident.key == keep:
            continue
        unloaded.append(resident.key)
        count, size = count - 1, size - resident.size_bytes
    return unloaded
