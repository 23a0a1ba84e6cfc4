"""The page's files, and what every answer and every request has to keep to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.console.domain.policy import HEADERS, host_name, is_allowed, is_page

STATIC = Path(__file__).parents[1] / "static"
"""The built page, as the package ships it."""
NOT_BUILT = "The page is not built here: run `make ui`. The API is at /api.\n"
MISDIRECTED = 421
TOO_LARGE = 413
UPLOADS = "/api/imports/uploads/"
HASHED = "assets/"
"""Files below this have their content's hash in their name."""


class Files(StaticFiles):
    """The page's files; those named by their content may be kept for ever."""

    def file_response(self, full_path, *args, **kwargs) -> Response:  # type: ignore[no-untyped-def]
        """See starlette."""
        response = super().file_response(full_path, *args, **kwargs)
        inside = Path(full_path).relative_to(str(self.directory)).as_posix()
        if inside.startswith(HASHED):
            response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def add_pages(app: FastAPI, folder: Path) -> None:
    """Serve the page under every path that is a page's, and its files.

    Args:
        app: Whose routes come first.
        folder: The built page.
    """

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what no route does: the page finds by itself what its address means."""
        if scope["type"] != "http":
            return
        answer: Response = JSONResponse({"error": f"there is nothing at {scope['path']}"}, 404)
        if scope["method"] in ("GET", "HEAD") and is_page(scope["path"]):
            index = folder / "index.html"
            answer = FileResponse(index) if index.is_file() else PlainTextResponse(NOT_BUILT, 503)
        await answer(scope, receive, send)

    app.mount("/static", Files(directory=folder, check_dir=False))
    app.router.default = page


class Guard:
    """ASGI middleware: adds headers, turns foreign host names and large bodies away.

    Args:
        app: What answers.
        allowed_hosts: Under which names; "*" for any.
        public_url: Its name counts too.
        body_max_bytes: Of requests; files of uploads have a limit of their own.
    """

    def __init__(
        self, app: ASGIApp, allowed_hosts: Sequence[str], public_url: str, body_max_bytes: int
    ) -> None:
        self._app = app
        own = host_name(urlsplit(public_url).netloc)
        self._allowed = frozenset(host.lower() for host in (*allowed_hosts, own) if host)
        self._body_max_bytes = body_max_bytes

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

        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not is_allowed(scope["path"], host, self._allowed):
            reason = f"{host!r} is not one of the console's names (LOOPLINE_ALLOWED_HOSTS)"
            await JSONResponse({"error": reason}, MISDIRECTED)(scope, receive, send_guarded)
            return
        if scope["path"].startswith(UPLOADS):
            await self._app(scope, receive, send_guarded)
            return
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._body_max_bytes:
            reason = f"the body is larger than {self._body_max_bytes} bytes"
            await JSONResponse({"error": reason}, TOO_LARGE)(scope, receive, send_guarded)
            return
        await self._app(scope, self._counted(receive), send_guarded)

    def _counted(self, receive: Receive) -> Receive:
        """Cut a body off that says nothing of its length and grows beyond the limit."""
        read_bytes = 0

        async def counted() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > self._body_max_bytes:
                return {"type": "http.disconnect"}
            return message

        return counted
