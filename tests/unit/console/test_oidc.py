"""Signing in through an identity provider: a real one, on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from loopline.access import Role
from services.console.domain.accounts import User
from tests.unit.console.desk import Desk
from tests.unit.console.provider import CLIENT_ID, CLIENT_SECRET, Provider

START = "/api/session/oidc"


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    started = Provider()
    await started.server.start()
    yield started
    await started.server.stop()


def given(provider: Provider, **more: Any) -> dict[str, Any]:
    return {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": SecretStr(CLIENT_SECRET),
        "oidc_name": "Example",
        **more,
    }


@pytest.fixture
async def shop(tmp_path: Path, provider: Provider) -> AsyncIterator[Desk]:
    """A console that lets everybody in whom the provider knows, to look."""
    desk = await Desk(tmp_path, given(provider, oidc_default_role=Role.VIEWER)).start()
    yield desk
    await desk.stop()


async def round_trip(browser: httpx.AsyncClient, path: str = START) -> httpx.Response:
    """Go to the provider and come back; return the console's last answer."""
    there = await browser.get(path)
    assert there.status_code == 302, there.text
    async with httpx.AsyncClient() as outside:
        back = await outside.get(there.headers["location"])
    return await browser.get(back.headers["location"])


async def test_person_whom_the_provider_knows_comes_in(shop: Desk) -> None:
    browser = shop.browser()
    ways = (await browser.get("/api/sign-in")).json()
    assert ways["oidc"] == {"name": "Example", "url": START}
    answer = await round_trip(browser, f"{START}?next=/datasets/shoes/1")
    assert (answer.status_code, answer.headers["location"]) == (302, "/datasets/shoes/1")
    session = (await browser.get("/api/session")).json()
    assert (session["name"], session["role"]) == ("ann", "viewer")
    again = shop.browser()
    await round_trip(again)
    assert (await again.get("/api/session")).json()["name"] == "ann", "the same person"


async def test_person_known_by_a_vouched_address_keeps_the_role(
    shop: Desk, provider: Provider
) -> None:
    shop.accounts.add_user(User("anna", Role.REVIEWER, shop.clock.now(), "Ann@Example.org"))
    browser = shop.browser()
    await round_trip(browser)
    session = (await browser.get("/api/session")).json()
    assert (session["name"], session["role"]) == ("anna", "reviewer")
    provider.claims["email"] = "changed@example.org"
    later = shop.browser()
    await round_trip(later)
    assert (await later.get("/api/session")).json()["name"] == "anna", "known by the subject"


async def test_address_that_nobody_vouches_for_takes_over_nobody(
    shop: Desk, provider: Provider
) -> None:
    shop.accounts.add_user(User("anna", Role.ADMIN, shop.clock.now(), "ann@example.org"))
    provider.claims["email_verified"] = False
    browser = shop.browser()
    await round_trip(browser)
    assert (await browser.get("/api/session")).json()["name"] == "ann"


async def test_name_that_is_taken_takes_over_nobody(shop: Desk, provider: Provider) -> None:
    provider.claims |= {"preferred_username": "admin", "email": "x@example.org"}
    browser = shop.browser()
    assert (await round_trip(browser)).status_code == 403
    assert (await browser.get("/api/session")).status_code == 401


async def test_stranger_stays_out_where_no_role_is_given(
    tmp_path: Path, provider: Provider
) -> None:
    desk = await Desk(tmp_path, given(provider)).start()
    answer = await round_trip(desk.browser())
    assert answer.status_code == 403
    assert "not known here" in answer.json()["error"]
    await desk.stop()


@pytest.mark.parametrize(
    "spoiled",
    [
        pytest.param({"aud": "another-client"}, id="for another client"),
        pytest.param({"nonce": "another"}, id="of another sign-in"),
        pytest.param({"iss": "http://evil.example"}, id="of another issuer"),
        pytest.param({"exp": 1}, id="expired"),
    ],
)
async def test_id_token_that_is_no_good_lets_nobody_in(
    shop: Desk, provider: Provider, spoiled: dict[str, Any]
) -> None:
    provider.spoiled = spoiled
    browser = shop.browser()
    assert (await round_trip(browser)).status_code == 401
    assert (await browser.get("/api/session")).status_code == 401


async def test_id_token_signed_by_somebody_else_lets_nobody_in(
    shop: Desk, provider: Provider
) -> None:
    provider.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert (await round_trip(shop.browser())).status_code == 401


async def test_sign_in_that_another_browser_began_is_refused(shop: Desk) -> None:
    attacker, victim = shop.browser(), shop.browser()
    there = await attacker.get(START)
    async with httpx.AsyncClient() as outside:
        back = (await outside.get(there.headers["location"])).headers["location"]
    assert (await victim.get(back)).status_code == 401
    assert (await victim.get("/api/session")).status_code == 401
    assert (await attacker.get(back)).status_code == 302
    assert (await attacker.get(back)).status_code == 401, "once"


@pytest.mark.parametrize("path", ["https://evil.example", "//evil.example", "/\\evil.example"])
async def test_nobody_is_sent_to_another_site(shop: Desk, path: str) -> None:
    there = await shop.browser().get(START, params={"next": path})
    browser = shop.browser()
    browser.cookies = there.cookies
    answer = await round_trip(browser, f"{START}?next={path}")
    assert answer.headers["location"] == "/"


async def test_provider_that_is_away_is_said_so(tmp_path: Path, provider: Provider) -> None:
    desk = await Desk(tmp_path, given(provider)).start()
    await provider.server.stop()
    answer = await desk.browser().get(START)
    assert answer.status_code == 503
    await desk.stop()


async def test_console_without_a_provider_offers_none(desk: Desk) -> None:
    assert (await desk.browser().get(START)).status_code == 404
    assert (await desk.browser().get("/api/sign-in")).json()["oidc"] is None
