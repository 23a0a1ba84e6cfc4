"""The whole platform with its seven services, started once for all tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio

from loopline.contracts.catalog import SERVICES
from loopline.embedded.errors import PlatformError
from loopline.embedded.options import PlatformOptions
from loopline.embedded.platform import Platform

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEMORY_BYTES_MAX = 1_500_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    options = PlatformOptions(
        tmp_path_factory.mktemp("platform"),
        prefer_default_ports=False,
        scale={"ingest": 2},
        customer_buckets=("customer-photos",),
        extra_env={"router": {"MARK": "here"}},
    )
    async with Platform(options) as platform:
        yield platform


def pids(platform: Platform) -> dict[str, int]:
    return {each.name: each.pid for each in platform.status()}


def loaded(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


async def test_every_service_is_a_process_of_its_own_and_ready(platform: Platform) -> None:
    names = {"supervisor", "forkserver", "nats", "weed", "ingest-2", *SERVICES}
    assert {each.name for each in platform.status()} == names
    assert len(set(pids(platform).values())) == len(names)
    async with httpx.AsyncClient() as client:
        for url in platform.endpoints.http.values():
            assert (await client.get(f"{url}/readyz")).status_code == 200


async def test_idle_it_holds_less_than_its_bound_in_memory(platform: Platform) -> None:
    # The supervisor here is the process of the tests, with all that they imported.
    own = [each for each in platform.status() if each.name != "supervisor"]
    assert 0 < sum(each.pss_bytes for each in own) < MEMORY_BYTES_MAX


async def test_torch_is_loaded_nowhere(platform: Platform) -> None:
    for name, pid in pids(platform).items():
        if name != "supervisor":  # this test's own process
            assert "libtorch" not in loaded(pid), name


async def test_every_port_is_on_loopback(platform: Platform) -> None:
    for name, pid in pids(platform).items():
        for connection in psutil.Process(pid).net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                address = connection.laddr.ip.removeprefix("::ffff:")  # gRPC maps IPv4 into IPv6
                assert address == "127.0.0.1", name


async def test_every_service_is_on_the_bus_as_itself(platform: Platform) -> None:
    url = f"{platform.endpoints.nats_monitor_url}/connz?auth=true"
    async with httpx.AsyncClient() as client:
        connections = (await client.get(url)).json()["connections"]
    users = {connection["authorized_user"] for connection in connections}
    assert set(SERVICES) <= users
    assert "admin" not in users


async def test_nobody_is_refused_anything_it_asks_for_when_idle(platform: Platform) -> None:
    for name in SERVICES:
        log = platform.folder.log(name).read_text()
        assert "service_started" in log
        assert "permissions violation" not in log.lower()
        assert "AccessDenied" not in log


async def test_scaled_processes_have_ports_and_folders_of_their_own(platform: Platform) -> None:
    http = platform.endpoints.http
    assert http["ingest"] != http["ingest-2"]
    assert (platform.folder.services / "ingest-2").is_dir()


async def test_a_killed_service_comes_back_on_its_port(platform: Platform) -> None:
    url = platform.endpoints.http["router"]
    killed = platform.kill("router")
    await platform.wait_ready(60.0, "router")
    assert pids(platform)["router"] != killed
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/readyz")).status_code == 200


async def test_a_service_that_lost_the_bus_is_ready_again_once_it_is_back(
    platform: Platform,
) -> None:
    platform.kill("nats")
    await platform.wait_ready(60.0, "nats")
    async with asyncio.timeout(30), httpx.AsyncClient() as client:
        for url in platform.endpoints.http.values():
            while (await client.get(f"{url}/readyz")).status_code != 200:
                await asyncio.sleep(0.05)


async def test_all_come_back_when_the_process_they_were_forked_from_is_killed(
    platform: Platform,
) -> None:
    before = pids(platform)
    assert platform.kill("forkserver") == before["forkserver"]
    async with asyncio.timeout(90):
        while not all(
            each.state == "ready" and each.restarts and each.pid != before[each.name]
            for each in platform.status()
            if each.name in SERVICES
        ):
            await asyncio.sleep(0.05)


async def test_killing_what_is_not_there_names_it(platform: Platform) -> None:
    with pytest.raises(PlatformError, match="'ingst'"):
        platform.kill("ingst")
