"""How annotate speaks HTTP: cursors, who calls, and the size of what is read."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from fastapi import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loopline.access import Caller
from loopline.errors import Forbidden, Rejected

_CURSOR_PREFIX = "p"
LOCAL = "local"  # kind of a caller who shows the machine's own key, or none where none is asked for


@dataclass(frozen=True, slots=True)
class Acting:
    """Who calls, and what the call needs."""

    caller: Caller

    def as_(self, given: str, otherwise: str = "") -> str:
        """Return the name to act under: a caller's own; the one given for the machine's own key.

        Raises:
            Forbidden: Somebody else's name was given.
        """
        if self.caller.kind == LOCAL:
            return given or otherwise or self.caller.name
        if given and given != self.caller.name:
            raise Forbidden(f"{self.caller.name} cannot act as {given}")
        return self.caller.name


def cursor_of(position: int) -> str:
    """Return the cursor behind an item."""
    return base64.urlsafe_b64encode(f"{_CURSOR_PREFIX}{position}".encode()).decode()


def position_of(cursor: str) -> int:
    """Return the position that a cursor stands for; -1 for none.

    Raises:
        Rejected: It was not made here.
    """
    if not cursor:
        return -1
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
        if text.startswith(_CURSOR_PREFIX):
            return int(text.removeprefix(_CURSOR_PREFIX))
    except (binascii.Error, ValueError):
        pass
    raise Rejected(f"{cursor!r} is not a cursor of this API")


class BodyLimit:
    """ASGI middleware that refuses large bodies, announced or not."""

    def __init__(self, app: ASGIApp, size_max_bytes: int) -> None:
        self._app = app
        self._size_max_bytes = size_max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._size_max_bytes:
            await self._refusal()(scope, receive, send)
            return
        read_bytes = 0

        async def counted() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > self._size_max_bytes:
                raise HTTPException(413, self._reason())
            return message

        await self._app(scope, counted, send)

    def _reason(self) -> str:
        return f"the body is larger than {self._size_max_bytes} bytes"

    def _refusal(self) -> JSONResponse:
        return JSONResponse({"error": self._reason()}, status_code=413)
