"""Connections of the REST front, bounded: how many, how long silent, how large a head.

uvicorn bounds none of these where httptools parses; without, clients that open connections and drop
or hold them would take every file descriptor of the process.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from services.inference.adapters.fronts.tls import identity_of

SWEEP_S: Final = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """What connections may do.

    Args:
        connections: How many there may be.
        idle_s: A connection on which no request is under way and nothing moves is closed.
        stall_s: One whose client does not read its answer is closed.
        head_bytes: Request line and headers.
    """

    connections: int = 1_024
    idle_s: float = 75.0
    stall_s: float = 60.0
    head_bytes: int = 64 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol within bounds.

    Args:
        bounds: The bounds.
        **of_uvicorn: What uvicorn gives.
    """

    def __init__(self, *, bounds: ConnectionBounds, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._bounds = bounds
        self._moved_s = self.loop.time()
        self._unsent = 0
        self._head_bytes = 0
        self._head_is_done = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or close it where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._bounds.connections:
            log.warning("connection_refused", connections=len(self.connections))
            transport.abort()
            return
        self.app_state = {**self.app_state, "identity": identity_of(transport)}

    def data_received(self, data: bytes) -> None:
        """Parse what came; close the connection where a head does not end."""
        self._moved_s = self.loop.time()
        if not self._head_is_done:
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._head_is_done and self._head_bytes > self._bounds.head_bytes:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """See httptools."""
        self._head_bytes, self._head_is_done = 0, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._head_is_done = True
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Count from the last answer on."""
        self._moved_s = self.loop.time()
        super().on_response_complete()

    def sweep(self, now_s: float) -> None:
        """Close the connection if nothing moved for too long."""
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent:  # the client reads, however slowly
            self._unsent, self._moved_s = unsent, now_s
        cycle = cast("RequestResponseCycle | None", self.cycle)  # none before the first request
        is_answering = cycle is not None and not cycle.response_complete
        if is_answering and not unsent:
            return  # the work takes as long as it takes; it has a timeout of its own
        limit_s = self._bounds.stall_s if unsent else self._bounds.idle_s
        if now_s - self._moved_s > limit_s:
            self.transport.abort()


async def sweep(connections: set[Any]) -> None:
    """Close, for ever, the connections of which nothing more is to be expected."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_S)
        for connection in list(connections):
            if isinstance(connection, BoundedProtocol):
                connection.sweep(loop.time())
