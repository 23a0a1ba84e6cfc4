"""The HTTP endpoint of a service: /healthz, /readyz, /metrics, and its API if it has one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from opentelemetry import metrics
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loopline.errors import (
    Conflict,
    Forbidden,
    NotFound,
    Rejected,
    Transient,
    Unauthenticated,
)

SHUTDOWN_S = 5
TICK_S = 0.1  # as uvicorn counts
TICKS_A_DAY = 864_000
PROBED = ("/healthz", "/readyz", "/metrics")
"""Asked by machines every few seconds; not counted among requests."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ANSWER_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_answered = metrics.get_meter("loopline").create_histogram(
    "loopline_http_answer",
    unit="s",
    description="Time until the answer to a request over HTTP began.",
    explicit_bucket_boundaries_advisory=ANSWER_BUCKETS_S,
)


class Timed:
    """Times an application's answers, streams too: to where they begin.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["path"] in PROBED:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        method = scope["method"] if scope["method"] in METHODS else "other"

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                labels = {"method": method, "status": str(message["status"])}
                _answered.record(time.perf_counter() - started, labels)
            await send(message)

        await self._app(scope, receive, timed)


class _Server(uvicorn.Server):
    """Uvicorn's, which ends when it is told to and not at its next look, a tenth of a second on."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    def leave(self) -> None:
        """Finish open requests and close."""
        self.should_exit = True
        self._told.set()

    async def main_loop(self) -> None:
        """See uvicorn."""
        ticks = 0
        while not await self.on_tick(ticks):
            ticks = (ticks + 1) % TICKS_A_DAY
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn; where nobody is connected there is nobody to wait for."""
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for server in self.servers:  # before the sockets that they listen on
            server.close()
        for listening in sockets or ():
            listening.close()


class HttpServer:
    """Serves one application from this event loop.

    Args:
        api: The service's API, or None.
        unready: Returns why the service is not ready, or "".
        host: The address to bind.
        port: The port; 0 lets the system choose.
    """

    def __init__(
        self, api: FastAPI | None, unready: Callable[[], str], host: str, port: int
    ) -> None:
        app = api if api is not None else FastAPI(openapi_url=None)
        _add_health(app, unready)
        add_errors(app)
        # asyncio turns Nagle's algorithm off only where the protocol is named; with it, each answer
        # on a kept connection waits 40 ms for the client's delayed acknowledgement.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, port))
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            Timed(app),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; returns once requests are answered."""
        self._task = asyncio.create_task(self._server._serve([self._socket]))
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Finish open requests and close."""
        self._server.leave()
        if self._task is not None:
            await self._task


def _add_health(app: FastAPI, unready: Callable[[], str]) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return PlainTextResponse("ok")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        reason = unready()
        return PlainTextResponse(reason or "ok", status_code=503 if reason else 200)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def add_errors(app: FastAPI) -> None:
    """Have an application answer our errors with their status."""
    statuses = {
        Unauthenticated: 401,
        Forbidden: 403,
        NotFound: 404,
        Rejected: 422,
        Conflict: 409,
        Transient: 503,
    }
    for kind, status in statuses.items():
        app.add_exception_handler(kind, _answer(status))


def _answer(status: int) -> Callable[[Request, Exception], Response]:
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}

    def answer(_: Request, error: Exception) -> Response:
        body = {"error": getattr(error, "message", str(error))}
        return JSONResponse(body, status_code=status, headers=headers)

    return answer
