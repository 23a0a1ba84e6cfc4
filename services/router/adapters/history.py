"""The log as it was when an event happened.

A reaction that reads heads would do something else when its message comes a second time, later.
Reading as of the event's own sequence makes it a function of the log.
"""

from __future__ import annotations

from typing import TypeVar

import structlog
from google.protobuf.message import Message

from loopline.contracts import ArtefactRef, FlowCommitted, catalog
from loopline.contracts.catalog import Event
from loopline.flows import Flow, InvalidFlow
from loopline.store.commits import CommitLog, Committed

log = structlog.get_logger(__name__)
M = TypeVar("M", bound=Message)


class LogAsOf:
    """The commits before a sequence.

    Args:
        log: The log.
        sequence: Stream sequence of the event that is reacted to.
    """

    def __init__(self, log: CommitLog, sequence: int) -> None:
        self._log = log
        self._sequence = sequence

    async def heads(self, event: Event[M]) -> list[Committed[M]]:
        """Return the last commit, then, of every subject of `event`, oldest first."""
        found = [
            await self._then(event, head, name=head.ref.name)
            for head in await self._log.heads(event)
        ]
        return sorted((c for c in found if c is not None), key=lambda c: c.sequence)

    async def head(self, event: Event[M], **tokens: str) -> Committed[M] | None:
        """Return the last commit, then, of one artefact."""
        head = await self._log.head(event, **tokens)
        return None if head is None else await self._then(event, head, **tokens)

    async def flows(self) -> list[tuple[ArtefactRef, Flow]]:
        """Return the flows of that time; one that cannot be read is logged, and left out."""
        found: list[tuple[ArtefactRef, Flow]] = []
        for committed in await self.heads(catalog.FLOW_COMMITTED):
            try:
                found.append((committed.ref, parsed(committed)))
            except InvalidFlow as error:
                log.warning("flow_unreadable", flow=committed.ref.name, reason=error.message)
        return found

    async def _then(
        self, event: Event[M], head: Committed[M], **tokens: str
    ) -> Committed[M] | None:
        if head.sequence < self._sequence:
            return head
        history = await self._log.history(event, **tokens)
        return next((c for c in reversed(history) if c.sequence < self._sequence), None)


def parsed(committed: Committed[FlowCommitted]) -> Flow:
    """Return the document of a committed flow."""
    return Flow.parse(committed.message.document)
