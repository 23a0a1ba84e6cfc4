"""`loopline up | down | status` without a platform."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from loopline.cli import platform
from loopline.embedded import status
from loopline.embedded.layout import DataFolder, FolderLock
from loopline.embedded.supervisor import Condition, State


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    platform.register(app)
    return app


def test_status_of_nothing_says_so_and_fails(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["status", "--data", str(tmp_path), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["running"] is False


def test_status_shows_what_another_process_runs(app: typer.Typer, tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    lock = FolderLock(folder)
    lock.acquire()
    here = Condition(State.READY, os.getpid(), restarts=2, started_at=1.0, endpoint="x:1")
    status.save(folder, {"ingest": here, "router": Condition(State.RESTARTING)})
    result = CliRunner().invoke(app, ["status", "--data", str(tmp_path), "--json"])
    table = CliRunner().invoke(app, ["status", "--data", str(tmp_path)])
    lock.release()
    ingest, router = json.loads(result.stdout)["processes"]
    assert result.exit_code == table.exit_code == 0
    assert (ingest["name"], ingest["state"], ingest["restarts"]) == ("ingest", "ready", 2)
    assert 0 < ingest["pss_bytes"] <= ingest["rss_bytes"] * 1.05
    assert (router["state"], router["pid"], router["rss_bytes"]) == ("restarting", 0, 0)
    assert "restarting" in table.stdout


def test_down_without_a_platform_is_no_error(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["down", "--data", str(tmp_path), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["stopped"] is False


def test_a_scale_that_is_no_number_is_refused(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["up", "--data", str(tmp_path), "--scale", "ingest=many"])
    assert result.exit_code == 2
    assert "SERVICE=N" in result.output


def test_secrets_are_left_out_of_what_is_printed() -> None:
    shown = platform._without_secrets(
        {
            "nats_url": "a",
            "nats_password": "b",
            "s3_access_key": "c",
            "s3_secret_key": "d",
            "api_token": "e",
        }
    )
    assert shown == {"nats_url": "a"}


def test_a_process_that_is_gone_has_no_memory() -> None:
    (gone,) = status.of({"ingest": Condition(State.READY, pid=2**22 + 1, started_at=1.0)})
    assert asdict(gone)["rss_bytes"] == 0
