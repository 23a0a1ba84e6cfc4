"""Ingest, killed at every named step of its handlers: the dataset is what it would have been."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from nats.js import JetStreamContext

from loopline.contracts import catalog
from loopline.contracts.catalog import EVENTS
from loopline.failpoints import STEPS
from loopline.runtime import admin
from loopline.runtime.service import build, connect
from loopline.testing.servers import PlatformServers
from services.ingest.service import Ingest
from tests.integration.test_ingest_service import Platform, fill

HANDLERS = ("on_import_images", "on_import_chunk", "on_join_import")
FAILPOINTS = [f"{handler}/{step}" for handler in HANDLERS for step in STEPS]
ACK_WAIT_S = 1.0  # a killed process's message is taken up again this soon, not after a minute
TIMEOUT_S = 150.0


@asynccontextmanager
async def restarted(platform: Platform, folder: Path) -> AsyncIterator[list[int]]:
    """Run ingest as a process that is started again whenever it is killed; yields the kills."""
    settings, kills = platform.settings, []
    (folder / "failpoints").mkdir()
    environment = {
        **os.environ,
        "LOOPLINE_WORKSPACE": settings.workspace,
        "LOOPLINE_NATS_URL": settings.nats_url,
        "LOOPLINE_S3_ENDPOINT": settings.s3_endpoint,
        "LOOPLINE_S3_ACCESS_KEY": settings.s3_access_key,
        "LOOPLINE_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "LOOPLINE_S3_BUCKET": settings.s3_bucket,
        "LOOPLINE_DATA_DIR": str(folder),
        "LOOPLINE_CONNECTIONS_FILE": str(settings.connections_file),
        "LOOPLINE_IMPORT_CHUNK_OBJECTS": str(settings.import_chunk_objects),
        "LOOPLINE_FAILPOINTS": ",".join(FAILPOINTS),
        "LOOPLINE_FAILPOINTS_DIR": str(folder / "failpoints"),
    }
    process: asyncio.subprocess.Process | None = None

    async def run() -> None:
        nonlocal process
        while True:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.ingest",
                env=environment, stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            status = await process.wait()
            assert status == -signal.SIGKILL, f"ingest ended by itself: {status}"
            kills.append(process.pid)

    task = asyncio.create_task(run())
    try:
        yield kills
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if process is not None and process.returncode is None:
            process.terminate()
            await process.wait()


async def _impatient(js: JetStreamContext, workspace: str) -> None:
    """Declare the streams, with consumers that wait for a dead worker no longer than a test may."""
    await admin.declare(js, workspace)
    for event in EVENTS:
        if any(durable.service == "ingest" for durable in event.durables):
            name = event.durable_name("ingest", workspace)
            config = (await js.consumer_info(event.stream, name)).config
            await js.add_consumer(event.stream, config.evolve(ack_wait=ACK_WAIT_S))


async def test_killed_at_every_step_it_makes_the_same_dataset_once(
    platform_servers: PlatformServers, s3_bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "killed").mkdir()
    (tmp_path / "calm").mkdir()
    killed = Platform(platform_servers, tmp_path / "killed")
    fill(killed.blobs(s3_bucket))
    client = await connect(killed.settings, "ingest")
    await _impatient(client.jetstream(), killed.settings.workspace)
    observer = build(Ingest, killed.settings, client)
    async with restarted(killed, tmp_path / "killed") as kills:
        await killed.ask(s3_bucket)
        async with asyncio.timeout(TIMEOUT_S):
            # The last kill is after the commit: its message must be taken up once more.
            while len(kills) < len(FAILPOINTS):
                await asyncio.sleep(0.05)
    versions = await observer.log.history(catalog.DATASET_COMMITTED, name="catalogue")
    assert len(versions) == 1
    expected = await _undisturbed(platform_servers, s3_bucket, tmp_path / "calm")
    assert versions[0].message.tree.digest == expected
    observer.objects.close()
    await client.close()


async def _undisturbed(servers: PlatformServers, bucket: str, folder: Path) -> str:
    calm = Platform(servers, folder)
    await calm.start()
    await calm.ask(bucket)
    committed = await calm.version()
    await calm.stop()
    return committed.message.tree.digest
