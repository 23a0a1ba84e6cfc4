"""The router over a real bus and a real S3: from committed predictions to the customer's bucket."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from pydantic import SecretStr

from loopline.contracts import DeliveryCommitted, OpenLabelingJob, RunChanged, catalog
from loopline.contracts.catalog import Stream
from loopline.digests import sha256_hex
from loopline.embedded.objects import weed
from loopline.runtime import admin
from loopline.runtime.service import Host, build, connect
from loopline.store.blobs import S3Blobs
from loopline.store.commits import Committed
from loopline.store.items import DELIVERIES
from loopline.store.logstore import JetStreamLog
from loopline.store.trees import TreeStore
from loopline.testing import flywheel
from loopline.testing.flywheel import Flywheel
from loopline.testing.servers import PlatformServers
from services.router.service import Router
from services.router.settings import RouterSettings

T = TypeVar("T")
FLOW = """
flow: catalogue
datasets: [catalogue]
route:
  - name: confident
    when: "prediction.confidence >= 0.9"
    deliver: {{connection: {connection}, bucket: {bucket}, prefix: out/}}
  - {{name: uncertain, when: true, relabel: {{job: relabel, limit: 100}}}}
"""


async def _until(look: Callable[[], Awaitable[T | None]]) -> T:
    """Return what `look` finds, as soon as it finds something."""
    async with asyncio.timeout(60):
        while (found := await look()) is None:
            await asyncio.sleep(0.02)
        return found


class Platform:
    """A router process's worth of a platform, and the customer's bucket."""

    def __init__(self, servers: PlatformServers, tmp_path: Path) -> None:
        s3 = servers.s3
        self.servers = servers
        key = {"endpoint": s3.endpoint, "access_key": s3.access_key, "secret_key": s3.secret_key}
        connections = tmp_path / "connections.json"
        connections.write_text(
            json.dumps({"customer": key, "stranger": {**key, "access_key": "nobody"}})
        )
        self.settings = RouterSettings(
            workspace=f"t{secrets.token_hex(6)}",
            nats_url=servers.nats.url,
            s3_endpoint=s3.endpoint,
            s3_access_key=s3.access_key,
            s3_secret_key=SecretStr(s3.secret_key),
            s3_bucket=s3.create_bucket("loopline"),
            data_dir=tmp_path,
            connections_file=connections,
        )

    async def start(self) -> None:
        """Declare the streams and start the router."""
        client = await connect(self.settings, "router")
        await admin.declare(client.jetstream(), self.settings.workspace)
        self.client = client
        self.router = build(Router, self.settings, client)
        self.wheel = Flywheel(self.router.log, self.router.objects)
        self.host = Host(self.router, client)
        await self.host.start()

    async def stop(self) -> None:
        """Stop the router."""
        await self.host.stop()

    async def predict(self, bucket: str, connection: str = "customer", count: int = 600) -> None:
        """Commit predictions of `count` images: every third one is uncertain."""
        flow = await self.wheel.flow(FLOW.format(connection=connection, bucket=bucket))
        dataset = await self.wheel.dataset("catalogue", [flywheel.item(i) for i in range(count)])
        model = await self.wheel.model("catalogue", "a", {})
        rows = [flywheel.prediction(i, 0.6 if i % 3 == 0 else 0.95) for i in range(count)]
        await self.wheel.predictions(model, dataset, rows, flow=flow.ref)

    async def delivery(self) -> Committed[DeliveryCommitted] | None:
        """Return the last delivery."""
        return await self.router.log.head(catalog.DELIVERY_COMMITTED, name="catalogue")

    async def reported(self, reason: str) -> RunChanged | None:
        """Return a report of a run whose message has `reason`."""
        subject = catalog.RUN_CHANGED.subject(self.settings.workspace)
        async for record in JetStreamLog(self.client, Stream.EVENTS).read([subject]):
            report = RunChanged.FromString(record.data)
            if reason in report.message:
                return report
        return None


@pytest.fixture
async def platform(platform_servers: PlatformServers, tmp_path: Path) -> AsyncIterator[Platform]:
    platform = Platform(platform_servers, tmp_path)
    await platform.start()
    yield platform
    await platform.stop()


async def test_results_reach_the_bucket_and_the_labelers(
    platform: Platform, s3_bucket: str
) -> None:
    await platform.predict(s3_bucket)
    head = await _until(platform.delivery)
    counts = (head.message.delivered, head.message.relabeled, head.message.unrouted)
    assert counts == (400, 100, 100)
    s3 = platform.servers.s3
    blobs = S3Blobs(s3.endpoint, s3.access_key, s3.secret_key, s3_bucket)
    found = {info.key: sha256_hex(blobs.get(info.key)) for info in blobs.list("")}
    manifest = json.loads(blobs.get("out/manifest.json"))
    del found["out/manifest.json"]
    trees = TreeStore(platform.router.objects, DELIVERIES)
    tree = await trees.open(head.message.tree.root_object)
    assert found == {row.key: row.digest async for row in tree.rows()}
    assert found == {entry["key"]: entry["sha256"] for entry in manifest["objects"]}
    assert await _until(lambda: _job(platform)) == f"relabel-{head.commit.run.id[:8]}"


async def _job(platform: Platform) -> str | None:
    subject = catalog.OPEN_LABELING_JOB.subject(platform.settings.workspace, queue="relabel")
    found = await JetStreamLog(platform.client, Stream.RELABEL).last(subject)
    return OpenLabelingJob.FromString(found[-1].data).job if found else None


async def test_run_waits_for_a_bucket_that_is_not_there_yet(platform: Platform) -> None:
    bucket = f"late-{secrets.token_hex(6)}"
    await platform.predict(bucket, count=3)
    report = await _until(lambda: platform.reported("there is no bucket"))
    assert f"cannot deliver to '{bucket}' through the connection 'customer'" in report.message
    s3 = platform.servers.s3
    weed.ensure_buckets(weed.client(s3.endpoint, s3.access_key, s3.secret_key, retries=2), [bucket])
    head = await _until(platform.delivery)
    assert head.message.delivered == 2


async def test_refused_key_is_told_with_its_reason(platform: Platform, s3_bucket: str) -> None:
    await platform.predict(s3_bucket, connection="stranger", count=3)
    report = await _until(lambda: platform.reported("refuses our key"))
    assert f"cannot deliver to '{s3_bucket}' through the connection 'stranger'" in report.message
