"""Who gets in: asked of every operation in the OpenAPI document, so that none can be forgotten."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from loopline.access import Role, Scope
from loopline.access.roles import role_for
from tests.unit.console.desk import Desk

DOCUMENT = json.loads(
    (Path(__file__).parents[3] / "services" / "console" / "openapi.json").read_text()
)
OPEN = {
    ("GET", "/api/sign-in"),
    ("POST", "/api/session"),
    ("POST", "/api/session/one-time"),
    ("GET", "/api/session/oidc"),
    ("GET", "/api/session/oidc/callback"),
}
"""What anybody may ask. A new line here is a decision."""
SAMPLES = {
    "digest": "0" * 64, "asset": "0" * 64, "id": "1" * 32, "version": "1", "sequence": "1",
    "path": "a", "file": "model.onnx", "name": "nobody",
}  # fmt: skip

Operation = tuple[str, str, dict[str, Any]]
OPERATIONS: list[Operation] = [
    (method.upper(), path, operation)
    for path, item in sorted(DOCUMENT["paths"].items())
    for method, operation in item.items()
]


def url_of(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: SAMPLES[found[1]], path)


def name_of(operation: Operation) -> str:
    return f"{operation[0]} {operation[1]}"


def needing(*scopes: str) -> list[Operation]:
    return [one for one in OPERATIONS if one[2]["x-needs"] in scopes]


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = await Desk(tmp_path).start()
    yield desk
    await desk.stop()


def test_every_operation_says_what_it_needs_and_how_it_is_shown() -> None:
    assert len(OPERATIONS) > 60
    for method, path, operation in OPERATIONS:
        needs = operation["x-needs"]
        assert needs in {*Scope, "session", "nothing"}, path
        assert bool(operation["security"]) == (needs != "nothing"), path
        assert operation["summary"], path
        assert "401" in operation["responses"], (method, path)


def test_what_anybody_may_ask_is_listed_here() -> None:
    assert {(method, path) for method, path, _ in needing("nothing")} == OPEN


def test_what_changes_something_needs_more_than_reading() -> None:
    for method, path, operation in OPERATIONS:
        if method not in ("GET", "HEAD"):
            assert operation["x-needs"] != Scope.READ, path


async def test_every_operation_is_refused_without_session_and_token(shared: Desk) -> None:
    browser = shared.browser()
    for method, path, operation in OPERATIONS:
        if operation["x-needs"] == "nothing":
            continue
        answer = await browser.request(method, url_of(path))
        assert answer.status_code == 401, f"{method} {path}: {answer.text}"
        assert answer.json()["error"]


async def test_every_operation_is_refused_to_a_bad_token(shared: Desk) -> None:
    program = shared.program("not-a-token")
    for method, path, operation in OPERATIONS:
        if operation["x-needs"] != "nothing":
            answer = await program.request(method, url_of(path))
            assert answer.status_code == 401, f"{method} {path}"


@pytest.mark.parametrize("scope", [s for s in Scope if s is not Scope.READ])
async def test_every_operation_is_refused_to_too_small_a_role(shared: Desk, scope: Scope) -> None:
    enough = role_for(scope)
    smaller = [role for role in Role if enough.covers(role) and role is not enough]
    for role in smaller:
        browser = await shared.signed_in(role)
        token = shared.issuer.issue("program", role=role, lifetime_s=60, kind="token")
        program = shared.program(token)
        for method, path, _ in needing(scope):
            for client in (browser, program):
                answer = await client.request(method, url_of(path))
                assert answer.status_code == 403, f"{role}: {method} {path}: {answer.text}"
                assert f"needs '{scope}'" in answer.json()["error"]


@pytest.mark.parametrize("scope", list(Scope))
async def test_every_operation_is_open_to_the_role_that_suffices(
    shared: Desk, scope: Scope
) -> None:
    """What it answers may be that there is nothing, or that the body is no good; but it answers."""
    browser = await shared.signed_in(role_for(scope))
    for method, path, _ in needing(scope):
        if path == "/api/events":
            continue  # never ends; has tests of its own
        answer = await browser.request(method, url_of(path))
        assert answer.status_code not in (401, 403, 500), f"{method} {path}: {answer.text}"


async def test_every_change_by_a_browser_needs_the_sessions_csrf_token(shared: Desk) -> None:
    browser = await shared.signed_in()
    other = await shared.signed_in()
    for given in ("", other.headers["x-csrf-token"]):
        browser.headers["x-csrf-token"] = given
        for method, path, operation in OPERATIONS:
            if method == "GET" or operation["x-needs"] == "nothing":
                continue
            answer = await browser.request(method, url_of(path))
            assert answer.status_code == 403, f"{method} {path}"
            assert "x-csrf-token" in answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"origin": "http://evil.example"}, id="origin"),
        pytest.param({"sec-fetch-site": "cross-site"}, id="cross-site"),
        pytest.param({"sec-fetch-site": "same-site"}, id="another port of this host"),
    ],
)
async def test_change_from_another_site_is_refused_whatever_it_brings(
    desk: Desk, headers: dict[str, str]
) -> None:
    browser = await desk.signed_in()
    answer = await browser.delete("/api/session", headers=headers)
    assert answer.status_code == 403
    body = {"name": "admin", "password": "x"}
    assert (await browser.post("/api/session", json=body, headers=headers)).status_code == 403


async def test_program_with_the_machines_key_may_do_everything(desk: Desk) -> None:
    program = desk.program("machine")
    assert (await program.get("/api/users")).status_code == 200
    assert (await program.get("/api/session")).json()["role"] == "admin"
