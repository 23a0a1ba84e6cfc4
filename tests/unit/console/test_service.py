"""The console's page, its headers, and the lineage service behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from loopline.runtime.http import HttpServer
from loopline.store.blobs import MemoryBlobs
from loopline.testing.memory import MemoryBus, memory_service
from services.console.adapters.lineage import LineageClient
from services.console.domain.policy import host_name, is_allowed, is_plain
from services.console.service import Console
from services.console.settings import ConsoleSettings

STATIC = Path(__file__).parents[3] / "services" / "console" / "static"
TOKEN = "lineage-secret"


@dataclass
class Lineage:
    """A lineage service that answers what it is told to."""

    body: bytes = b'{"nodes":[],"edges":[]}'
    status: int = 200
    down: bool = False
    requests: list[httpx.Request] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.down:
            raise httpx.ConnectError("refused")
        headers = {"content-type": "application/json"}
        return httpx.Response(self.status, content=self.body, headers=headers)


@pytest.fixture
def lineage() -> Lineage:
    """What the console asks."""
    return Lineage()


@pytest.fixture
async def browser(lineage: Lineage) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running console."""
    settings = ConsoleSettings(api_token=SecretStr(TOKEN), answer_size_max_bytes=10_000)
    service = memory_service(Console, settings, MemoryBus(), MemoryBlobs())
    await service.start()
    await service.lineage.close()
    transport = httpx.MockTransport(lineage)
    service.lineage = LineageClient(
        "http://lineage", settings.api_token, 1.0, settings.answer_size_max_bytes, transport
    )
    server = HttpServer(service.api(), service.ready, "127.0.0.1", 0)
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        yield client
    await server.stop()
    await service.stop()
    service.objects.close()


async def test_page_and_its_files_are_served(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/")
    assert page.headers["content-type"].startswith("text/html")
    for path in ("console.js", "canvas.js", "layout.js", "console.css", "loopline.svg"):
        assert (await browser.get(f"/static/{path}")).status_code == 200


def test_page_asks_nothing_of_another_host() -> None:
    for path in STATIC.iterdir():
        text = path.read_text().replace("http://www.w3.org/", "")  # names of XML, never fetched
        assert "http://" not in text, path.name
        assert "https://" not in text, path.name
        assert "//cdn" not in text, path.name


@pytest.mark.parametrize("path", ["/", "/static/console.js", "/api/v1/graph", "/nowhere"])
async def test_every_answer_says_what_a_browser_may_do(
    browser: httpx.AsyncClient, path: str
) -> None:
    headers = (await browser.get(path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-cache"


async def test_lineage_is_asked_with_the_token_that_no_browser_sees(
    browser: httpx.AsyncClient, lineage: Lineage
) -> None:
    answer = await browser.get(
        "/api/v1/nodes/source%3As3%3A%2F%2Fcustomer%2Fa%20b/upstream?limit=5"
    )
    [asked] = lineage.requests
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.url.raw_path == b"/v1/nodes/source%3As3%3A//customer/a%20b/upstream?limit=5"
    assert TOKEN not in str(answer.headers) + answer.text
    assert TOKEN not in (await browser.get("/")).text


async def test_graph_that_the_browser_has_is_not_sent_again(
    browser: httpx.AsyncClient, lineage: Lineage
) -> None:
    first = await browser.get("/api/v1/graph")
    headers = {"if-none-match": first.headers["etag"]}
    assert (await browser.get("/api/v1/graph", headers=headers)).status_code == 304
    lineage.body = b'{"nodes":[{}],"edges":[]}'
    assert (await browser.get("/api/v1/graph", headers=headers)).status_code == 200


async def test_errors_of_lineage_reach_the_page(
    browser: httpx.AsyncClient, lineage: Lineage
) -> None:
    lineage.status, lineage.body = 404, b'{"error":"there is no node x"}'
    answer = await browser.get("/api/v1/nodes/x")
    assert (answer.status_code, answer.json()["error"]) == (404, "there is no node x")
    lineage.down = True
    answer = await browser.get("/api/v1/graph")
    assert answer.status_code == 503
    assert answer.json()["error"] == "the lineage service does not answer: ConnectError"
    lineage.down, lineage.status, lineage.body = False, 200, b" " * 10_001
    assert (await browser.get("/api/v1/graph")).status_code == 503


async def test_foreign_host_names_are_turned_away(browser: httpx.AsyncClient) -> None:
    foreign = {"host": "evil.example:80"}
    for path in ("/", "/api/v1/graph", "/static/console.js"):
        answer = await browser.get(path, headers=foreign)
        assert answer.status_code == 421
        assert "content-security-policy" in answer.headers
    assert (await browser.get("/healthz", headers=foreign)).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_nothing_can_be_changed_through_the_console(
    browser: httpx.AsyncClient, lineage: Lineage, method: str
) -> None:
    assert (await browser.request(method, "/api/v1/graph")).status_code == 405
    assert lineage.requests == []


async def test_only_the_api_of_lineage_is_in_reach(
    browser: httpx.AsyncClient, lineage: Lineage
) -> None:
    assert (await browser.get("/api/v1/%2e%2e/metrics")).status_code == 404
    assert (await browser.get("/api/metrics")).status_code == 404
    assert lineage.requests == []


@pytest.mark.parametrize(
    ("host", "name"),
    [("localhost:80", "localhost"), ("[::1]:80", "::1"), ("Example.ORG", "example.org"), ("", "")],
)
def test_host_names_are_read_with_or_without_a_port(host: str, name: str) -> None:
    assert host_name(host) == name


def test_any_host_may_be_allowed_and_dots_are_no_plain_path() -> None:
    assert is_allowed("/", "anything", {"*"})
    assert not is_allowed("/", "anything", {"localhost"})
    assert is_plain("nodes/source:s3://a/b")
    assert not is_plain("../metrics")
