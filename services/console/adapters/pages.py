"""The static files, and the headers and host names of every answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.console.domain.policy import HEADERS, is_allowed

STATIC = Path(__file__).parents[1] / "static"
MISDIRECTED = 421


class Guard:
    """ASGI middleware: adds the headers, and turns foreign host names away."""

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str]) -> None:
        self._app = app
        self._allowed = frozenset(host.lower() for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        host = Headers(scope=scope).get("host", "")
        if is_allowed(scope["path"], host, self._allowed):
            await self._app(scope, receive, send_guarded)
            return
        reason = f"{host!r} is not one of the console's names (LOOPLINE_ALLOWED_HOSTS)"
        await JSONResponse({"error": reason}, MISDIRECTED)(scope, receive, send_guarded)
