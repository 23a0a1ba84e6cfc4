"""An agent on another machine: one file of credentials, one command, no more rights than needed."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import nats.errors
import pytest
from minio import Minio
from minio.error import S3Error
from nats.aio.client import Client

from loopline.client.aio import AsyncLoopline
from loopline.embedded import agents
from loopline.embedded.errors import PlatformError
from loopline.embedded.options import PlatformOptions
from loopline.embedded.platform import Platform
from loopline.store.objects import Area

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    options = PlatformOptions(tmp_path / "platform", services=(), prefer_default_ports=False)
    async with Platform(options) as running:
        yield running


async def admitted(platform: Platform, name: str = "box", pool: str = "lab") -> dict[str, str]:
    """Let an agent in while the platform runs."""
    folder = platform.options.data_dir
    return await asyncio.to_thread(agents.admit, folder, name, pool, {"gpu": "h100"})


async def connected(told: dict[str, str]) -> Client:
    """Connect as an agent, once the bus knows it."""
    async with asyncio.timeout(agents.RELOAD_S):
        while (client := await admission(told)) is None:
            await asyncio.sleep(0.05)
        return client


async def admission(told: dict[str, str]) -> Client | None:
    """Connect as an agent; None if the bus does not let it in."""
    client = Client()
    try:
        await client.connect(
            told["LOOPLINE_NATS_URL"],
            user=told["LOOPLINE_NATS_USER"],
            password=told["LOOPLINE_NATS_PASSWORD"],
            allow_reconnect=False,
            inbox_prefix=b"_INBOX.trainer",
            error_cb=_ignored,
        )
    except (nats.errors.Error, ConnectionError):
        if client._transport is not None:  # a refused client leaves its socket open
            client._transport.close()  # type: ignore[no-untyped-call]
        return None
    return client


async def _ignored(_: Exception) -> None:
    """What is denied is looked for."""


def storage(told: dict[str, str]) -> Minio:
    return Minio(
        told["LOOPLINE_S3_ENDPOINT"],
        told["LOOPLINE_S3_ACCESS_KEY"],
        told["LOOPLINE_S3_SECRET_KEY"],
        secure=False,
        region="us-east-1",
    )


async def stored(told: dict[str, str], area: Area) -> bool:
    """Tell whether an agent may write there."""

    def put() -> bool:
        try:
            storage(told).put_object("loopline", f"default/{area}/aa/x", BytesIO(b"1"), 1)
        except S3Error:
            return False
        return True

    return await asyncio.to_thread(put)


async def test_a_machine_with_the_file_and_one_command_is_an_agent(
    platform: Platform, tmp_path: Path
) -> None:
    file = tmp_path / "box.env"
    agents.write_file(file, await admitted(platform))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    command = [sys.executable, "-m", "loopline.cli.main", "agent", "start"]
    process = await asyncio.create_subprocess_exec(
        *command,
        "--credentials",
        str(file),
        "--folder",
        str(tmp_path / "machine"),
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("LOOPLINE_")},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with await AsyncLoopline.connect(platform.options.data_dir) as loopline:
            async with asyncio.timeout(60):
                while not (found := await loopline.agent.list()):
                    await asyncio.sleep(0.05)
            [agent] = found
            assert (agent.name, agent.reported.kind) == ("box", "trainer")
            assert dict(agent.reported.labels) == {"pool": "lab", "gpu": "h100"}
            assert list(agent.reported.pools) == ["lab", "box"]
            process.terminate()
            await process.wait()
            [agent] = await loopline.agent.list()
            assert agent.state(agent.heard_at) == "gone"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_an_agent_may_do_what_a_trainer_may_and_no_more(platform: Platform) -> None:
    told = await admitted(platform)
    client = await connected(told)
    try:
        stream = client.jetstream(timeout=2)
        await stream.consumer_info("WORK", "default_trainer_train_model_lab")
        await stream.consumer_info("WORK", "default_trainer_train_model_box")
        for other in (
            "default_trainer_train_model_default",
            "default_ingest_import_images_default",
        ):
            with pytest.raises(nats.errors.TimeoutError):  # a denied request is not answered
                await stream.consumer_info("WORK", other)
    finally:
        await client.close()
    async with asyncio.timeout(agents.RELOAD_S):
        while not await stored(told, Area.CHECKPOINTS):
            await asyncio.sleep(0.1)
    assert await stored(told, Area.MODELS)
    assert not await stored(told, Area.ASSETS)
    assert not await stored(told, Area.TREES)


async def test_an_agent_whose_credentials_are_taken_back_is_shut_out(platform: Platform) -> None:
    told = await admitted(platform)
    client = await connected(told)
    await asyncio.to_thread(agents.dismiss, platform.options.data_dir, "box")
    async with asyncio.timeout(agents.RELOAD_S):
        while client.is_connected:  # the bus puts it out
            await asyncio.sleep(0.05)
    await client.close()
    assert await admission(told) is None
    async with asyncio.timeout(agents.RELOAD_S):
        while await stored(told, Area.CHECKPOINTS):
            await asyncio.sleep(0.1)


async def test_agents_are_known_after_a_restart_of_the_platform(tmp_path: Path) -> None:
    options = PlatformOptions(tmp_path, services=(), prefer_default_ports=False)
    async with Platform(options) as platform:
        told = await admitted(platform)
    assert (await asyncio.to_thread(agents.admit, tmp_path, "box", "lab"))[
        "LOOPLINE_NATS_PASSWORD"
    ] == told["LOOPLINE_NATS_PASSWORD"]
    async with Platform(options) as platform:
        told["LOOPLINE_NATS_URL"] = platform.endpoints.nats_url
        await (await connected(told)).close()


async def test_a_file_that_holds_no_credentials_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wrong.env"
    file.write_text("NAME=value\n")
    with pytest.raises(PlatformError, match="holds no credentials"):
        agents.read_file(file)
    with pytest.raises(PlatformError, match="cannot be read"):
        agents.read_file(tmp_path / "none")
    with pytest.raises(PlatformError, match="no platform was started"):
        await asyncio.to_thread(agents.admit, tmp_path, "box")
