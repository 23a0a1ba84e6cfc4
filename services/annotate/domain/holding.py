"""What it means to hold an item: one person at a time, for a while."""

from __future__ import annotations

from loopline.errors import Rejected


class Held(Rejected):
    """Somebody else holds the item: it is theirs until they let go or their lease ends."""

    def __init__(self, job: str, asset: str, holder: str) -> None:
        by = f"{holder} holds it" if holder else "it is not in the job"
        super().__init__(f"asset {asset} of labeling job {job}: {by}", job=job, asset=asset)
        self.holder = holder


class Overtaken(Rejected):
    """Somebody else labeled the item after it was taken: a lease ended on the way."""


def scores_now(submitted: int, every: int) -> bool:
    """Tell whether a person's next item is one that scores them.

    Args:
        submitted: How many items they have submitted in the job.
        every: One in how many items.

    >>> [n for n in range(8) if scores_now(n, 4)]
    [3, 7]
    """
    return submitted % every == every - 1
