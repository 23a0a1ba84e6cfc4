"""Who may do what, endpoint by endpoint, as the OpenAPI document lists them; and in whose name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from loopline.access import Role, SigningKey, TokenIssuer
from loopline.contracts import catalog
from loopline.testing.flywheel import asset
from tests.unit.annotate.desk import JOB, Desk, running_desk

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "services" / "annotate" / "openapi.json").read_text()
)
VALUES = {"job": JOB, "asset": asset(0), "digest": asset(0)}
NEEDS = {  # the smallest role, where it is more than a viewer's
    ("POST", "/v1/jobs"): Role.OPERATOR,
    ("PATCH", "/v1/jobs/{job}"): Role.OPERATOR,
    ("POST", "/v1/jobs/{job}/start"): Role.OPERATOR,
    ("POST", "/v1/jobs/{job}/stop"): Role.OPERATOR,
    ("POST", "/v1/jobs/{job}/reopen"): Role.OPERATOR,
    ("POST", "/v1/jobs/{job}/predict"): Role.OPERATOR,
    ("GET", "/v1/jobs/{job}/notifications"): Role.OPERATOR,
    ("POST", "/v1/jobs/{job}/notifications/redeliver"): Role.OPERATOR,
    ("POST", "/v1/jobs/{job}/label-studio"): Role.OPERATOR,
    ("POST", "/v1/jobs/{job}/label-studio/pull"): Role.OPERATOR,
    ("GET", "/v1/jobs/{job}/labelers"): Role.REVIEWER,
    ("POST", "/v1/jobs/{job}/review/next"): Role.REVIEWER,
    ("POST", "/v1/jobs/{job}/items/{asset}/review"): Role.REVIEWER,
    ("POST", "/v1/jobs/{job}/next"): Role.LABELER,
    ("POST", "/v1/jobs/{job}/labels"): Role.LABELER,
    ("POST", "/v1/jobs/{job}/items/{asset}/labels"): Role.LABELER,
    ("POST", "/v1/jobs/{job}/items/{asset}/lease"): Role.LABELER,
    ("DELETE", "/v1/jobs/{job}/items/{asset}/lease"): Role.LABELER,
    ("PUT", "/v1/jobs/{job}/items/{asset}/draft"): Role.LABELER,
    ("DELETE", "/v1/jobs/{job}/items/{asset}/draft"): Role.LABELER,
    ("POST", "/v1/jobs/{job}/items/{asset}/predict"): Role.LABELER,
    ("POST", "/v1/assist/mask"): Role.LABELER,
}
WEBHOOK = "/v1/jobs/{job}/label-studio/events"  # shows a secret of its own, not a token
LINKED_IMAGE = "/v1/label-studio/images/{digest}"  # shows a signature
OPERATIONS = [
    (method.upper(), path)
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    if path not in (WEBHOOK, LINKED_IMAGE)
]
KEY = SigningKey.generate()


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Desk]:
    """annotate that takes tokens, with a job that is reviewed."""
    keys = json.dumps({"keys": [KEY.public_jwk()]})
    async with running_desk(tmp_path, access_keys=keys) as desk:
        await desk.open(await desk.command(3, review=True))
        yield desk


def bearer(desk: Desk, name: str, role: Role) -> dict[str, str]:
    """Return the header of a person."""
    issuer = TokenIssuer(KEY, "default", desk.clock)
    return {"authorization": f"Bearer {issuer.issue(name, role=role, lifetime_s=60)}"}


def test_every_operation_that_needs_a_role_is_there() -> None:
    assert set(NEEDS) <= set(OPERATIONS)


async def test_every_operation_is_refused_without_a_token_and_with_too_small_a_role(
    guarded: Desk,
) -> None:
    roles = list(Role)
    for method, path in OPERATIONS:
        url, needed = path.format(**VALUES), NEEDS.get((method, path), Role.VIEWER)
        for headers in ({"authorization": ""}, {"authorization": "Bearer x.y.z"}):
            answer = await guarded.client.request(method, url, json={}, headers=headers)
            assert answer.status_code == 401, (method, path)
        smaller = roles[: needed.rank]
        for role in smaller:
            headers = bearer(guarded, "eve", role)
            answer = await guarded.client.request(method, url, json={}, headers=headers)
            assert answer.status_code == 403, (method, path, role)
            assert "may not do this" in answer.json()["error"]
        headers = bearer(guarded, "eve", needed)
        answer = await guarded.client.request(method, url, json={}, headers=headers)
        assert answer.status_code not in (401, 403), (method, path)


async def test_people_act_in_their_own_name(guarded: Desk) -> None:
    path = f"/v1/jobs/{JOB}/items/{asset(0)}"
    ada = bearer(guarded, "ada", Role.LABELER)
    body: dict[str, Any] = {"shapes": [{"class_name": "coat"}]}
    said = await guarded.client.post(f"{path}/labels", json=body, headers=ada)
    assert said.status_code == 200
    assert guarded.bus.sent(catalog.LABELS_SUBMITTED)[0].labeler == "ada"
    other = await guarded.client.post(
        f"{path}/labels", json={**body, "labeler": "bob"}, headers=ada
    )
    assert (other.status_code, other.json()["error"]) == (403, "ada cannot act as bob")
    rita = bearer(guarded, "rita", Role.REVIEWER)
    review = {"verdict": "accepted", "labels_version": 1}
    reviewed = await guarded.client.post(f"{path}/review", json=review, headers=rita)
    assert reviewed.status_code == 200
    assert guarded.bus.sent(catalog.ITEM_REVIEWED)[0].reviewer == "rita"


async def test_the_machines_own_key_may_name_anybody(guarded: Desk) -> None:
    assert (await guarded.label(1, labeler="bob")).status_code == 200
    assert guarded.bus.sent(catalog.LABELS_SUBMITTED)[0].labeler == "bob"
