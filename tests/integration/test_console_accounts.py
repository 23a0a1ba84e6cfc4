"""Users, sessions and tokens on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from loopline.access import Role
from loopline.errors import NotFound
from loopline.store.database import open_database
from loopline.testing.postgres import PostgresServer
from services.console.adapters.accounts import AccountStore
from services.console.domain.accounts import Session, Taken, Token, User

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN = User("ann", Role.LABELER, NOW, "ann@example.org", "$argon2id$...")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AccountStore]:
    """A store with its tables, made twice as by two processes."""
    url = f"sqlite:///{tmp_path_factory.mktemp('accounts') / 'console.db'}"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.new_database()
    engine = open_database(url)
    made = AccountStore(engine)
    made.create()
    made.create()
    yield made
    engine.dispose()


def session(key: str, user: str, days: int = 1) -> Session:
    return Session(key, user, "password", NOW, NOW + timedelta(days=days), NOW)


def test_person_is_kept_changed_and_removed(store: AccountStore) -> None:
    store.add_user(ANN)
    assert store.user("ann") == ANN
    with pytest.raises(Taken, match="already"):
        store.add_user(ANN)
    changed = replace(ANN, role=Role.ADMIN, oidc_subject="i#1", signed_in_at=NOW, is_disabled=True)
    store.put_user(changed)
    assert store.user_of_subject("i#1") == changed
    store.add_session(session("k", "ann"))
    store.remove_user("ann")
    assert store.find_user("ann") is None
    assert store.session("k") is None
    with pytest.raises(NotFound):
        store.user("ann")


def test_sessions_end_one_by_one_all_at_once_and_by_age(store: AccountStore) -> None:
    store.add_user(replace(ANN, name="bob"))
    for key in ("a", "b", "c"):
        store.add_session(session(key, "bob"))
    later = NOW + timedelta(hours=1)
    store.touch_session("a", later)
    found = store.session("a")
    assert found is not None
    assert (found[0].seen_at, found[1].name) == (later, "bob")
    store.end_session("b")
    assert store.session("b") is None
    store.end_sessions("bob", but="a")
    assert store.session("c") is None
    assert store.session("a") is not None
    store.add_session(replace(session("d", "bob", days=9), created_at=NOW + timedelta(days=3)))
    assert store.session("a") is None, "ended ones go when a new one comes"


def test_tokens_are_listed_by_owner_and_revoked(store: AccountStore) -> None:
    first = Token("t1", "ann", "one", frozenset({"read", "label"}), NOW, NOW + timedelta(days=1))
    second = replace(first, id="t2", owner="bob", created_at=NOW + timedelta(hours=1))
    store.add_token(first)
    store.add_token(second)
    assert store.tokens() == [second, first]
    assert store.tokens("ann") == [first]
    store.revoke_token("t1", NOW)
    assert store.token("t1").revoked_at == NOW
    assert not store.token("t1").is_good(NOW)
    with pytest.raises(NotFound):
        store.token("t3")


def test_what_may_be_used_once_is_used_once(store: AccountStore) -> None:
    ends_at = NOW + timedelta(hours=1)
    assert store.spend("link-1", NOW, ends_at)
    assert not store.spend("link-1", NOW, ends_at)
    assert store.spend("link-2", NOW + timedelta(hours=2), ends_at)
