"""Real nats-server and SeaweedFS as the embedded platform runs them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nats
import psutil
import pytest
from minio import Minio

from loopline.embedded import ports
from loopline.embedded.errors import NotReady
from loopline.embedded.objects import weed
from loopline.testing.servers import (
    NatsTestServer,
    PlatformServers,
    S3TestServer,
    ServerProcess,
    start_nats,
    start_s3,
)

EVERYWHERE = ("0.0.0.0", "::", "*")


def s3_client(server: S3TestServer) -> Minio:
    return weed.client(server.endpoint, server.access_key, server.secret_key, retries=2)


def read(s3: Minio, bucket: str, key: str) -> bytes:
    with s3.get_object(bucket, key) as response:
        data: bytes = response.read()
    return data


def test_both_listen_on_loopback_alone(platform_servers: PlatformServers) -> None:
    for process in (platform_servers.nats.process, platform_servers.s3.process):
        listening = [
            connection.laddr.ip
            for connection in psutil.Process(process.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening
        assert set(listening) == {"127.0.0.1"}


async def test_what_the_bus_acknowledged_survives_its_kill(nats_server: NatsTestServer) -> None:
    client = await nats.connect(nats_server.url, max_reconnect_attempts=-1)
    js = client.jetstream()
    await js.add_stream(name="kept", subjects=["kept.>"])
    for number in range(100):
        await js.publish("kept.x", str(number).encode())
    await client.close()

    nats_server.process.restart()

    client = await nats.connect(nats_server.url)
    info = await client.jetstream().stream_info("kept")
    last = await client.jetstream().get_last_msg("kept", "kept.x")
    await client.jetstream().delete_stream("kept")
    await client.close()
    assert info.state.messages == 100
    assert last.data == b"99"


def test_what_storage_acknowledged_survives_its_kill(
    s3_server: S3TestServer, s3_bucket: str
) -> None:
    s3 = s3_client(s3_server)
    for number in range(30):
        s3.put_object(s3_bucket, f"a/{number}", io.BytesIO(b"x" * number), number)
    s3_server.process.restart()
    assert [len(read(s3, s3_bucket, f"a/{number}")) for number in range(30)] == list(range(30))


def test_storage_keeps_its_data_when_all_its_ports_change(tmp_path: Path) -> None:
    """The well-known ports may be free today and taken tomorrow."""
    first = start_s3(tmp_path / "s3")
    bucket = first.create_bucket()
    s3_client(first).put_object(bucket, "before", io.BytesIO(b"old"), 3)
    first.stop()

    moved = replace(first.server, ports=weed.choose_ports({"weed_admin": 0}))
    probe = weed.client(moved.endpoint, first.access_key, first.secret_key)
    log = tmp_path / "moved.log"
    process = ServerProcess(moved.prepare, lambda: weed.is_writable(probe, "ready"), log).start()
    try:
        s3 = weed.client(moved.endpoint, first.access_key, first.secret_key, retries=2)
        s3.put_object(bucket, "after", io.BytesIO(b"new"), 3)
        assert (read(s3, bucket, "before"), read(s3, bucket, "after")) == (b"old", b"new")
    finally:
        process.stop()
        weed.remove_sockets(moved.ports)


def test_a_server_whose_port_is_taken_says_so(tmp_path: Path, s3_server: S3TestServer) -> None:
    server = replace(s3_server.server, folder=tmp_path / "second")
    (tmp_path / "second").mkdir()
    process = ServerProcess(server.prepare, lambda: False, tmp_path / "weed.log")
    with pytest.raises(NotReady, match="not available"):
        process.start()


def test_a_server_for_tests_that_loses_a_port_while_it_starts_takes_others(
    tmp_path: Path, nats_server: NatsTestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = ports.choose(dict.fromkeys(nats_server.server.ports, 0))
    choices = iter([nats_server.server.ports, free])
    monkeypatch.setattr(ports, "choose", lambda preferred: next(choices))
    second = start_nats(tmp_path / "second")
    try:
        assert second.server.ports == free
    finally:
        second.stop()


def test_internal_ports_of_storage_refuse_strangers(s3_server: S3TestServer) -> None:
    """Without `-disableHttp` and keys these ports read and delete for anybody."""
    import httpx

    ports = s3_server.server.ports
    filer = httpx.get(f"http://127.0.0.1:{ports['weed_filer']}/buckets/")
    volume = httpx.delete(f"http://127.0.0.1:{ports['weed_volume']}/1,01637037d6")
    assert filer.status_code == 404
    assert volume.status_code in (401, 404)


def test_nothing_is_left_outside_the_data_folder(tmp_path: Path) -> None:
    before = set(Path("/tmp").glob("seaweedfs-*.sock"))  # of others: killed long ago, or running
    server = start_s3(tmp_path / "s3")
    grpc_ports = {server.server.ports[name] for name in server.server.ports if "grpc" in name}
    server.stop()
    left = [path.name for path in set(Path("/tmp").glob("seaweedfs-*.sock")) - before]
    assert not [name for name in left if any(f"-{port}.sock" in name for port in grpc_ports)]


def test_the_sockets_of_a_living_server_are_left_alone(s3_server: S3TestServer) -> None:
    weed.remove_sockets(s3_server.server.ports)
    assert all(path.exists() for path in weed.sockets(s3_server.server.ports, weed.WRITING))


CHILDREN_OF_A_PROCESS_THAT_USES_GRPC = """
import subprocess, threading
from concurrent.futures import ThreadPoolExecutor
from loopline.embedded.command import die_with_parent

prepare = die_with_parent()
import grpc

server = grpc.server(ThreadPoolExecutor(2))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
over = threading.Event()

def talk():
    ask = channel.unary_unary("/none/none")
    while not over.is_set():
        try:
            ask(b"")
        except grpc.RpcError:
            pass  # nothing is served: that it answers so is traffic enough

threads = [threading.Thread(target=talk) for _ in range(2)]
for thread in threads:
    thread.start()
codes = [
    subprocess.run(["/bin/true"], preexec_fn=prepare, stderr=subprocess.DEVNULL).returncode
    for _ in range(200)
]
over.set()
for thread in threads:
    thread.join()
print(sum(code != 0 for code in codes))
"""


def test_children_of_a_process_that_uses_grpc_are_started_every_time() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "GRPC_ENABLE_FORK_SUPPORT"}
    ended = subprocess.run(
        [sys.executable, "-c", CHILDREN_OF_A_PROCESS_THAT_USES_GRPC],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert ended.stdout.split() == ["0"], ended.stderr
