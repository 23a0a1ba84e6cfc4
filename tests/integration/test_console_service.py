"""The console over a real bus, real storage and the services behind it, with its own rights."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from loopline.client.aio import AsyncLoopline
from loopline.contracts import ImportImages, catalog
from loopline.embedded.access_keys import AccessKeys
from loopline.embedded.options import PlatformOptions
from loopline.embedded.platform import Platform
from tests.integration.waiting import Waiting

PHOTOS = Path(__file__).parents[2] / "examples" / "data" / "photos"
SERVICES = ("console", "annotate", "lineage", "ingest")
until = Waiting(timeout_s=30.0)
Json = dict[str, Any]


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    options = PlatformOptions(tmp_path, services=SERVICES, prefer_default_ports=False)
    async with Platform(options) as running:
        yield running


async def signed_in(platform: Platform) -> httpx.AsyncClient:
    """Return a browser that opened the link of `loopline up`."""
    keys = AccessKeys.load_or_generate(platform.folder.access)
    url = platform.endpoints.console_http
    token = keys.link(url, "default").partition("#token=")[2]
    client = httpx.AsyncClient(base_url=url, timeout=30)
    answer = await client.post("/api/session/one-time", json={"token": token})
    assert answer.status_code == 200, answer.text
    client.headers["x-csrf-token"] = answer.json()["csrf_token"]
    return client


async def get(client: httpx.AsyncClient, path: str, **query: Any) -> Any:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, f"{path}: {answer.text}"
    return answer.json()


async def uploaded(client: httpx.AsyncClient) -> str:
    """Upload some photos and import them; return the run."""
    id_ = (await client.post("/api/imports/uploads")).json()["id"]
    for path in sorted(PHOTOS.glob("cat/*.jpg"))[:6]:
        place = f"/api/imports/uploads/{id_}/files/cat/{path.name}"
        assert (await client.put(place, content=path.read_bytes())).status_code == 200
    await client.put(f"/api/imports/uploads/{id_}/files/broken.jpg", content=b"no image")
    sent = await client.post("/api/imports", json={"dataset": "cats", "upload": id_})

    async def ended() -> Json | None:
        runs = (await get(client, "/api/runs", command_id=sent.json()["command_id"]))["runs"]
        return runs[0] if runs and runs[0]["state"] == "completed" else None

    return str((await until(ended))["id"])


async def test_a_day_at_the_console(platform: Platform) -> None:
    """One platform for many things: it takes seconds to start."""
    client = await signed_in(platform)
    run = await uploaded(client)
    await _shows_what_was_imported(client, run)
    await _restores(client)
    await _shows_and_retries_dead_letters(client, platform)
    await _asks_other_services(client, platform)
    await _revokes(client, platform)
    await client.aclose()


async def _shows_what_was_imported(client: httpx.AsyncClient, run: str) -> None:
    [dataset] = (await get(client, "/api/datasets"))["datasets"]
    assert (dataset["name"], dataset["head"]["items"]) == ("cats", 6)
    page = await get(client, "/api/datasets/cats/versions/1/items")
    thumbnail = await client.get(page["items"][0]["thumbnail_url"])
    assert (thumbnail.status_code, thumbnail.headers["content-type"]) == (200, "image/webp")
    drops = await get(client, "/api/datasets/cats/versions/1/drops")
    assert drops["counts"] == {"not_an_image": 1}

    async def pictured() -> Json | None:
        found = await get(client, "/api/workflow")
        cards = {node["id"]: node for node in found["nodes"]}
        return cards if cards["dataset:cats@1"]["thumbnails"] else None

    cards = await until(pictured)
    assert cards[f"run:{run}"]["actor"] == {"kind": "user", "name": "admin"}
    log = await get(client, f"/api/runs/{run}/log")
    assert {line["service"] for line in log["lines"]} == {"ingest"}


async def _restores(client: httpx.AsyncClient) -> None:
    made = await client.post("/api/datasets/cats/restore", json={"version": 1})
    assert made.status_code == 200, made.text
    assert made.json()["version"] == 2
    assert (await get(client, "/api/datasets/cats/versions"))["versions"][0]["restored_from"] == 1


async def _shows_and_retries_dead_letters(client: httpx.AsyncClient, platform: Platform) -> None:
    async with await AsyncLoopline.connect(platform.options.data_dir) as loopline:
        await loopline.session.bus.send(
            catalog.IMPORT_IMAGES, ImportImages(dataset="cats"), id="bad", pool="default"
        )

    async def dead() -> list[Json]:
        found: list[Json] = (await get(client, "/api/dead"))["letters"]
        return found

    [letter] = await until(dead)
    assert "names no connection" in letter["reason"]
    detail = await get(client, f"/api/dead/{letter['sequence']}")
    assert detail["body"] == {"dataset": "cats"}
    assert (await client.post(f"/api/dead/{letter['sequence']}/retry")).status_code == 200

    async def died_again() -> list[Json]:
        return [one for one in await dead() if one["sequence"] != letter["sequence"]]

    [again] = await until(died_again)
    assert (await client.delete(f"/api/dead/{again['sequence']}")).status_code == 204
    assert await dead() == []
    queues = (await get(client, "/api/queues"))["queues"]
    names = {(queue["service"], queue["event"]) for queue in queues}
    assert {("ingest", "import_images"), ("annotate", "open_labeling_job")} <= names
    waiting = {queue["event"] for queue in queues if queue["waiting"]}
    ages = {queue["event"] for queue in queues if queue["oldest_age_s"] is not None}
    assert waiting == ages, "the router does not run: its reactions wait, and have an age"
    assert waiting


async def _asks_other_services(client: httpx.AsyncClient, platform: Platform) -> None:
    assert (await get(client, "/api/jobs"))["jobs"] == []
    assert (await get(client, "/api/lineage/graph"))["nodes"]
    for url in (platform.endpoints.annotate_http, platform.endpoints.lineage_http):
        async with httpx.AsyncClient(base_url=url) as outside:
            path = "/v1/jobs" if url == platform.endpoints.annotate_http else "/v1/graph"
            assert (await outside.get(path)).status_code == 401


async def _revokes(client: httpx.AsyncClient, platform: Platform) -> None:
    made = await client.post("/api/tokens", json={"label": "robot", "scopes": ["read"]})
    token = made.json()
    headers = {"authorization": f"Bearer {token['secret']}"}
    async with httpx.AsyncClient(base_url=platform.endpoints.lineage_http) as lineage:
        assert (await lineage.get("/v1/graph", headers=headers)).status_code == 200
        assert (await client.delete(f"/api/tokens/{token['id']}")).status_code == 204

        async def refused() -> bool:
            return (await lineage.get("/v1/graph", headers=headers)).status_code == 401

        assert await until(refused)


async def test_people_and_tokens_from_the_command_line(platform: Platform) -> None:
    def loopline(*arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "loopline.cli.main", *arguments, "--json",
             "--data", str(platform.options.data_dir)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    added = await asyncio.to_thread(loopline, "user", "add", "ann", "--role", "labeler")
    token = added["link"].partition("#token=")[2]
    async with httpx.AsyncClient(base_url=platform.endpoints.console_http) as ann:
        answer = await ann.post("/api/session/one-time", json={"token": token})
        assert answer.json()["role"] == "labeler"
    users = await asyncio.to_thread(loopline, "user", "list")
    assert [user["name"] for user in users] == ["ann"]
    made = await asyncio.to_thread(
        loopline, "token", "create", "nightly", "--scope", "read", "--scope", "predict:*"
    )
    headers = {"authorization": f"Bearer {made['secret']}"}
    async with httpx.AsyncClient(base_url=platform.endpoints.console_http) as robot:
        assert (await robot.get("/api/datasets", headers=headers)).status_code == 200
        assert (await robot.get("/api/users", headers=headers)).status_code == 403
    [listed] = await asyncio.to_thread(loopline, "token", "list")
    assert listed["id"] == made["id"]
