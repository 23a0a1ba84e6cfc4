"""The platform as a whole: start, accidents, stop; with its servers only."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import nats
import psutil
import pytest

from loopline.contracts import catalog
from loopline.embedded import daemon, supervisor
from loopline.embedded.endpoints import Endpoints
from loopline.embedded.errors import AlreadyRunning, NotReady
from loopline.embedded.layout import DataFolder, holder
from loopline.embedded.objects import weed
from loopline.embedded.options import PlatformOptions
from loopline.embedded.platform import Platform
from loopline.store.objects import Area


def servers_only(data_dir: Path, **given: object) -> PlatformOptions:
    options = {"services": (), "prefer_default_ports": False, **given}
    return PlatformOptions(data_dir, **options)  # type: ignore[arg-type]


def put(endpoints: Endpoints, name: str, data: bytes) -> None:
    s3 = weed.client(endpoints.s3_endpoint, endpoints.s3_access_key, endpoints.s3_secret_key)
    s3.put_object(endpoints.s3_bucket, _key(name), io.BytesIO(data), len(data))


def get(endpoints: Endpoints, name: str) -> bytes:
    s3 = weed.client(
        endpoints.s3_endpoint, endpoints.s3_access_key, endpoints.s3_secret_key, retries=2
    )
    with s3.get_object(endpoints.s3_bucket, _key(name)) as response:
        data: bytes = response.read()
    return data


def _key(name: str) -> str:
    return f"default/{Area.ASSETS}/aa/{name}"


async def say(endpoints: Endpoints, body: bytes = b"") -> int:
    """Publish an event as the user and return how many there are."""
    client = await nats.connect(
        endpoints.nats_url,
        user=endpoints.nats_user,
        password=endpoints.nats_password,
        inbox_prefix=b"_INBOX.user",
    )
    js = client.jetstream(timeout=2)
    try:
        await js.publish("loopline.default.dataset.x.committed", body)
        return (await js.stream_info("COMMITS")).state.messages
    finally:
        await client.close()


def pid_of(platform: Platform, name: str) -> int:
    return next(each.pid for each in platform.status() if each.name == name)


def trouble_of(platform: Platform, name: str) -> str:
    return next(each.trouble for each in platform.status() if each.name == name)


def taken(where: str) -> socket.socket:
    """Listen where a server did."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", int(where.rsplit(":", 1)[1])))
    server.listen()
    return server


async def test_what_is_kept_is_there_after_a_restart_on_other_ports(tmp_path: Path) -> None:
    async with Platform(servers_only(tmp_path)) as platform:
        first = platform.endpoints
        put(first, "kept", b"bytes")
        assert await say(first) == 1
    with taken(first.nats_url), taken(first.s3_endpoint):
        async with Platform(servers_only(tmp_path)) as platform:
            second = platform.endpoints
            assert get(second, "kept") == b"bytes"
            assert await say(second) == 2
    assert second.nats_url != first.nats_url
    assert second.s3_endpoint != first.s3_endpoint
    assert second.nats_password == first.nats_password


async def test_a_restart_takes_the_ports_of_last_time(tmp_path: Path) -> None:
    async with Platform(servers_only(tmp_path)) as platform:
        first = platform.endpoints
    async with Platform(servers_only(tmp_path)) as platform:
        assert platform.endpoints == first
    assert Endpoints.load(tmp_path) == first


async def test_killed_servers_come_back_where_they_were_with_what_they_had(tmp_path: Path) -> None:
    async with Platform(servers_only(tmp_path)) as platform:
        endpoints = platform.endpoints
        put(endpoints, "kept", b"bytes")
        await say(endpoints)
        killed = [platform.kill("nats"), platform.kill("weed")]
        await platform.wait_ready(30.0, "nats", "weed")
        assert get(endpoints, "kept") == b"bytes"
        assert await say(endpoints) == 2
        by_name = {each.name: each for each in platform.status()}
        assert [by_name[name].restarts for name in ("nats", "weed")] == [1, 1]
        assert not {by_name["nats"].pid, by_name["weed"].pid} & set(killed)


async def test_a_bus_that_could_not_write_says_so_and_writes_again_once_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Played with a limit on file sizes: to nats-server the same as a full disk."""
    monkeypatch.setattr(supervisor, "WATCH_S", 0.05)
    space = [0]  # bytes free, as the platform sees it
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=space[0] or 10**9))
    async with Platform(servers_only(tmp_path)) as platform:
        assert await say(platform.endpoints) == 1
        space[0] = 1
        pid = pid_of(platform, "nats")
        psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (4096, psutil.RLIM_INFINITY))
        with pytest.raises(TimeoutError):
            await say(platform.endpoints, b"x" * 8192)
        async with asyncio.timeout(10):
            while "write error" not in trouble_of(platform, "nats"):
                await asyncio.sleep(0.01)
        assert pid_of(platform, "nats") == pid  # starting it again on a full disk helps nobody
        space[0] = 10**9
        async with asyncio.timeout(30):
            while pid_of(platform, "nats") in (0, pid):
                await asyncio.sleep(0.01)
        await platform.wait_ready(30.0, "nats")
        assert await say(platform.endpoints, b"x" * 8192) == 2
        assert trouble_of(platform, "nats") == ""


async def test_storage_whose_sockets_were_cleaned_away_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "WATCH_S", 0.05)
    async with Platform(servers_only(tmp_path)) as platform:
        put(platform.endpoints, "kept", b"bytes")
        pid = pid_of(platform, "weed")
        ports = json.loads(platform.folder.ports.read_text())
        weed.sockets(ports)[0].unlink()
        async with asyncio.timeout(30):
            while pid_of(platform, "weed") in (0, pid):
                await asyncio.sleep(0.01)
        await platform.wait_ready(30.0, "weed")
        assert get(platform.endpoints, "kept") == b"bytes"


async def test_every_durable_waits_for_an_ack_as_long_as_was_asked_for(tmp_path: Path) -> None:
    async with Platform(servers_only(tmp_path, ack_wait_s=2.5)) as platform:
        query = "accounts=true&streams=true&consumers=true&config=true"
        async with httpx.AsyncClient() as client:
            said = await client.get(f"{platform.endpoints.nats_monitor_url}/jsz?{query}")
    [account] = said.json()["account_details"]
    waits_s = {
        consumer["name"]: consumer["config"]["ack_wait"] / 1e9
        for stream in account["stream_detail"]
        for consumer in stream.get("consumer_detail") or []
    }
    waits_s.pop(catalog.ADVISORY_DURABLE)
    assert "default_trainer_train_model_default" in waits_s
    assert set(waits_s.values()) == {2.5}


async def test_a_second_platform_on_one_folder_is_told_who_has_it(tmp_path: Path) -> None:
    async with Platform(servers_only(tmp_path)):
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
            await Platform(servers_only(tmp_path)).start()
        assert holder(DataFolder(tmp_path)) == os.getpid()
    assert holder(DataFolder(tmp_path)) is None


async def test_a_server_that_cannot_start_stops_the_others_and_says_why(tmp_path: Path) -> None:
    before = children_of(os.getpid())  # servers that other tests share
    (tmp_path / "nats").mkdir()
    (tmp_path / "nats" / "jetstream").write_text("not a folder")
    with pytest.raises(NotReady, match=r"nats did not start(?s:.*)not a directory"):
        await Platform(servers_only(tmp_path)).start()
    assert holder(DataFolder(tmp_path)) is None
    assert children_of(os.getpid()) == before


async def test_stopping_twice_is_fine_and_leaves_no_process(tmp_path: Path) -> None:
    platform = Platform(servers_only(tmp_path))
    await platform.start()
    pids = [each.pid for each in platform.status() if each.name in ("nats", "weed")]
    await platform.stop()
    await platform.stop()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert {each.state for each in platform.status() if each.name != "supervisor"} == {"stopped"}


async def test_the_customers_buckets_are_there_and_its_connection_beside_other_peoples(
    tmp_path: Path,
) -> None:
    own = {"endpoint": "s3.example.com", "access_key": "a", "secret_key": "b", "secure": True}
    (tmp_path / "connections.json").write_text(json.dumps({"own": own}))
    async with Platform(servers_only(tmp_path, customer_buckets=("photos",))) as platform:
        endpoints = platform.endpoints
        connections = json.loads((tmp_path / "connections.json").read_text())
        assert connections["own"] == own
        customer = connections[endpoints.connection]
        s3 = weed.client(customer["endpoint"], customer["access_key"], customer["secret_key"])
        assert s3.bucket_exists("photos")
        assert (customer["access_key"], customer["secret_key"]) == (
            endpoints.customer_access_key,
            endpoints.customer_secret_key,
        )


def children_of(pid: int) -> set[int]:
    return {child.pid for child in psutil.Process(pid).children(recursive=True)}


def started(data_dir: Path) -> subprocess.Popen[bytes]:
    """A platform in a process of its own, ready."""
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from loopline.embedded.daemon import serve\n"
        "from loopline.embedded.options import PlatformOptions\n"
        "async def watch(platform):\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "options = PlatformOptions(Path(sys.argv[1]), services=(), prefer_default_ports=False)\n"
        "asyncio.run(serve(options, watch))\n"
    )
    process = subprocess.Popen(
        (sys.executable, "-c", script, str(data_dir)),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(daemon.__file__).parents[2])},
    )
    assert process.stdout is not None
    while b"ready" not in (line := process.stdout.readline()):
        assert line, "the platform did not start"
    return process


async def gone(pids: list[int]) -> None:
    async with asyncio.timeout(10):
        while any(psutil.pid_exists(pid) for pid in pids):
            await asyncio.sleep(0.01)


async def test_killing_the_supervisor_leaves_nothing_running(tmp_path: Path) -> None:
    process = started(tmp_path)
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    assert len(children) == 2
    process.kill()
    process.communicate()
    await gone(children)
    async with Platform(servers_only(tmp_path)) as platform:  # and the folder is free at once
        assert await say(platform.endpoints) == 1


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_in_order(tmp_path: Path, sig: signal.Signals) -> None:
    process = started(tmp_path)
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(sig)
    process.communicate(timeout=30)
    assert process.returncode == 0
    await gone(children)
    assert "Server Exiting" in (tmp_path / "logs" / "nats.log").read_text()


async def test_a_detached_platform_outlives_who_started_it_until_it_is_told(tmp_path: Path) -> None:
    options = servers_only(tmp_path)
    pid = daemon.start_detached(options)
    try:
        assert holder(DataFolder(tmp_path)) == pid
        with pytest.raises(NotReady, match=f"already runs .*pid {pid}"):
            daemon.start_detached(options)
    finally:
        os.kill(pid, signal.SIGTERM)
        await gone([pid])
    assert holder(DataFolder(tmp_path)) is None
    first, *_ = (tmp_path / "logs" / "supervisor.log").read_text().splitlines()
    assert json.loads(first)["event"] == "platform_started"
