"""The stream of changes: server-sent events, one per commit, that a client can take up again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson

from loopline.errors import Transient
from loopline.store.projections import Projector
from services.lineage.adapters.queries import GraphReader

PAGE = 500  # commits read at once
STEP_S = 1.0  # how soon a stream notices that the service stops


async def changes(
    reader: GraphReader,
    projector: Projector,
    stopping: asyncio.Event,
    after: int,
    keepalive_s: float,
) -> AsyncIterator[bytes]:
    """Yield every commit above sequence `after` as it is applied, until the service stops.

    The event's id is the commit's stream sequence: what a client sends back as `Last-Event-ID`.
    """
    silent_s = 0.0
    yield b": changes of the workflow graph\n\n"
    while not stopping.is_set():
        applied = projector.applied  # before the query: what comes meanwhile is read next time
        rows = await asyncio.to_thread(reader.changes, after, PAGE)
        for row in rows:
            yield b"id: %d\nevent: commit\ndata: %s\n\n" % (row["sequence"], orjson.dumps(row))
        if rows:
            after, silent_s = rows[-1]["sequence"], 0.0
            continue
        after = max(after, applied)
        try:
            await projector.wait_applied(after + 1, STEP_S)
        except Transient:
            silent_s += STEP_S
            if silent_s >= keepalive_s:
                silent_s = 0.0
                yield b": nothing new\n\n"
