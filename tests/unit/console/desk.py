"""A console over in-memory twins, with people who may do more and less."""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from argon2 import PasswordHasher
from fastapi import APIRouter, FastAPI
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from loopline.access import Role, SigningKey, TokenIssuer
from loopline.access.links import sign_in_link
from loopline.runtime.http import HttpServer
from loopline.store.blobs import MemoryBlobs
from loopline.testing.flywheel import Flywheel
from loopline.testing.memory import ManualClock, MemoryBus, memory_service
from services.console.adapters.accounts import AccountStore
from services.console.domain.accounts import User
from services.console.service import Console, Desks, router_over
from services.console.settings import ConsoleSettings

KEY = SigningKey.generate()
PASSWORD = "correct horse"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
TLS = httpx.create_ssl_context()
"""Nothing here speaks TLS, and a context of its own costs each client 30 ms."""
HASHED = QUICK.hash(PASSWORD)


_ANSWERING: ContextVar[Desks] = ContextVar("_ANSWERING")
"""What the console has that answers the request at hand."""


class _Part:
    """One desk of whatever console answers: found when it is asked, not when routes are made."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if (desks := _ANSWERING.get(None)) is not None:
            return getattr(getattr(desks, self._name), name)

        async def later(*given: Any) -> Any:
            return await getattr(self, name)(*given)

        return later


@cache
def _routes() -> APIRouter:
    """Return the console's routes, made once: FastAPI takes 80 ms for them, longer than a test."""
    parts = {part.name: _Part(part.name) for part in fields(Desks)}
    return router_over(Desks(**parts))  # type: ignore[arg-type]  # they stand for the real ones


class _QuickConsole(Console):
    """The console with routes that all of them share."""

    def routes(self) -> APIRouter:
        return _routes()

    def api(self) -> FastAPI:
        app = super().api()
        app.add_middleware(_Answering, desks=self.desks)
        return app


class _Answering:
    """Says which console answers a request."""

    def __init__(self, app: ASGIApp, desks: Desks) -> None:
        self._app = app
        self._desks = desks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _ANSWERING.set(self._desks)
        await self._app(scope, receive, send)


class Upstreams:
    """Annotate and lineage, as far as the console sees them: they answer what they are told to."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.status, self.body, self.is_down = 200, b'{"jobs":[]}', False

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.is_down:
            raise httpx.ConnectError("refused")
        headers = {"content-type": "application/json"}
        return httpx.Response(self.status, content=self.body, headers=headers)


@dataclass
class Desk:
    """A running console."""

    folder: Path
    given: dict[str, Any] = field(default_factory=dict)
    clock: ManualClock = field(default_factory=ManualClock)
    bus: MemoryBus = field(default_factory=MemoryBus)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    upstreams: Upstreams = field(default_factory=Upstreams)
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def __post_init__(self) -> None:
        pages = self.folder / "pages"
        (pages / "assets").mkdir(parents=True)
        (pages / "index.html").write_text("<!doctype html><title>Loopline</title>")
        (pages / "assets" / "index-1a2b.js").write_text("1")
        self.settings = ConsoleSettings(
            data_dir=self.folder,
            signing_key=SecretStr(json.dumps(KEY.jwk())),
            access_keys=json.dumps({"keys": [KEY.public_jwk()]}),
            api_token=SecretStr("machine"),
            keepalive_s=0.2,
            pages_dir=pages,
            **self.given,
        )
        self.issuer = TokenIssuer(KEY, "default", self.clock)
        self.service = memory_service(
            _QuickConsole, self.settings, self.bus, self.blobs, clock=self.clock
        )
        self.flywheel = Flywheel(self.service.log, self.service.objects)

    async def start(self) -> Desk:
        """Start the console with a person of every role, whose password is `PASSWORD`."""
        await self.service.start()
        for upstream in (self.service.desks.annotate, self.service.desks.lineage):
            await upstream.close()
            upstream._client = httpx.AsyncClient(
                base_url="http://upstream",
                transport=httpx.MockTransport(self.upstreams),
                verify=TLS,
            )
        self.service.desks.door._passwords._hasher = QUICK
        for role in Role:
            self.accounts.add_user(User(role, role, self.clock.now(), password_hash=HASHED))
        self.server = HttpServer(self.service.api(), self.service.ready, "127.0.0.1", 0)
        await self.server.start()
        return self

    async def stop(self) -> None:
        """Stop it."""
        for client in self.clients:
            await client.aclose()
        await self.service.stop()
        await self.server.stop()
        self.service.objects.close()

    @property
    def accounts(self) -> AccountStore:
        """The console's users."""
        return self.service.accounts

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server.port}"

    def browser(self, **headers: str) -> httpx.AsyncClient:
        """Return a browser in which nobody is signed in."""
        client = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20, verify=TLS)
        self.clients.append(client)
        return client

    async def signed_in(self, role: Role = Role.ADMIN) -> httpx.AsyncClient:
        """Return a browser in which somebody of a role is signed in."""
        client = self.browser()
        body = {"name": str(role), "password": PASSWORD}
        answer = await client.post("/api/session", json=body)
        assert answer.status_code == 200, answer.text
        client.headers["x-csrf-token"] = answer.json()["csrf_token"]
        return client

    def program(self, token: str) -> httpx.AsyncClient:
        """Return a program that shows a token."""
        return self.browser(authorization=f"Bearer {token}")

    def link_token(self, name: str = "admin", role: Role = Role.ADMIN) -> str:
        """Return the token of a one-time link."""
        return sign_in_link(self.issuer, self.url, name=name, role=role).partition("#token=")[2]

    async def seen(self) -> None:
        """Wait until the console has read what is in the log."""
        last = await self.service.log.store.last_sequence()
        await self.service.view.catch_up(last)
