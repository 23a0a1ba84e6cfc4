"""What a platform can be asked to be, and what its services are told."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from loopline.access import KeySet, SigningKey
from loopline.embedded.access_keys import AccessKeys
from loopline.embedded.endpoints import Endpoints
from loopline.embedded.errors import PlatformError
from loopline.embedded.identities import Secret
from loopline.embedded.layout import DataFolder
from loopline.embedded.options import PlatformOptions
from loopline.embedded.services import ServiceProcess, ServiceSurroundings
from loopline.errors import Rejected

SECRET = Secret("pw", "key", "secret")
ENDPOINTS = Endpoints(
    workspace="team-a",
    nats_url="nats://127.0.0.1:4222",
    nats_monitor_url="http://127.0.0.1:8222",
    nats_user="user",
    nats_password="pw",
    external_nats_user="external",
    external_nats_password="pw",
    s3_endpoint="127.0.0.1:8333",
    s3_bucket="loopline",
    s3_access_key="key",
    s3_secret_key="secret",
)


def surroundings(root: Path, **given: Any) -> ServiceSurroundings:
    ports = {"ingest_http": 1, "ingest-2_http": 2, "inference_http": 3, "inference_grpc": 4}
    ports |= {"console_http": 5, "inference_rest": 6}
    (root / "connections.json").write_text('{"customer": {}, "uploads": {}}')
    return ServiceSurroundings(
        folder=DataFolder(root),
        host="127.0.0.1",
        endpoints=ENDPOINTS,
        ports=ports,
        otlp_endpoint="",
        log_level="info",
        ack_wait_s=0.0,
        extra_env=given,
        access_keys=AccessKeys.load_or_generate(root / "access"),
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"services": ("inges",)}, "no service 'inges'", id="unknown-service"),
        pytest.param({"scale": {"nobody": 2}}, "no service 'nobody'", id="unknown-scaled"),
        pytest.param({"scale": {"ingest": 0}}, "1 to 64", id="too-few"),
        pytest.param({"scale": {"ingest": 65}}, "1 to 64", id="too-many"),
        pytest.param({"customer_buckets": ("loopline",)}, "own bucket", id="our-bucket"),
        pytest.param({"host": "0.0.0.0"}, "API token", id="open-without-token"),
        pytest.param({"scale": {"console": 2}}, "LOOPLINE_DATABASE_URL", id="sessions-apart"),
    ],
)
def test_an_impossible_platform_is_refused_by_name(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlatformError, match=message):
        PlatformOptions(tmp_path, **given)


def test_several_consoles_share_a_database(tmp_path: Path) -> None:
    told = {"console": {"LOOPLINE_DATABASE_URL": "postgresql://u:p@db/loopline"}}
    assert PlatformOptions(tmp_path, scale={"console": 2}, extra_env=told).scale == {"console": 2}


def test_a_workspace_that_is_no_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="workspace"):
        PlatformOptions(tmp_path, workspace="Team A")


def test_scale_names_the_processes_of_a_service(tmp_path: Path) -> None:
    options = PlatformOptions(tmp_path, services=("ingest", "router"), scale={"ingest": 3})
    names = [process.name for process in options.processes()]
    assert names == ["ingest", "ingest-2", "ingest-3", "router"]


def test_only_the_first_process_of_a_service_prefers_the_known_port() -> None:
    assert ServiceProcess("inference", 0).preferred_ports() == {
        "inference_http": 8085,
        "inference_grpc": 8001,
        "inference_rest": 8000,
    }
    assert ServiceProcess("inference", 1).preferred_ports() == {
        "inference-2_http": 0,
        "inference-2_grpc": 0,
        "inference-2_rest": 0,
    }


def test_a_service_is_told_its_own_user_folder_and_port(tmp_path: Path) -> None:
    command = surroundings(tmp_path).command(ServiceProcess("ingest", 1), SECRET)
    assert command.argv == (sys.executable, "-m", "services.ingest")
    assert command.env["LOOPLINE_NATS_USER"] == "ingest"
    assert command.env["LOOPLINE_WORKSPACE"] == "team-a"
    assert command.env["LOOPLINE_HTTP_PORT"] == "2"
    assert command.env["LOOPLINE_DATA_DIR"] == str(tmp_path / "services" / "ingest-2")
    assert command.cwd.is_dir()


def test_customers_keys_reach_only_the_services_that_need_them(tmp_path: Path) -> None:
    told = surroundings(tmp_path)
    assert "LOOPLINE_CONNECTIONS_FILE" in told.command(ServiceProcess("ingest", 0), SECRET).env
    inference = told.command(ServiceProcess("inference", 0), SECRET).env
    assert "LOOPLINE_CONNECTIONS_FILE" not in inference
    assert inference["LOOPLINE_GRPC_PORT"] == "4"
    assert inference["LOOPLINE_REST_PORT"] == "6"


def test_the_console_alone_can_sign_tokens_and_the_others_can_check_them(tmp_path: Path) -> None:
    told = surroundings(tmp_path)
    console = told.command(ServiceProcess("console", 0), SECRET).env
    inference = told.command(ServiceProcess("inference", 0), SECRET).env
    assert "LOOPLINE_SIGNING_KEY" not in inference
    key = SigningKey.of_setting(console["LOOPLINE_SIGNING_KEY"])
    assert list(KeySet.of_setting(inference["LOOPLINE_ACCESS_KEYS"]).keys) == [key.id]
    for path in (tmp_path / "access").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_console_knows_customers_storage_by_name_alone(tmp_path: Path) -> None:
    console = surroundings(tmp_path).command(ServiceProcess("console", 0), SECRET).env
    assert console["LOOPLINE_CONNECTION_NAMES"] == '["customer"]'
    assert console["LOOPLINE_CONNECTIONS_FILE"] == str(tmp_path / "uploads.json")


def test_keys_are_made_once(tmp_path: Path) -> None:
    first = AccessKeys.load_or_generate(tmp_path / "access")
    assert AccessKeys.load_or_generate(tmp_path / "access").key.id == first.key.id


def test_variables_are_added_for_a_service_and_for_one_of_its_processes(tmp_path: Path) -> None:
    told = surroundings(tmp_path, ingest={"A": "all", "B": "all"}, **{"ingest-2": {"B": "second"}})
    first = told.command(ServiceProcess("ingest", 0), SECRET).env
    second = told.command(ServiceProcess("ingest", 1), SECRET).env
    assert (first["A"], first["B"]) == ("all", "all")
    assert (second["A"], second["B"]) == ("all", "second")


def test_endpoints_are_what_was_saved(tmp_path: Path) -> None:
    ENDPOINTS.save(tmp_path)
    assert Endpoints.load(tmp_path) == ENDPOINTS


def test_a_folder_without_a_platform_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="loopline up --data"):
        Endpoints.load(tmp_path)
