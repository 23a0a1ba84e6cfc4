"""What services ask of whoever calls them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr

from loopline.access import Role, SigningKey, TokenIssuer, Unauthenticated
from loopline.access.guard import AccessGuard
from loopline.clock import SystemClock
from loopline.contracts import catalog
from loopline.runtime.http import add_errors
from loopline.store.commits import CommitLog
from loopline.testing.memory import MemoryLog

KEY = SigningKey.generate()
ISSUER = TokenIssuer(KEY, "default")


@pytest.fixture
def log() -> CommitLog:
    return CommitLog(MemoryLog(), "default", source="test")


@pytest.fixture
def guard(log: CommitLog, tmp_path: Path) -> AccessGuard:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [KEY.public_jwk()]}))
    return AccessGuard(log, str(path), SecretStr("machine"), SystemClock())


@pytest.fixture
def client(guard: AccessGuard) -> Iterator[TestClient]:
    app = FastAPI()
    app.add_api_route("/", lambda: "ok", dependencies=[Depends(guard.require("label"))])
    add_errors(app)
    with TestClient(app) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_service_answers_those_who_may(client: TestClient) -> None:
    ann = ISSUER.issue("ann", role=Role.LABELER, lifetime_s=60)
    assert client.get("/", headers=bearer(ann)).status_code == 200
    assert client.get("/", headers=bearer("machine")).status_code == 200


def test_service_asks_for_a_token(client: TestClient) -> None:
    for headers in ({}, bearer("x"), {"authorization": "Basic YTpi"}, bearer("")):
        answer = client.get("/", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


def test_service_refuses_too_small_a_role(client: TestClient) -> None:
    eve = ISSUER.issue("eve", role=Role.VIEWER, lifetime_s=60)
    answer = client.get("/", headers=bearer(eve))
    assert answer.status_code == 403
    assert "it needs 'label'" in answer.json()["error"]


async def test_revocation_is_a_commit_that_services_follow(
    guard: AccessGuard, log: CommitLog, tmp_path: Path
) -> None:
    token = ISSUER.issue("ann", role=Role.LABELER, lifetime_s=60, token_id="t-1")
    other = AccessGuard(log, (tmp_path / "jwks.json").read_text(), SecretStr(""), SystemClock())
    assert guard.caller(f"Bearer {token}").name == "ann"
    first = await other.revocations.revoke("t-1", owner="ann", by="root", reason="lost")
    again = await other.revocations.revoke("t-1", owner="ann", by="root")
    assert again.sequence == first.sequence
    head = await log.head(catalog.ACCESS_REVOKED, token="t-1")
    assert head is not None
    assert (head.message.owner, head.commit.run.actor.name) == ("ann", "root")
    await guard.revocations.refresh()
    for one in (guard, other):
        with pytest.raises(Unauthenticated, match="revoked"):
            one.caller(f"Bearer {token}")


async def test_guard_knows_from_its_start_what_was_revoked(
    guard: AccessGuard, log: CommitLog, tmp_path: Path
) -> None:
    await guard.revocations.revoke("t-2", owner="ann", by="root")
    later = AccessGuard(log, str(tmp_path / "jwks.json"), SecretStr(""), SystemClock())
    await later.start()
    assert "t-2" in later.revocations
    await later.stop()


def test_service_without_keys_or_token_is_open_as_loopback_is(log: CommitLog) -> None:
    guard = AccessGuard(log, "", SecretStr(""), SystemClock())
    assert guard.is_open
    assert guard.caller("").role is Role.ADMIN


def test_service_with_the_machine_key_alone_takes_no_other(log: CommitLog) -> None:
    guard = AccessGuard(log, "", SecretStr("machine"), SystemClock())
    assert guard.caller("bearer machine").kind == "local"
    with pytest.raises(Unauthenticated):
        guard.caller(f"Bearer {ISSUER.issue('ann', role=Role.ADMIN, lifetime_s=60)}")
