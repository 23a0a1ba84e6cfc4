"""Who may do what on the bus and in storage."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from loopline.contracts.catalog import SERVICES
from loopline.embedded.identities import (
    ADMIN,
    CUSTOMER,
    EXTERNAL,
    S3_GRANTS,
    UPLOADS,
    USER,
    Credentials,
    nats_users,
    s3_identities,
)
from loopline.store.objects import Area


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return Credentials.load_or_generate(tmp_path / "credentials.json")


def test_secrets_are_made_once_and_kept_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    first = Credentials.load_or_generate(path)
    assert Credentials.load_or_generate(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_name_that_is_new_gets_secrets_and_the_others_keep_theirs(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    before = Credentials.load_or_generate(path)
    path.write_text(path.read_text().replace('"router"', '"was_router"'))
    after = Credentials.load_or_generate(path)
    assert after["router"] != before["router"]
    assert after["ingest"] == before["ingest"]


def test_no_two_users_share_a_secret(credentials: Credentials) -> None:
    secrets = [value for secret in credentials.secrets.values() for value in vars(secret).values()]
    assert len(set(secrets)) == len(secrets)


def test_every_service_has_a_user_on_the_bus_and_only_admin_may_do_everything(
    credentials: Credentials,
) -> None:
    users = {user.name: user for user in nats_users(credentials, "default", ("default",))}
    assert set(users) == {ADMIN, USER, EXTERNAL, *SERVICES}
    assert [name for name, user in users.items() if user.publish is None] == [ADMIN]
    assert "permissions" not in users[ADMIN].config()
    assert users["ingest"].config()["permissions"]["subscribe"] == {"allow": ["_INBOX.ingest.>"]}


def test_only_the_trainer_and_the_user_write_models() -> None:
    writers = [name for name, grant in S3_GRANTS.items() if Area.MODELS in grant.write]
    assert writers == ["trainer", USER]


def test_every_service_has_an_identity_in_storage(credentials: Credentials) -> None:
    names = [i.name for i in s3_identities(credentials, "loopline", "default", ())]
    assert set(names) == {ADMIN, USER, UPLOADS, *SERVICES}


def test_grants_are_of_one_workspace(credentials: Credentials) -> None:
    identities = s3_identities(credentials, "loopline", "team-a", ())
    actions = [a for i in identities if i.name not in (ADMIN, UPLOADS) for a in i.actions]
    assert actions
    assert all(action.split(":")[1].startswith("loopline/team-a/") for action in actions)


def test_uploads_have_a_bucket_of_their_own(credentials: Credentials) -> None:
    identities = s3_identities(credentials, "loopline", "default", ())
    (uploads,) = [i for i in identities if i.name == UPLOADS]
    assert {action.split(":")[1] for action in uploads.actions} == {"loopline-uploads"}


def test_the_console_writes_nothing() -> None:
    assert S3_GRANTS["console"].write == ()


def test_the_customer_is_an_identity_only_with_buckets_and_sees_those_alone(
    credentials: Credentials,
) -> None:
    identities = s3_identities(credentials, "loopline", "default", ("photos", "results"))
    (customer,) = [i for i in identities if i.name == CUSTOMER]
    assert {action.split(":")[1] for action in customer.actions} == {"photos", "results"}
