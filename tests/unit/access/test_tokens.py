"""Tokens: what they let their holder do, and what makes them worthless."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from loopline.access import (
    Caller,
    Forbidden,
    KeySet,
    Role,
    Scope,
    SigningKey,
    TokenIssuer,
    TokenVerifier,
    Unauthenticated,
    may,
    scopes_of,
    validate_scopes,
)
from loopline.access.roles import role_for
from loopline.errors import Rejected
from loopline.testing.memory import ManualClock

KEY = SigningKey.generate()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def issuer(clock: ManualClock) -> TokenIssuer:
    return TokenIssuer(KEY, "default", clock)


@pytest.fixture
def verifier(clock: ManualClock) -> TokenVerifier:
    return TokenVerifier(KeySet.of(KEY), "default", clock=clock)


def test_token_tells_who_it_speaks_for(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    caller = verifier.verify(issuer.issue("ann", role=Role.LABELER, lifetime_s=60, token_id="t1"))
    assert caller == Caller("ann", "user", Role.LABELER, frozenset({"read", "label"}), "t1")
    assert caller.may("label")
    assert not caller.may("review")
    with pytest.raises(Forbidden, match="needs 'operate', which begins with the role operator"):
        caller.require("operate")


def test_token_has_no_more_than_the_role(issuer: TokenIssuer) -> None:
    with pytest.raises(Rejected, match="more than the role viewer"):
        issuer.issue("ann", role=Role.VIEWER, lifetime_s=60, scopes=["label"])
    with pytest.raises(Rejected, match="is no scope"):
        issuer.issue("ann", role=Role.ADMIN, lifetime_s=60, scopes=["everything"])


def test_token_for_one_model_predicts_with_that_one_alone(
    issuer: TokenIssuer, verifier: TokenVerifier
) -> None:
    token = issuer.issue("till", role=Role.OPERATOR, lifetime_s=60, scopes=["predict:catalogue"])
    caller = verifier.verify(token)
    assert caller.may("predict:catalogue")
    assert not caller.may("predict:other")
    assert not caller.may("read")


def test_expired_token_is_refused(
    issuer: TokenIssuer, verifier: TokenVerifier, clock: ManualClock
) -> None:
    token = issuer.issue("ann", role=Role.VIEWER, lifetime_s=60)
    clock.advance(64)
    verifier.verify(token)  # clocks may differ a little
    clock.advance(10)
    with pytest.raises(Unauthenticated, match="expired"):
        verifier.verify(token)


def test_revoked_token_is_refused(issuer: TokenIssuer, clock: ManualClock) -> None:
    revoked = {"bad"}
    verifier = TokenVerifier(KeySet.of(KEY), "default", revoked=revoked.__contains__, clock=clock)
    verifier.verify(issuer.issue("ann", role=Role.VIEWER, lifetime_s=60, token_id="good"))
    with pytest.raises(Unauthenticated, match="revoked"):
        verifier.verify(issuer.issue("ann", role=Role.VIEWER, lifetime_s=60, token_id="bad"))


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda token: "", id="empty"),
        pytest.param(lambda token: "a.b.c", id="garbage"),
        pytest.param(lambda token: token[:-4] + "AAAA", id="signature changed"),
        pytest.param(lambda token: token * 20, id="too long"),
        pytest.param(
            lambda token: jwt.encode(
                jwt.decode(token, options={"verify_signature": False}),
                "",
                "none",
                headers={"kid": KEY.id},
            ),
            id="not signed",
        ),
        pytest.param(
            lambda token: jwt.encode(
                jwt.decode(token, options={"verify_signature": False}),
                KEY.public_jwk()["x"] * 2,
                "HS256",
                headers={"kid": KEY.id},
            ),
            id="signed with the public key as a password",
        ),
        pytest.param(
            lambda token: TokenIssuer(SigningKey.generate(), "default").issue(
                "eve", role=Role.ADMIN, lifetime_s=60
            ),
            id="another's key",
        ),
        pytest.param(
            lambda token: TokenIssuer(KEY, "other").issue("ann", role=Role.ADMIN, lifetime_s=60),
            id="another workspace",
        ),
    ],
)
def test_forged_token_is_refused(forge: object, issuer: TokenIssuer) -> None:
    verifier = TokenVerifier(KeySet.of(KEY), "default")
    with pytest.raises(Unauthenticated):
        verifier.verify(forge(issuer.issue("ann", role=Role.VIEWER, lifetime_s=60)))  # type: ignore[operator]


def test_token_for_something_else_is_refused(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    token = issuer.issue("ann", role=Role.ADMIN, lifetime_s=60, audience="sign-in")
    with pytest.raises(Unauthenticated):
        verifier.verify(token)


def test_keys_survive_their_files_and_show_nothing(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(str(KEY.jwk()).replace("'", '"'))
    again = SigningKey.load(path)
    assert again.jwk() == KEY.jwk()
    assert KEY.jwk()["d"] not in repr(KEY)
    assert "d" not in KEY.public_jwk()
    with pytest.raises(Rejected, match="cannot be read"):
        SigningKey.load(tmp_path / "none.json")
    with pytest.raises(Rejected, match="not a private"):
        SigningKey.from_jwk(KEY.public_jwk())
    with pytest.raises(Rejected, match="not a JWK set"):
        KeySet.from_jwks({})


def test_roles_grow() -> None:
    for smaller, larger in zip(list(Role), list(Role)[1:], strict=False):
        assert scopes_of(smaller) < scopes_of(larger)
    assert [role_for(scope) for scope in Scope] == list(Role)
    assert may(scopes_of(Role.OPERATOR), "predict:anything")
    assert validate_scopes(["read", "predict:*", "predict:catalogue"])
