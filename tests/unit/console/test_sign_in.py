"""Signing in and out; users and their programs' tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopline.access import Role
from loopline.contracts import catalog
from services.console.adapters.front_door import csrf_token, name_of
from services.console.adapters.passwords import Passwords
from tests.unit.console.desk import PASSWORD, QUICK, Desk


async def test_password_signs_in_with_a_cookie_that_no_script_reads(desk: Desk) -> None:
    browser = desk.browser()
    body = {"name": "labeler", "password": PASSWORD}
    answer = await browser.post("/api/session", json=body)
    session = answer.json()
    assert (session["name"], session["role"]) == ("labeler", "labeler")
    assert session["scopes"] == ["label", "read"]
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie  # this is http on loopback
    assert (await browser.get("/api/session")).json() == session


async def test_cookie_is_secure_where_people_come_by_https(tmp_path: Path) -> None:
    given = {"public_url": "https://loopline.example.org", "allowed_hosts": ("127.0.0.1",)}
    desk = await Desk(tmp_path, given).start()
    body = {"name": "viewer", "password": PASSWORD}
    answer = await desk.browser().post("/api/session", json=body)
    assert "Secure" in answer.headers["set-cookie"]
    own = await desk.browser(host="loopline.example.org").get("/api/sign-in")
    assert own.status_code == 200
    await desk.stop()


async def test_wrong_name_and_wrong_password_look_the_same(desk: Desk) -> None:
    browser = desk.browser()
    answers = [
        await browser.post("/api/session", json={"name": name, "password": "wrong"})
        for name in ("viewer", "nobody")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()
    assert "set-cookie" not in answers[0].headers


async def test_sign_in_slows_down_who_guesses(desk: Desk) -> None:
    browser = desk.browser()
    bad = {"name": "viewer", "password": "wrong"}
    statuses = [(await browser.post("/api/session", json=bad)).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    good = {"name": "viewer", "password": PASSWORD}
    answer = await browser.post("/api/session", json=good)
    assert answer.status_code == 429, "not even the right one, or guessing would go on"
    wait_s = int(answer.headers["retry-after"])
    assert 0 < wait_s <= 61
    desk.clock.advance(wait_s)
    assert (await browser.post("/api/session", json=good)).status_code == 200


async def test_sign_in_slows_down_who_guesses_names(desk: Desk) -> None:
    browser = desk.browser()
    for number in range(30):
        body = {"name": f"name{number}", "password": "wrong"}
        assert (await browser.post("/api/session", json=body)).status_code == 401
    answer = await browser.post("/api/session", json={"name": "viewer", "password": PASSWORD})
    assert answer.status_code == 429


async def test_one_time_link_signs_in_once(desk: Desk) -> None:
    token = desk.link_token()
    browser = desk.browser()
    answer = await browser.post("/api/session/one-time", json={"token": token})
    assert answer.json()["name"] == "admin"
    again = await desk.browser().post("/api/session/one-time", json={"token": token})
    assert again.status_code == 401
    assert "used before" in again.json()["error"]


async def test_one_time_link_makes_the_first_person(desk: Desk) -> None:
    token = desk.link_token("root", Role.ADMIN)
    answer = await desk.browser().post("/api/session/one-time", json={"token": token})
    assert (answer.json()["name"], answer.json()["has_password"]) == ("root", False)
    assert desk.accounts.user("root").role is Role.ADMIN


async def test_one_time_link_gives_a_person_no_role_beyond_the_own(desk: Desk) -> None:
    token = desk.link_token("viewer", Role.ADMIN)
    answer = await desk.browser().post("/api/session/one-time", json={"token": token})
    assert answer.json()["role"] == "viewer"


@pytest.mark.parametrize("minutes", [61])
async def test_one_time_link_ends(desk: Desk, minutes: int) -> None:
    token = desk.link_token()
    desk.clock.advance(minutes * 60)
    answer = await desk.browser().post("/api/session/one-time", json={"token": token})
    assert answer.status_code == 401


async def test_access_token_is_no_link_and_link_no_access_token(desk: Desk) -> None:
    access = desk.issuer.issue("admin", role=Role.ADMIN, lifetime_s=60)
    answer = await desk.browser().post("/api/session/one-time", json={"token": access})
    assert answer.status_code == 401
    assert (await desk.program(desk.link_token()).get("/api/users")).status_code == 401


async def test_signing_out_ends_the_session(desk: Desk) -> None:
    browser = await desk.signed_in()
    cookie = dict(browser.cookies)
    assert (await browser.delete("/api/session")).status_code == 204
    thief = desk.browser()
    thief.cookies.update(cookie)
    assert (await thief.get("/api/session")).status_code == 401


async def test_session_ends_when_it_is_not_used(desk: Desk) -> None:
    browser = await desk.signed_in()
    desk.clock.advance(80_000)
    assert (await browser.get("/api/session")).status_code == 200
    desk.clock.advance(80_000)
    assert (await browser.get("/api/session")).status_code == 200
    desk.clock.advance(90_000)
    assert (await browser.get("/api/session")).status_code == 401


async def test_session_ends_after_a_week_however_much_it_is_used(desk: Desk) -> None:
    browser = await desk.signed_in()
    for _ in range(8):
        desk.clock.advance(80_000)
        last = await browser.get("/api/session")
    assert last.status_code == 401


async def test_cookie_is_nowhere_in_the_database(desk: Desk, tmp_path: Path) -> None:
    browser = await desk.signed_in()
    value = browser.cookies["loopline_session"]
    for path in list(tmp_path.glob("console.db*")):  # noqa: ASYNC240 - small, and a test
        assert value.encode() not in path.read_bytes()
        assert csrf_token(value).encode() not in path.read_bytes()
        assert PASSWORD.encode() not in path.read_bytes()


async def test_own_password_is_set_with_the_one_before(desk: Desk) -> None:
    browser, elsewhere = await desk.signed_in(Role.VIEWER), await desk.signed_in(Role.VIEWER)
    body = {"current": "wrong", "password": "a new long password"}
    assert (await browser.post("/api/session/password", json=body)).status_code == 403
    body["current"] = PASSWORD
    answer = await browser.post("/api/session/password", json=body)
    assert answer.status_code == 200
    assert (await browser.get("/api/session")).status_code == 200
    assert (await elsewhere.get("/api/session")).status_code == 401, "other sessions end"
    assert (await browser.post("/api/session/password", json=body)).status_code == 403


async def test_own_password_is_set_after_a_link_without_the_one_before(desk: Desk) -> None:
    browser = desk.browser()
    token = desk.link_token("viewer")
    answer = await browser.post("/api/session/one-time", json={"token": token})
    browser.headers["x-csrf-token"] = answer.json()["csrf_token"]
    short = await browser.post("/api/session/password", json={"password": "short"})
    assert short.status_code == 422
    long = await browser.post("/api/session/password", json={"password": "long enough now"})
    assert long.json()["has_password"] is True


async def test_program_sets_no_password(desk: Desk) -> None:
    token = desk.issuer.issue("viewer", role=Role.VIEWER, lifetime_s=60)
    body = {"current": PASSWORD, "password": "long enough now"}
    answer = await desk.program(token).post("/api/session/password", json=body)
    assert answer.status_code == 403


async def test_admin_adds_changes_and_removes_people(desk: Desk) -> None:
    admin = await desk.signed_in()
    body = {"name": "ann", "role": "labeler", "email": "ann@example.org"}
    assert (await admin.post("/api/users", json=body)).status_code == 201
    assert (await admin.post("/api/users", json=body)).status_code == 409
    link = (await admin.post("/api/users/ann/link")).json()["url"]
    ann = desk.browser()
    token = link.partition("#token=")[2]
    assert link.startswith(desk.url)
    assert (await ann.post("/api/session/one-time", json={"token": token})).status_code == 200
    changed = await admin.patch("/api/users/ann", json={"role": "reviewer"})
    assert changed.json()["role"] == "reviewer"
    desk.clock.advance(2)
    assert (await ann.get("/api/session")).status_code == 401, "a new role needs a new session"
    assert (await admin.delete("/api/users/ann")).status_code == 204
    names = [user["name"] for user in (await admin.get("/api/users")).json()["users"]]
    assert "ann" not in names


async def test_last_admin_stays(desk: Desk) -> None:
    admin = await desk.signed_in()
    for change in ({"role": "viewer"}, {"is_disabled": True}):
        answer = await admin.patch("/api/users/admin", json=change)
        assert answer.status_code == 422
        assert "last admin" in answer.json()["error"]
    assert (await admin.delete("/api/users/admin")).status_code == 422


async def test_disabled_person_gets_in_by_no_way(desk: Desk) -> None:
    admin = await desk.signed_in()
    token = desk.link_token("viewer")
    await admin.patch("/api/users/viewer", json={"is_disabled": True})
    body = {"name": "viewer", "password": PASSWORD}
    assert (await desk.browser().post("/api/session", json=body)).status_code == 401
    link = await desk.browser().post("/api/session/one-time", json={"token": token})
    assert link.status_code == 401
    assert (await admin.post("/api/users/viewer/link")).status_code == 422


async def test_token_opens_what_its_scopes_say_until_it_is_revoked(desk: Desk) -> None:
    operator = await desk.signed_in(Role.OPERATOR)
    body = {"label": "nightly", "scopes": ["read", "predict:catalogue"]}
    made = (await operator.post("/api/tokens", json=body)).json()
    program = desk.program(made["secret"])
    assert (await program.get("/api/datasets")).status_code == 200
    assert (await program.post("/api/imports", json={})).status_code == 403
    [listed] = (await operator.get("/api/tokens")).json()["tokens"]
    assert "secret" not in listed
    assert (await operator.delete(f"/api/tokens/{made['id']}")).status_code == 204
    assert (await program.get("/api/datasets")).status_code == 401
    [revoked] = desk.bus.sent(catalog.ACCESS_REVOKED)
    assert (revoked.token, revoked.owner) == (made["id"], "operator")
    assert revoked.commit.run.actor.name == "operator"


@pytest.mark.parametrize("scopes", [["admin"], ["read", "operate"], ["predict:*"]])
async def test_token_has_no_more_than_its_owner(desk: Desk, scopes: list[str]) -> None:
    labeler = await desk.signed_in(Role.LABELER)
    answer = await labeler.post("/api/tokens", json={"label": "x", "scopes": scopes})
    assert answer.status_code == 403


async def test_token_makes_no_tokens_unless_it_is_an_admins(desk: Desk) -> None:
    token = desk.issuer.issue("operator", role=Role.OPERATOR, lifetime_s=60, kind="token")
    answer = await desk.program(token).post("/api/tokens", json={"label": "x", "scopes": ["read"]})
    assert answer.status_code == 403


async def test_nobody_revokes_anothers_token_but_an_admin(desk: Desk) -> None:
    operator, viewer = await desk.signed_in(Role.OPERATOR), await desk.signed_in(Role.VIEWER)
    made = (await operator.post("/api/tokens", json={"label": "x", "scopes": ["read"]})).json()
    assert (await viewer.delete(f"/api/tokens/{made['id']}")).status_code == 403
    assert (await viewer.get("/api/tokens?everybody=true")).status_code == 403
    admin = await desk.signed_in()
    assert len((await admin.get("/api/tokens?everybody=true")).json()["tokens"]) == 1
    assert (await admin.delete(f"/api/tokens/{made['id']}")).status_code == 204


async def test_tokens_beyond_a_smaller_role_are_revoked_with_it(desk: Desk) -> None:
    operator, admin = await desk.signed_in(Role.OPERATOR), await desk.signed_in()
    made = {
        scope: (await operator.post("/api/tokens", json={"label": scope, "scopes": [scope]})).json()
        for scope in ("read", "operate")
    }
    await admin.patch("/api/users/operator", json={"role": "viewer"})
    tokens = (await admin.get("/api/tokens?everybody=true")).json()["tokens"]
    revoked = {token["label"] for token in tokens if token["revoked_at"]}
    assert revoked == {"operate"}
    assert (await desk.program(made["read"]["secret"]).get("/api/runs")).status_code == 200
    assert (await desk.program(made["operate"]["secret"]).get("/api/runs")).status_code == 401


async def test_admin_makes_a_token_for_somebody_within_that_role(desk: Desk) -> None:
    admin = await desk.signed_in()
    body = {"label": "robot", "scopes": ["label"], "owner": "viewer"}
    assert (await admin.post("/api/tokens", json=body)).status_code == 403
    body["owner"] = "labeler"
    made = await admin.post("/api/tokens", json=body)
    assert made.json()["owner"] == "labeler"


async def test_passwords_are_argon2id_and_checked_as_slowly_where_there_is_none() -> None:
    passwords = Passwords(QUICK)
    hashed = await passwords.hash("secret secret")
    assert hashed.startswith("$argon2id$")
    assert await passwords.verify(hashed, "secret secret")
    assert not await passwords.verify(hashed, "other")
    assert not await passwords.verify("", "nobody's"), "there is no password to guess"
    assert not await passwords.verify("not a hash", "x")


@pytest.mark.parametrize(
    ("told", "name"),
    [("Ann.Lee@example.org", "ann-lee"), ("Ünal", "nal"), ("..", "someone"), ("a" * 90, "a" * 63)],
)
def test_names_of_an_identity_provider_become_names_of_ours(told: str, name: str) -> None:
    assert name_of(told) == name
