"""Uploads and imports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from loopline.access import Role
from loopline.contracts import catalog
from loopline.store.blobs import MemoryBlobs
from tests.unit.console.desk import Desk

Json = dict[str, Any]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Desk]:
    """A console with a bucket for uploads and small limits."""
    given = {
        "upload_file_max_bytes": 2_000, "upload_max_bytes": 5_000, "upload_files_max": 3,
        "connection_names": ("customer",),
    }  # fmt: skip
    desk = Desk(tmp_path, given)
    await desk.start()
    desk.service.desks.imports._bucket = MemoryBlobs()
    desk.settings = desk.service.settings
    yield desk
    await desk.stop()


async def opened(client: httpx.AsyncClient) -> str:
    answer = await client.post("/api/imports/uploads")
    assert answer.status_code == 201
    return str(answer.json()["id"])


async def put(client: httpx.AsyncClient, id_: str, path: str, data: bytes) -> httpx.Response:
    return await client.put(f"/api/imports/uploads/{id_}/files/{path}", content=data)


async def test_files_are_put_and_imported_in_the_persons_name(shop: Desk) -> None:
    client = await shop.signed_in(Role.OPERATOR)
    id_ = await opened(client)
    assert (await put(client, id_, "shoes/a b.png", b"1")).json()["path"] == "shoes/a b.png"
    assert (await put(client, id_, "shoes/a b.png", b"22")).json()["size_bytes"] == 2
    await put(client, id_, "labels.csv", b"file,class,split")
    told = (await client.get(f"/api/imports/uploads/{id_}")).json()
    assert (told["files"], told["size_bytes"]) == (2, 18)
    body = {"dataset": "shoes", "upload": id_, "labels_key": "labels.csv", "classes": ["a"]}
    answer = await client.post("/api/imports", json=body)
    assert answer.status_code == 202
    [command] = shop.bus.sent(catalog.IMPORT_IMAGES)
    assert (command.source.connection, command.source.prefix) == ("uploads", f"{id_}/")
    assert command.labels_key == f"{id_}/labels.csv"
    assert command.actor.name == "operator"


async def test_another_process_goes_on_with_an_upload(shop: Desk) -> None:
    client = await shop.signed_in(Role.OPERATOR)
    id_ = await opened(client)
    await put(client, id_, "a.png", b"1")
    shop.service.desks.imports._sizes.clear()  # as it is in a process that saw nothing of it
    told = (await client.get(f"/api/imports/uploads/{id_}")).json()
    assert told["files"] == 1


async def test_import_of_a_bucket_names_place_and_rules(shop: Desk) -> None:
    client = await shop.signed_in(Role.OPERATOR)
    source = {"connection": "customer", "bucket": "photos", "prefix": "new/"}
    rules = {"min_side_px": 32, "drop_near_duplicates": False}
    body = {"dataset": "shoes", "source": source, "rules": rules, "labels_key": "l.csv"}
    assert (await client.post("/api/imports", json=body)).status_code == 202
    [command] = shop.bus.sent(catalog.IMPORT_IMAGES)
    assert (command.source.bucket, command.source.prefix) == ("photos", "new/")
    assert (command.rules.min_side_px, command.rules.drop_near_duplicates) == (32, False)
    assert command.labels_key == "l.csv"
    places = (await client.get("/api/imports/connections")).json()
    assert places == {"connections": ["customer"], "can_upload": True}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"dataset": "shoes"}, id="from nowhere"),
        pytest.param({"dataset": "No Name", "upload": "0" * 32}, id="no name"),
        pytest.param({"dataset": "shoes", "upload": "0" * 32, "extra": 1}, id="unknown field"),
        pytest.param(
            {"dataset": "a", "upload": "0" * 32, "source": {"connection": "c", "bucket": "b"}},
            id="from two places",
        ),
    ],
)
async def test_import_that_makes_no_sense_is_refused(shop: Desk, body: Json) -> None:
    client = await shop.signed_in(Role.OPERATOR)
    answer = await client.post("/api/imports", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert shop.bus.sent(catalog.IMPORT_IMAGES) == []


async def test_upload_that_is_not_there_is_not_imported(shop: Desk) -> None:
    client = await shop.signed_in(Role.OPERATOR)
    for id_ in ("0" * 32, "..%2f..", "x"):
        answer = await client.post("/api/imports", json={"dataset": "shoes", "upload": id_})
        assert answer.status_code == 404
        assert (await put(client, id_, "a.png", b"1")).status_code == 404


@pytest.mark.parametrize(
    "path", ["../secret", "a//b", "a/../../b", "a%0ab", "/etc/passwd", "a/%2e/b", "x" * 1000]
)
async def test_path_that_leaves_the_upload_is_refused(shop: Desk, path: str) -> None:
    client = await shop.signed_in(Role.OPERATOR)
    id_ = await opened(client)
    answer = await put(client, id_, path.replace("..", "%2e%2e"), b"1")
    assert answer.status_code in (404, 422)
    blobs = shop.service.desks.imports._bucket
    assert blobs is not None
    assert [info.key for info in blobs.list("")] == [f".upload/{id_}"]


async def test_limits_of_files_bytes_and_count_hold(shop: Desk) -> None:
    client = await shop.signed_in(Role.OPERATOR)
    id_ = await opened(client)
    too_large = await put(client, id_, "a.png", b"x" * 2_001)
    assert too_large.status_code == 422
    assert "a file may have 2000" in too_large.json()["error"]

    async def stream() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 1_000

    unannounced = await client.put(f"/api/imports/uploads/{id_}/files/a.png", content=stream())
    assert unannounced.status_code == 422
    for name in ("a", "b"):
        assert (await put(client, id_, name, b"x" * 2_000)).status_code == 200
    too_much = await put(client, id_, "c", b"x" * 2_000)
    assert "5000 bytes in all" in too_much.json()["error"]
    assert (await put(client, id_, "c", b"x")).status_code == 200
    assert (await put(client, id_, "d", b"x")).status_code == 422


async def test_upload_that_is_given_up_leaves_nothing(shop: Desk) -> None:
    client = await shop.signed_in(Role.OPERATOR)
    id_ = await opened(client)
    await put(client, id_, "a.png", b"1")
    assert (await client.delete(f"/api/imports/uploads/{id_}")).status_code == 204
    blobs = shop.service.desks.imports._bucket
    assert blobs is not None
    assert list(blobs.list("")) == []
    assert (await client.get(f"/api/imports/uploads/{id_}")).status_code == 404


async def test_console_without_a_bucket_says_that_nothing_can_be_uploaded(desk: Desk) -> None:
    client = await desk.signed_in(Role.OPERATOR)
    answer = await client.post("/api/imports/uploads")
    assert answer.status_code == 422
    assert not (await client.get("/api/imports/connections")).json()["can_upload"]
