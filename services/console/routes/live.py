"""Queues, dead letters, events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Header, Response

from loopline.access import Scope
from services.console.bodies.runs import (
    DeadLetterDetailOut,
    DeadLetterOut,
    DeadLettersOut,
    EventsOut,
    QueuesOut,
)
from services.console.routes.parameters import Limit, Sequence, Text, Words
from services.console.routes.registry import Registry

if TYPE_CHECKING:
    from services.console.adapters.events import EventFeed
    from services.console.adapters.queues import Queues


class LiveRoutes:
    """What happens now."""

    def __init__(self, queues: Queues, feed: EventFeed) -> None:
        self._queues = queues
        self._feed = feed

    def register(self, registry: Registry) -> None:
        """Add the routes."""
        add, letter = registry.add, "/dead/{sequence}"
        add("GET", "/queues", self.get_queues, Scope.READ, tag="queues")
        add("GET", "/dead", self.get_dead, Scope.READ, tag="dead")
        add("GET", letter, self.get_dead_letter, Scope.OPERATE, tag="dead")
        add("POST", f"{letter}/retry", self.post_dead_retry, Scope.OPERATE, tag="dead")
        add("DELETE", letter, self.delete_dead_letter, Scope.OPERATE, tag="dead", status=204)
        add("GET", "/events", self.get_events, Scope.READ, tag="events", raw="text/event-stream")
        add("GET", "/events/recent", self.get_recent_events, Scope.READ, tag="events")

    async def get_queues(self) -> QueuesOut:
        """List queues with depth and age."""
        return await self._queues.queues()

    async def get_dead(self, service: Text = "", limit: Limit = 200) -> DeadLettersOut:
        """List dead letters."""
        return await self._queues.letters(service, limit)

    async def get_dead_letter(self, sequence: Sequence) -> DeadLetterDetailOut:
        """Show one dead letter, with what was in it."""
        return await self._queues.letter(sequence)

    async def post_dead_retry(self, sequence: Sequence) -> DeadLetterOut:
        """Have a dead letter handled again."""
        return await self._queues.retry(sequence)

    async def delete_dead_letter(self, sequence: Sequence) -> None:
        """Remove a dead letter for good."""
        await self._queues.discard(sequence)

    async def get_events(
        self, types: Words = "", last_event_id: Annotated[str, Header(max_length=100)] = "",
        after: Text = "",
    ) -> Response:  # fmt: skip
        """Stream what happens as server-sent events, from `Last-Event-ID` or `after` on.

        Each `data` is an EventOut, its `event` the type, its `id` what resumes the stream. An event
        `reset` says that the id is too far back: ask for everything again.
        """
        wanted = frozenset(word.strip() for word in types.split(",") if word.strip())
        return await self._feed.stream(wanted, last_event_id or after)

    async def get_recent_events(self, limit: Limit = 100) -> EventsOut:
        """Return what happened last, and the id to stream from."""
        return await self._feed.recent(limit)
