"""Ingest over a real bus and a real S3: a customer's JSON event becomes a dataset version."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import nats
import orjson
import pytest
from pydantic import SecretStr

from loopline.contracts import DatasetCommitted, RunChanged, RunState, catalog
from loopline.contracts.catalog import Stream
from loopline.demo.images import read_pictures
from loopline.errors import NotFound, Rejected
from loopline.runtime import admin
from loopline.runtime.service import Host, build, connect
from loopline.store.blobs import S3Blobs
from loopline.store.commits import Committed
from loopline.store.items import Item
from loopline.store.logstore import JetStreamLog, Record
from loopline.store.objects import Area
from loopline.testing.servers import PlatformServers
from services.ingest.adapters.fetching import Fetcher
from services.ingest.domain.drops import Reason
from services.ingest.domain.plan import Entry, Listed
from services.ingest.service import Ingest
from services.ingest.settings import IngestSettings
from tests.unit.ingest.test_fetching import RULES
from tests.unit.vision.test_headers import bomb

T = TypeVar("T")
ODD_NAMES = (
    "with space.png",
    "Été/robe à fleurs (détail).png",
    "каталог/платье №5.png",
    "製品 写真.png",
    "plus+and&hash#percent%20.png",
    "decomposed e\u0301.png",
    "quote'\"comma,.png",
)
PICTURES = [picture.data for picture in read_pictures()[:60]]


async def _until(look: Callable[[], Awaitable[T | None]]) -> T:
    """Return what `look` finds, as soon as it finds something."""
    async with asyncio.timeout(60):
        while (found := await look()) is None:
            await asyncio.sleep(0.02)
        return found


class Platform:
    """A bus and storage with ingest on it, and a customer."""

    def __init__(self, servers: PlatformServers, tmp_path: Path) -> None:
        s3 = servers.s3
        self.servers = servers
        key = {"endpoint": s3.endpoint, "access_key": s3.access_key, "secret_key": s3.secret_key}
        connections = tmp_path / "connections.json"
        connections.write_text(
            json.dumps({"customer": key, "stranger": {**key, "access_key": "nobody"}})
        )
        self.settings = IngestSettings(
            workspace=f"t{secrets.token_hex(6)}",
            nats_url=servers.nats.url,
            s3_endpoint=s3.endpoint,
            s3_access_key=s3.access_key,
            s3_secret_key=SecretStr(s3.secret_key),
            s3_bucket=s3.create_bucket("loopline"),
            data_dir=tmp_path,
            connections_file=connections,
            import_chunk_objects=7,
        )
        self.hosts: list[Host] = []

    async def start(self, processes: int = 1) -> None:
        """Declare the streams and start ingest so many times."""
        for _ in range(processes):
            client = await connect(self.settings, "ingest")
            await admin.declare(client.jetstream(), self.settings.workspace)
            ingest = build(Ingest, self.settings, client)
            assert isinstance(ingest, Ingest)
            self.client, self.ingest = client, ingest
            self.hosts.append(Host(self.ingest, client))
            await self.hosts[-1].start()

    async def stop(self) -> None:
        """Stop every ingest."""
        await asyncio.gather(*(host.stop() for host in self.hosts))

    def blobs(self, bucket: str) -> S3Blobs:
        """Return the customer's own view of a bucket."""
        s3 = self.servers.s3
        return S3Blobs(s3.endpoint, s3.access_key, s3.secret_key, bucket)

    async def ask(self, bucket: str, connection: str = "customer", **data: Any) -> None:
        """Publish the command as a customer's system would: JSON, and nothing of ours."""
        event = {
            "specversion": "1.0",
            "id": secrets.token_hex(8),
            "source": "https://shop.example",
            "type": "loopline.contracts.ingest.v1.ImportImages",
            "data": {
                "dataset": "catalogue",
                "source": {"connection": connection, "bucket": bucket},
                **data,
            },
        }
        client = await nats.connect(self.servers.nats.url)
        await client.jetstream().publish(
            f"loopline.{self.settings.workspace}.cmd.import.default",
            json.dumps(event).encode(),
            headers={"Content-Type": "application/cloudevents+json"},
        )
        await client.close()

    async def version(self, number: int = 1) -> Committed[DatasetCommitted]:
        """Return the dataset's version, once it is there."""

        async def look() -> Committed[DatasetCommitted] | None:
            head = await self.ingest.datasets.head("catalogue")
            return head if head and head.ref.version >= number else None

        return await _until(look)

    async def items(self, committed: Committed[DatasetCommitted]) -> list[Item]:
        """Return the items of a version."""
        return [item async for item in (await self.ingest.datasets.tree(committed)).rows()]

    async def failed(self) -> RunChanged:
        """Return the report of the run that failed, once there is one."""

        async def look() -> RunChanged | None:
            subject = catalog.RUN_CHANGED.subject(self.settings.workspace)
            async for record in JetStreamLog(self.client, Stream.EVENTS).read([subject]):
                report = RunChanged.FromString(record.data)
                if report.state == RunState.RUN_STATE_FAILED:
                    return report
            return None

        return await _until(look)

    async def dead(self, event_key: str) -> Record:
        """Return the dead letter of a handler, once there is one."""

        async def look() -> Record | None:
            subject = catalog.dead_subject(self.settings.workspace, "ingest", event_key)
            found = await JetStreamLog(self.client, Stream.DEAD).last(subject)
            return found[-1] if found else None

        return await _until(look)


@pytest.fixture
async def platform(platform_servers: PlatformServers, tmp_path: Path) -> AsyncIterator[Platform]:
    platform = Platform(platform_servers, tmp_path)
    yield platform
    await platform.stop()


def fill(blobs: S3Blobs, count: int = 40) -> None:
    """Put real images and every kind of bad file."""
    for number, data in enumerate(PICTURES[:count]):
        blobs.put(f"photos/{number:03}.png", data)
    blobs.put("photos/copy of 000.png", PICTURES[0])
    blobs.put("photos/cut.png", PICTURES[1][:100])
    blobs.put("photos/empty.png", b"")
    blobs.put("photos/text.png", b"no picture")
    blobs.put("photos/bomb.png", bomb(20_000, 20_000))


async def test_customers_event_becomes_a_dataset_version(
    platform: Platform, s3_bucket: str
) -> None:
    blobs = platform.blobs(s3_bucket)
    fill(blobs)
    for name, data in zip(ODD_NAMES, PICTURES[40:], strict=False):
        blobs.put(f"photos/{name}", data)
    rows = f'file,class,split\n000.png,bag,train\n001.png,coat,test\n"{ODD_NAMES[1]}",bag,train\n'
    blobs.put("labels.csv", rows.encode())
    await platform.start()
    source = {"connection": "customer", "bucket": s3_bucket, "prefix": "photos/"}
    await platform.ask(s3_bucket, source=source, labelsKey="labels.csv")
    committed = await platform.version()
    assert committed.message.statistics["items"] == 40 + len(ODD_NAMES)
    assert committed.message.statistics["labeled"] == 3
    assert committed.commit.run.actor.name == "https://shop.example"
    [output] = committed.commit.run.outputs
    report = orjson.loads(await platform.ingest.objects.get(Area.REPORTS, output.digest))
    assert {drop["key"]: drop["reason"] for drop in report["drops"]} == {
        "photos/bomb.png": "too_large",
        "photos/copy of 000.png": "exact_duplicate",
        "photos/cut.png": "corrupt",
        "photos/empty.png": "empty",
        "photos/text.png": "not_an_image",
    }
    assets = {item.asset for item in await platform.items(committed)}
    stored = await platform.ingest.objects.get_many(Area.ASSETS, sorted(assets))
    assert set(stored) == set(PICTURES[: 40 + len(ODD_NAMES)])


async def test_new_images_make_version_2_and_nothing_new_makes_none(
    platform: Platform, s3_bucket: str
) -> None:
    blobs = platform.blobs(s3_bucket)
    fill(blobs, 20)
    await platform.start()
    await platform.ask(s3_bucket)
    first = await platform.version()
    await platform.ask(s3_bucket)
    fill(blobs, 25)
    await platform.ask(s3_bucket)
    second = await platform.version(2)
    assert second.commit.parent == first.ref
    assert second.message.changes["added"] == 5
    assert second.ref.version == 2


async def test_three_processes_make_what_one_makes(
    platform: Platform, platform_servers: PlatformServers, s3_bucket: str, tmp_path: Path
) -> None:
    fill(platform.blobs(s3_bucket))
    await platform.start(processes=3)
    await platform.ask(s3_bucket)
    committed = await platform.version()
    folder = tmp_path / "alone"
    folder.mkdir()
    alone = Platform(platform_servers, folder)
    await alone.start()
    await alone.ask(s3_bucket)
    expected = await alone.version()
    await alone.stop()
    assert committed.message.tree.digest == expected.message.tree.digest
    assert committed.commit.run.id == expected.commit.run.id


@pytest.mark.parametrize(
    ("bucket", "connection", "reason"),
    [
        pytest.param("no-such-bucket", "customer", "there is no bucket", id="missing"),
        pytest.param("", "stranger", "refuses our key", id="refused"),
        pytest.param("", "nobody", "there is no connection 'nobody'", id="unknown"),
        pytest.param("Not A Bucket!", "customer", "S3 cannot take this name", id="no-bucket-name"),
        pytest.param("", "customer", "there is nothing at", id="empty"),
    ],
)
async def test_bucket_that_cannot_be_read_fails_the_run_and_leaves_a_dead_letter(
    platform: Platform, s3_bucket: str, bucket: str, connection: str, reason: str
) -> None:
    await platform.start()
    await platform.ask(bucket or s3_bucket, connection)
    assert reason in (await platform.failed()).message
    letter = await platform.dead("import_images")
    assert reason in letter.headers["Loopline-Dead-Reason"]


async def test_other_imports_go_on_beside_one_that_fails(
    platform: Platform, s3_bucket: str
) -> None:
    fill(platform.blobs(s3_bucket), 10)
    await platform.start()
    await platform.ask("no-such-bucket")
    await platform.ask(s3_bucket)
    assert (await platform.version()).message.statistics["items"] == 10
    assert "there is no bucket" in (await platform.failed()).message


async def test_object_deleted_or_changed_after_listing_is_told(
    platform: Platform, s3_bucket: str
) -> None:
    await platform.start()
    blobs = platform.blobs(s3_bucket)
    fill(blobs, 4)
    source = platform.ingest.sources("customer", s3_bucket)
    listed = [Entry(Listed(i.key, i.etag, i.size_bytes)) for i in source.list("photos/00")]
    blobs.delete("photos/001.png")
    blobs.put("photos/002.png", PICTURES[50])
    fetcher = Fetcher(platform.ingest.objects, threads=4, batch_bytes=10**6)
    findings = await fetcher.fetch(listed, source, RULES)
    fetcher.close()
    assert {drop.key: drop.reason for drop in findings.drops} == {
        "photos/001.png": Reason.DELETED,
        "photos/002.png": Reason.CHANGED,
    }
    assert [arrival.key for arrival in findings.arrivals] == ["photos/000.png", "photos/003.png"]


async def test_source_tells_our_errors(platform: Platform, s3_bucket: str) -> None:
    platform.blobs(s3_bucket).put("a.png", PICTURES[0])
    sources = platform.settings.customer_blobs
    assert sources("customer", s3_bucket).get_version("a.png", limit_bytes=9)[0] == PICTURES[0][:9]
    with pytest.raises(NotFound, match="there is no object"):
        sources("customer", s3_bucket).get_version("b.png", limit_bytes=9)
    with pytest.raises(NotFound, match="there is no bucket"):
        sources("customer", "no-such-bucket").get_version("a.png", limit_bytes=9)
    with pytest.raises(Rejected, match="refuses our key"):
        sources("stranger", s3_bucket).get_version("a.png", limit_bytes=9)
