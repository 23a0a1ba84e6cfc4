"""A small receiver of webhooks, as a team's chat or ticket system would be."""

from __future__ import annotations

import asyncio
import json
from typing import Any

MAX_BODY_BYTES = 1_000_000


class WebhookReceiver:
    """Listens on loopback and keeps what it is told.

    Args:
        port: The port to prefer; 0 or a taken one lets the system choose.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.calls: list[dict[str, Any]] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        try:
            self._server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)
        except OSError:
            self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """Where to post to."""
        return f"http://127.0.0.1:{self.port}/hooks/loopline"

    async def stop(self) -> None:
        """Close."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            fields = dict(
                line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
            )
            size_bytes = min(int(fields.get("content-length", 0)), MAX_BODY_BYTES)
            self.calls.append(json.loads(await reader.readexactly(size_bytes)))
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()
        except (ValueError, asyncio.IncompleteReadError, ConnectionError):
            pass  # a malformed call is the caller's matter
        finally:
            writer.close()
