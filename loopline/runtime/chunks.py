"""Work that outlasts one message: bounded chunks, done by whoever is free, joined in order.

A chunk's completion is published once per subject (compare-and-set on "nothing yet"), so of two
workers that did the same chunk one wins and the join reads the same results whoever asks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from loopline.contracts import Agent, ChunkCompleted, catalog
from loopline.contracts.catalog import Event
from loopline.errors import Conflict, Transient
from loopline.runtime.bus import Bus, current_event
from loopline.store.logstore import LogStore

PUBLISHES_IN_FLIGHT = 64
MAX_CHUNKS = 1000
"""Chunks of one run: nats-server answers a direct get for at most 1,024 subjects."""


def chunk_size(count: int, wanted: int) -> int:
    """Return how many of `count` units go into a chunk.

    `wanted`, or more to stay within `MAX_CHUNKS`.
    """
    return max(wanted, -(-count // MAX_CHUNKS))


class Chunks:
    """Plans, completes and joins the chunks of runs."""

    def __init__(self, bus: Bus, events: LogStore, agent: Agent) -> None:
        self._bus = bus
        self._events = events
        self._agent = agent

    async def dispatch(
        self,
        event: Event[Any],
        run_id: str,
        total: int,
        build: Callable[[int], Message],
        **tokens: str,
    ) -> None:
        """Send one command per chunk, `build(index)` for index 0 to total - 1.

        A redelivered command sends nothing twice; a new command for the same run does, since the
        chunks of the one before may be dead by now.
        """
        cause = current_event.get()
        for start in range(0, total, PUBLISHES_IN_FLIGHT):
            await asyncio.gather(
                *(
                    self._bus.send(
                        event,
                        build(index),
                        id=f"{run_id}/{index}/{cause}",
                        **tokens,  # type: ignore[arg-type]  # tokens are strings
                    )
                    for index in range(start, min(start + PUBLISHES_IN_FLIGHT, total))
                )
            )

    async def complete(
        self,
        run_id: str,
        index: int,
        total: int,
        result_digest: str,
        counts: Mapping[str, int] | None = None,
    ) -> bool:
        """Say that a chunk is done; return whether all of them are now."""
        message = ChunkCompleted(
            run_id=run_id,
            index=index,
            total=total,
            result_digest=result_digest,
            agent=self._agent,
            counts=counts,
        )
        # Conflict: a redelivery, or another worker was first; its result stands.
        with contextlib.suppress(Conflict):
            await self._bus.send(
                catalog.CHUNK_COMPLETED, message, once=True, run_id=run_id, index=str(index)
            )
        return len(await self._all(run_id)) >= total

    async def completed(self, run_id: str, index: int) -> ChunkCompleted | None:
        """Return the chunk's completion, or None."""
        pattern = catalog.CHUNK_COMPLETED.subject(
            self._bus.workspace, run_id=run_id, index=str(index)
        )
        found = await self._events.last(pattern)
        return ChunkCompleted.FromString(found[-1].data) if found else None

    async def results(self, run_id: str, total: int) -> list[ChunkCompleted]:
        """Return all completions in index order; Transient if some are missing."""
        found = sorted(await self._all(run_id), key=lambda chunk: chunk.index)
        if len(found) < total:
            raise Transient(
                f"{total - len(found)} of {total} chunks are not done yet", run_id=run_id
            )
        return found

    async def _all(self, run_id: str) -> Sequence[ChunkCompleted]:
        pattern = catalog.CHUNK_COMPLETED.subject(self._bus.workspace, run_id=run_id)
        return [ChunkCompleted.FromString(r.data) for r in await self._events.last(pattern)]
