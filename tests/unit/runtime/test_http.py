"""The HTTP endpoint that every service has: it answers at once, and ends at once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from loopline.runtime.http import HttpServer


@asynccontextmanager
async def serving(app: FastAPI | None = None) -> AsyncIterator[tuple[HttpServer, str]]:
    server = HttpServer(app, lambda: "", "127.0.0.1", 0)
    await server.start()
    yield server, f"http://127.0.0.1:{server.port}"
    await server.stop()


async def test_answers_on_a_kept_connection_are_not_held_back() -> None:
    async with serving() as (server, url), httpx.AsyncClient(base_url=url, verify=False) as client:
        assert (await client.get("/healthz")).text == "ok"
        [connection] = server._server.server_state.connections
        kept = connection.transport.get_extra_info("socket")
        assert kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_requests_in_flight_are_answered_before_it_ends() -> None:
    app, asked, go_on = FastAPI(), asyncio.Event(), asyncio.Event()

    @app.get("/slow")
    async def slow() -> str:
        asked.set()
        await go_on.wait()
        return "done"

    async with serving(app) as (server, url), httpx.AsyncClient(verify=False) as client:
        answer = asyncio.create_task(client.get(f"{url}/slow"))
        await asked.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        go_on.set()
        assert (await answer).json() == "done"
        await stopping


async def test_nobody_is_let_in_after_the_end() -> None:
    async with serving() as (server, url), httpx.AsyncClient(verify=False) as client:
        await server.stop()
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{url}/healthz")
