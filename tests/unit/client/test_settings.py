"""Where the SDK finds the platform."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loopline.client.settings import ClientSettings
from loopline.errors import NotFound


def test_the_data_folder_says_where_the_platform_is(tmp_path: Path) -> None:
    endpoints = {"nats_url": "nats://127.0.0.1:1", "nats_user": "user", "unknown": 1}
    (tmp_path / "endpoints.json").write_text(json.dumps(endpoints))
    settings = ClientSettings.load(tmp_path)
    assert settings.nats_url == "nats://127.0.0.1:1"
    assert settings.connections_file == tmp_path / "connections.json"


def test_no_platform_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"start one with `loopline up --data"):
        ClientSettings.load(tmp_path)


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOPLINE_NATS_URL", "nats://bus:4222")
    assert ClientSettings.load().nats_url == "nats://bus:4222"


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text(json.dumps({"nats_password": "hunter2"}))
    assert "hunter2" not in repr(ClientSettings.load(tmp_path))
