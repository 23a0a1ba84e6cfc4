"""The console: the page, its files, and the lineage service behind one origin."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from loopline.errors import NotFound
from loopline.runtime.service import Service
from services.console.adapters.lineage import LineageClient
from services.console.adapters.pages import STATIC, Guard
from services.console.domain.policy import is_plain
from services.console.settings import ConsoleSettings

NOT_MODIFIED = 304


class Console(Service):
    """Shows the workflow graph of a workspace in a browser."""

    name = "console"
    settings: ConsoleSettings

    async def start(self) -> None:
        """Build the client of the lineage service."""
        settings = self.settings
        token = settings.lineage_token
        self.lineage = LineageClient(
            settings.lineage_url,
            token if token.get_secret_value() else settings.api_token,
            settings.lineage_timeout_s,
            settings.answer_size_max_bytes,
        )

    async def stop(self) -> None:
        """Let connections go."""
        await self.lineage.close()

    def api(self) -> FastAPI:
        """Return the page and what it asks for."""
        app = FastAPI(title="Loopline console", openapi_url=None)
        app.add_middleware(Guard, allowed_hosts=self.settings.allowed_hosts)
        app.add_api_route("/", self.get_page, response_class=FileResponse)
        app.add_api_route("/api/v1/{path:path}", self.get_lineage, response_class=Response)
        app.mount("/static", StaticFiles(directory=STATIC))
        return app

    async def get_page(self) -> FileResponse:
        """Return the page."""
        return FileResponse(STATIC / "index.html")

    async def get_lineage(self, path: str, request: Request) -> Response:
        """Ask the lineage service; an answer that the browser has is not sent again."""
        if not is_plain(path):
            raise NotFound(f"there is nothing at {path!r}")
        answer = await self.lineage.get(f"/v1/{quote(path, safe='/')}", request.url.query)
        headers = {"etag": answer.tag}
        if answer.status == 200 and request.headers.get("if-none-match") == answer.tag:
            return Response(status_code=NOT_MODIFIED, headers=headers)
        return Response(answer.body, answer.status, headers, media_type=answer.media_type)
