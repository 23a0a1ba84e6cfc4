"""deploy/: its configuration on real servers, with other ports and folders than in containers."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest
import yaml
from pydantic import SecretStr

from loopline.access.callers import local_caller
from loopline.access.guard import AccessGuard
from loopline.clock import SystemClock
from loopline.contracts.catalog import SERVICES, Stream
from loopline.embedded import ports
from loopline.embedded.administer import AdminSettings, administer
from loopline.embedded.binaries import NATS_SERVER, WEED, locate
from loopline.embedded.command import Command
from loopline.embedded.deployment import write_deployment
from loopline.embedded.nats import greeting
from loopline.embedded.objects import weed
from loopline.store.commits import CommitLog
from loopline.store.connections import find_connection
from loopline.testing.memory import MemoryLog
from loopline.testing.servers import ServerProcess

DEPLOY = Path(__file__).parents[2] / "deploy"
NODES = ("bus-1", "bus-2", "bus-3")


class Cluster:
    """Three nodes of deploy/nats/node.conf on this machine."""

    def __init__(self, folder: Path, generated: Path) -> None:
        wanted = [f"{node}/{what}" for node in NODES for what in ("client", "route", "http")]
        self.ports = ports.choose(dict.fromkeys(wanted, 0))
        self.nodes = {node: self._node(folder / node, node, generated) for node in NODES}

    @property
    def url(self) -> str:
        return ",".join(f"nats://127.0.0.1:{self.ports[f'{node}/client']}" for node in NODES)

    def _node(self, folder: Path, node: str, generated: Path) -> ServerProcess:
        folder.mkdir()
        config = (DEPLOY / "nats" / "node.conf").read_text()
        for there, here in (
            ("port: 4222", f"listen: 127.0.0.1:{self.ports[f'{node}/client']}"),
            ("http: 8222", f"http: 127.0.0.1:{self.ports[f'{node}/http']}"),
            ("port: 6222", f"listen: 127.0.0.1:{self.ports[f'{node}/route']}"),
            ('"/data"', f'"{folder}/data"'),
        ):
            assert there in config
            config = config.replace(there, here)
        (folder / "node.conf").write_text(config)
        (folder / "auth.conf").write_bytes((generated / "auth.conf").read_bytes())
        routes = [f"nats://127.0.0.1:{self.ports[f'{each}/route']}" for each in NODES]
        command = Command(
            node,
            (str(locate(NATS_SERVER)), "--config", str(folder / "node.conf")),
            folder,
            {"NATS_NODE": node, "NATS_ROUTES": f"[{', '.join(routes)}]"},
        )
        port = self.ports[f"{node}/client"]
        return ServerProcess(
            lambda: command,
            lambda: greeting("127.0.0.1", port).get("server_name") == node,
            folder / "log",
        )


@pytest.fixture(scope="module")
def storage_ports() -> dict[str, int]:
    return weed.choose_ports({"weed_admin": 0})


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory, storage_ports: dict[str, int]) -> Path:
    folder = tmp_path_factory.mktemp("deploy") / "generated"
    write_deployment(folder, nats_url="", s3_endpoint=f"127.0.0.1:{storage_ports['s3']}")
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, generated: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), generated)
    for node in cluster.nodes.values():
        node.start()
    yield cluster
    for node in cluster.nodes.values():
        node.stop()


@pytest.fixture(scope="module")
def storage(
    tmp_path_factory: pytest.TempPathFactory, generated: Path, storage_ports: dict[str, int]
) -> Iterator[ServerProcess]:
    """SeaweedFS with the command of deploy/compose.yaml."""
    folder = tmp_path_factory.mktemp("storage")
    words = compose()["services"]["storage"]["command"].split()
    there_here = {
        "/etc/seaweedfs": str(generated),
        "-dir=/data": f"-dir={folder}",
        "-ip=storage": "-ip=127.0.0.1",
        "0.0.0.0": "127.0.0.1",
    }
    for there, here in there_here.items():
        words = [word.replace(there, here) for word in words]
    names = {"s3": "s3", **{f"weed_{part}": part for part in ("master", "volume", "filer")}}
    for name, flag in names.items():
        words.append(f"-{flag}.port={storage_ports[name]}")
        words.append(f"-{flag}.port.grpc={storage_ports[f'{name}_grpc']}")
    words += ["-filer.localSocket=filer.sock", "-s3.localSocket=s3.sock"]
    command = Command("weed", (str(locate(WEED)), *words), folder)
    admin = told(generated, "admin")
    client = weed.client(
        admin["LOOPLINE_S3_ENDPOINT"],
        admin["LOOPLINE_S3_ACCESS_KEY"],
        admin["LOOPLINE_S3_SECRET_KEY"],
    )
    process = ServerProcess(
        lambda: command, lambda: weed.is_writable(client, "ready"), folder / "weed.log"
    )
    yield process.start()
    process.stop()
    weed.remove_sockets(storage_ports)


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return document


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def told(generated: Path, name: str) -> dict[str, str]:
    lines = (generated / f"{name}.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def admin(
    generated: Path, cluster: Cluster, storage: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> AdminSettings:
    del storage  # running is all that is asked of it
    for name, value in told(generated, "admin").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOOPLINE_NATS_URL", cluster.url)
    return AdminSettings(replicas=3)


def test_secrets_are_private_and_stay_when_written_again(generated: Path) -> None:
    before = {path: path.read_text() for path in files(generated)}
    endpoint = told(generated, "router")["LOOPLINE_S3_ENDPOINT"]
    write_deployment(generated, nats_url="", s3_endpoint=endpoint)
    assert {path: path.read_text() for path in files(generated)} == before
    assert {stat.S_IMODE(path.stat().st_mode) for path in before} == {0o600}


def test_every_service_is_in_compose_with_its_own_file() -> None:
    services = compose()["services"]
    started = {name for name, service in services.items() if "profiles" not in service}
    assert started == {"bus", "storage", "admin", *SERVICES}
    for name in SERVICES:
        assert services[name]["env_file"] == f"./generated/{name}.env"
        assert services[name]["build"]["args"] == {"SERVICE": name}
        assert services[name]["restart"] == "unless-stopped"


def test_annotate_may_ask_models_and_nobody_else_has_its_key(generated: Path) -> None:
    address = told(generated, "annotate")["LOOPLINE_INFERENCE_GRPC"]
    assert address.partition(":")[0] in compose()["services"]
    assert address.partition(":")[2] == told(generated, "inference")["LOOPLINE_GRPC_PORT"]
    key = told(generated, "annotate")["LOOPLINE_API_TOKEN"]
    asked = told(generated, "inference")
    log = CommitLog(MemoryLog(), "default", source="test", clock=SystemClock())
    guard = AccessGuard(
        log, asked["LOOPLINE_ACCESS_KEYS"], SecretStr(asked["LOOPLINE_API_TOKEN"]), SystemClock()
    )
    assert guard.caller(f"Bearer {key}") == local_caller()
    others = set(SERVICES) - {"annotate", "inference"}
    assert not [name for name in others if "LOOPLINE_API_TOKEN" in told(generated, name)]


def test_only_loopback_is_published() -> None:
    published = [port for s in compose()["services"].values() for port in s.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


async def test_streams_have_three_copies_and_outlive_a_node(
    admin: AdminSettings, cluster: Cluster
) -> None:
    await administer(admin)
    await administer(admin)  # again, as after an upgrade
    client = await nats.connect(
        cluster.url.split(","),
        user=admin.nats_user,
        password=admin.nats_password.get_secret_value(),
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,
    )
    js = client.jetstream(timeout=5)
    info = await js.stream_info(Stream.COMMITS)
    assert info.cluster is not None
    assert len(info.cluster.replicas or []) == 2
    leader = str(info.cluster.leader)
    subject = "loopline.default.dataset.x.committed"
    expect = {"Nats-Expected-Last-Subject-Sequence": "0"}
    first = await js.publish(subject, b"1", headers=expect)
    cluster.nodes[leader].kill()
    async with asyncio.timeout(60):  # until the other two have a leader
        while True:
            try:
                last = await js.get_last_msg(Stream.COMMITS, subject)
                second = await js.publish(
                    subject, b"2", headers={"Nats-Expected-Last-Subject-Sequence": str(last.seq)}
                )
                break
            except (nats.errors.Error, nats.js.errors.Error, TimeoutError):
                await asyncio.sleep(0.2)
    cluster.nodes[leader].start()
    await client.close()
    assert second.seq > first.seq


async def test_a_service_starts_with_what_its_file_tells_it(
    admin: AdminSettings, generated: Path, cluster: Cluster, tmp_path: Path
) -> None:
    await administer(admin)
    port = ports.choose({"http": 0})["http"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.router"),
        cwd=Path(__file__).parents[2],
        env={
            **os.environ,
            **told(generated, "router"),
            "LOOPLINE_NATS_URL": cluster.url.split(",", maxsplit=1)[0],
            "LOOPLINE_HTTP_HOST": "127.0.0.1",
            "LOOPLINE_HTTP_PORT": str(port),
            "LOOPLINE_DATA_DIR": str(tmp_path),
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60), httpx.AsyncClient() as client:
            while True:
                try:
                    if (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200:
                        break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
    finally:
        process.terminate()
        await process.wait()
    assert process.returncode == 0


async def test_people_upload_into_a_bucket_that_ingest_reads(
    admin: AdminSettings, generated: Path
) -> None:
    await administer(admin)
    console = told(generated, "console")
    bucket = console["LOOPLINE_UPLOADS_BUCKET"]
    there = generated / Path(console["LOOPLINE_CONNECTIONS_FILE"]).name
    find_connection(there, "uploads").bucket(bucket).put("a/b.png", b"1")
    mine = generated / Path(told(generated, "ingest")["LOOPLINE_CONNECTIONS_FILE"]).name
    assert find_connection(mine, "uploads").bucket(bucket).get("a/b.png") == b"1"
    mounts = compose()["services"]["console"]["volumes"]
    assert f"./generated/{there.name}:{console['LOOPLINE_CONNECTIONS_FILE']}:ro" in mounts


def test_connections_that_people_wrote_stay(tmp_path: Path) -> None:
    folder = tmp_path / "generated"
    write_deployment(folder, nats_url="", s3_endpoint="storage:8333")
    own = {"endpoint": "s3.example.org", "access_key": "a", "secret_key": "b", "secure": True}
    (folder / "connections.json").write_text(json.dumps({"customer": own}))
    write_deployment(folder, nats_url="", s3_endpoint="storage:8333")
    kept = json.loads((folder / "connections.json").read_text())
    assert (kept["customer"], sorted(kept)) == (own, ["customer", "uploads"])
