"""`client.dead`: dead letters.

Generated from `loopline.client.dead` by `python -m loopline.client.generate`; do not edit.
"""

from __future__ import annotations

import builtins

from loopline.client import dead as _dead
from loopline.client.portal import Portal
from loopline.store.deadletters import DeadLetter


class DeadVerbs:
    """What can be done with messages that nobody could handle."""

    def __init__(self, portal: Portal, client: _dead.DeadVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self, service: str = "") -> builtins.list[DeadLetter]:
        """Return the dead letters, oldest first; only those of `service` if named."""
        return self._portal.call(self._client.list(service))

    def show(self, sequence: int) -> DeadLetter:
        """Return one dead letter; NotFound if there is none of that number."""
        return self._portal.call(self._client.show(sequence))

    def retry(self, sequence: int) -> DeadLetter:
        """Put a command back on its subject.

        Rejected for a commit, which is never published twice.
        """
        return self._portal.call(self._client.retry(sequence))

    def discard(self, sequence: int) -> None:
        """Remove a dead letter."""
        return self._portal.call(self._client.discard(sequence))
