"""Is every commit of the log in the graph, and nothing else?"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from loopline.contracts import catalog
from loopline.contracts.catalog import Event
from loopline.store.commits import Committed

GRAPHED: Final[tuple[Event[Any], ...]] = tuple(
    event for event in catalog.COMMITS if event is not catalog.ACCESS_REVOKED
)
"""The commits that make the graph. Who may call is no part of where data came from."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """How the graph compares with the log.

    Args:
        through: The stream sequence up to which both were compared.
        commits: Commits in the log up to there.
        absent: Those that the graph does not hold, as "<subject> at <sequence>".
        surplus: Sequences that the graph holds and the log does not.
    """

    through: int
    commits: int
    absent: tuple[str, ...]
    surplus: tuple[int, ...]

    @property
    def ok(self) -> bool:
        """The graph holds what the log holds."""
        return not self.absent and not self.surplus


def compare(
    logged: Collection[Committed[Any]], graphed: Collection[int], through: int
) -> Completeness:
    """Compare the log with the graph.

    Args:
        logged: Every commit of `GRAPHED` in the log.
        graphed: The sequences of the commits in the graph.
        through: The sequence up to which the graph says that it holds everything.
    """
    wanted = {one.sequence: one.subject for one in logged if one.sequence <= through}
    there = {sequence for sequence in graphed if sequence <= through}
    absent = [f"{wanted[sequence]} at {sequence}" for sequence in sorted(wanted.keys() - there)]
    return Completeness(through, len(wanted), tuple(absent), tuple(sorted(there - wanted.keys())))
