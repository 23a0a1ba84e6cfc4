"""`client.dead`: dead letters."""

from __future__ import annotations

from loopline.client.session import Session
from loopline.store.deadletters import DeadLetter, DeadLetters


class DeadVerbs:
    """What can be done with messages that nobody could handle."""

    def __init__(self, session: Session) -> None:
        self._letters = DeadLetters(session.nats, session.settings.workspace)

    async def list(self, service: str = "") -> list[DeadLetter]:
        """Return the dead letters, oldest first; only those of `service` if named."""
        return await self._letters.list(service=service or "*")

    async def show(self, sequence: int) -> DeadLetter:
        """Return one dead letter; NotFound if there is none of that number."""
        return await self._letters.show(sequence)

    async def retry(self, sequence: int) -> DeadLetter:
        """Put a command back on its subject.

        Rejected for a commit, which is never published twice.
        """
        return await self._letters.retry(sequence)

    async def discard(self, sequence: int) -> None:
        """Remove a dead letter."""
        await self._letters.discard(sequence)
