"""Least privilege, asked of the real servers: every user tries what it may and what it may not."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from minio import Minio
from minio.error import S3Error
from nats.aio.client import Client
from nats.js.errors import FetchTimeoutError

from loopline.contracts import catalog
from loopline.contracts.catalog import EVENTS, SERVICES, Stream
from loopline.contracts.permissions import RETRIERS
from loopline.embedded import ports
from loopline.embedded.identities import CUSTOMER, EXTERNAL, S3_GRANTS, USER, Credentials
from loopline.embedded.layout import DataFolder
from loopline.embedded.nats import PREFERRED_PORTS
from loopline.embedded.objects import weed
from loopline.embedded.options import BUCKET, PlatformOptions
from loopline.embedded.servers import Servers
from loopline.store.objects import Area
from loopline.testing.servers import ServerProcess

WORKSPACE = "default"
CUSTOMER_BUCKET = "customer-photos"
DENIED = "AccessDenied"
SUBJECTS = {
    event.key: event.subject(WORKSPACE, **dict.fromkeys(event.tokens[1:], "default"))
    for event in EVENTS
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Both servers with everybody's users and identities, streams declared, buckets made."""
    root = tmp_path_factory.mktemp("platform")
    chosen = ports.choose(dict.fromkeys(PREFERRED_PORTS, 0))
    servers = Servers(
        options=PlatformOptions(root, customer_buckets=(CUSTOMER_BUCKET,)),
        folder=DataFolder(root),
        ports=chosen | weed.choose_ports({"weed_admin": 0}, taken=chosen.values()),
        credentials=Credentials.load_or_generate(root / "credentials.json"),
    )
    admin = servers.credentials["admin"]
    probe = weed.client(servers.weed.endpoint, admin.access_key, admin.secret_key)
    processes = [
        ServerProcess(servers.nats.prepare, servers.nats.is_ready, root / "nats.log"),
        ServerProcess(
            servers.weed.prepare, lambda: weed.is_writable(probe, BUCKET), root / "weed.log"
        ),
    ]
    for process in processes:
        process.start()
    asyncio.run(servers.administer())
    yield servers
    for process in processes:
        process.stop()
    weed.remove_sockets(servers.ports)


@asynccontextmanager
async def connected(servers: Servers, name: str) -> AsyncIterator[tuple[Client, list[str]]]:
    """A connection as `name`, and what the server refused it."""
    refused: list[str] = []

    async def on_error(error: Exception) -> None:
        refused.append(str(error).lower())

    client = await nats.connect(
        servers.nats.url,
        user=name,
        password=servers.credentials[name].password,
        inbox_prefix=f"_INBOX.{name}".encode(),
        error_cb=on_error,
    )
    try:
        yield client, refused
    finally:
        await client.close()


async def refusals(servers: Servers, name: str, subjects: dict[str, str]) -> set[str]:
    """Publish on each subject as `name`; return the keys of those that were refused."""
    async with connected(servers, name) as (client, refused):
        for subject in subjects.values():
            await client.publish(subject, b"")
        await client.flush()
        await client.flush()
        return {
            key
            for key, subject in subjects.items()
            if any(f'"{subject.lower()}"' in each for each in refused)
        }


def s3(servers: Servers, name: str) -> Minio:
    secret = servers.credentials[name]
    return weed.client(servers.weed.endpoint, secret.access_key, secret.secret_key, retries=2)


def allowed(action: Callable[[], object]) -> bool:
    try:
        action()
    except S3Error as error:
        if error.code == DENIED:
            return False
        raise
    return True


@pytest.mark.parametrize("name", [*SERVICES, USER, EXTERNAL])
async def test_everybody_publishes_what_the_catalog_says_and_nothing_else(
    servers: Servers, name: str
) -> None:
    expected = {event.key for event in EVENTS if name not in event.publishers}
    if name in RETRIERS:  # puts dead letters back where they came from
        expected -= {e.key for e in EVENTS if e.stream in (Stream.WORK, Stream.RELABEL)}
    assert await refusals(servers, name, SUBJECTS) == expected


async def test_the_router_cannot_commit_a_model(servers: Servers) -> None:
    model = {"model": "loopline.default.model.catalogue.committed"}
    assert await refusals(servers, "router", model) == {"model"}
    assert await refusals(servers, "trainer", model) == set()


@pytest.mark.parametrize("name", [*SERVICES, USER, EXTERNAL])
async def test_nobody_but_admin_changes_streams(servers: Servers, name: str) -> None:
    subjects = {
        verb: f"$JS.API.STREAM.{verb}.COMMITS" for verb in ("DELETE", "PURGE", "UPDATE", "CREATE")
    }
    subjects["MSG"] = "$JS.API.STREAM.MSG.DELETE.COMMITS"
    subjects["WORK"] = "$JS.API.CONSUMER.DELETE.WORK.default_ingest_import_images_default"
    assert await refusals(servers, name, subjects) == set(subjects)


@pytest.mark.parametrize("name", [*SERVICES, USER, EXTERNAL])
async def test_nobody_listens_to_others(servers: Servers, name: str) -> None:
    async with connected(servers, name) as (client, refused):
        for subject in ("loopline.>", "_INBOX.admin.>", "_INBOX.>", "$JS.>"):
            await client.subscribe(subject)
        await client.flush()
        await client.flush()
    assert len(refused) == 4


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_takes_from_its_own_queues(servers: Servers, service: str) -> None:
    consumed = [e for e in EVENTS if any(d.service == service for d in e.durables)]
    async with connected(servers, service) as (client, refused):
        js = client.jetstream()
        for event in consumed:
            durable = event.durable_name(service, WORKSPACE)
            subscription = await js.pull_subscribe_bind(durable, stream=event.stream)
            try:
                messages = await subscription.fetch(1, timeout=0.2)
            except (FetchTimeoutError, TimeoutError):
                continue
            for message in messages:
                await message.ack_sync(timeout=5)
    assert refused == []


@pytest.mark.parametrize("service", ["lineage", "console", "inference", USER])
async def test_who_follows_the_log_may(servers: Servers, service: str) -> None:
    assert await refusals(servers, "router", {"alias": SUBJECTS["alias_moved"]}) == set()
    async with connected(servers, service) as (client, refused):
        subscription = await client.jetstream().subscribe(
            "loopline.default.>", stream=Stream.COMMITS, ordered_consumer=True
        )
        await subscription.next_msg(timeout=5)
    assert refused == []


@pytest.mark.parametrize("name", S3_GRANTS)
def test_everybody_reads_writes_and_lists_the_areas_granted_and_no_other(
    servers: Servers, name: str
) -> None:
    admin, client, grant = s3(servers, "admin"), s3(servers, name), S3_GRANTS[name]
    seen: dict[str, set[Area]] = {"read": set(), "write": set(), "lists": set()}
    for area in Area:
        folder = f"{WORKSPACE}/{area}/"
        mine = f"{folder}aa/{name}"
        admin.put_object(BUCKET, f"{folder}aa/there", io.BytesIO(b"x"), 1)
        attempts = {
            "read": lambda f=folder: client.stat_object(BUCKET, f"{f}aa/there"),
            "write": lambda key=mine: client.put_object(BUCKET, key, io.BytesIO(b"x"), 1),
            "lists": lambda f=folder: list(client.list_objects(BUCKET, f, recursive=True)),
        }
        for what, attempt in attempts.items():
            if allowed(attempt):
                seen[what].add(area)
    assert seen == {
        "read": {*grant.read, *grant.write},
        "write": set(grant.write),
        "lists": set(grant.lists),
    }


def test_ingest_cannot_read_models(servers: Servers) -> None:
    s3(servers, "admin").put_object(BUCKET, "default/models/aa/x", io.BytesIO(b"x"), 1)
    with pytest.raises(S3Error, match=DENIED):
        s3(servers, "ingest").get_object(BUCKET, "default/models/aa/x")


def test_asking_for_what_is_not_there_is_answered_and_not_refused(servers: Servers) -> None:
    with pytest.raises(S3Error, match="NoSuchKey"):
        s3(servers, "ingest").stat_object(BUCKET, "default/assets/aa/none")


@pytest.mark.parametrize("name", S3_GRANTS)
def test_another_workspace_is_closed(servers: Servers, name: str) -> None:
    s3(servers, "admin").put_object(BUCKET, "other/assets/aa/x", io.BytesIO(b"x"), 1)
    client = s3(servers, name)
    assert not allowed(lambda: client.stat_object(BUCKET, "other/assets/aa/x"))
    assert not allowed(lambda: client.stat_object(BUCKET, "default2/assets/aa/x"))
    assert not allowed(lambda: list(client.list_objects(BUCKET, recursive=True)))


def test_the_customer_has_its_bucket_and_nothing_of_ours(servers: Servers) -> None:
    customer = s3(servers, CUSTOMER)
    customer.put_object(CUSTOMER_BUCKET, "a photo é.png", io.BytesIO(b"x"), 1)
    assert [o.object_name for o in customer.list_objects(CUSTOMER_BUCKET)] == ["a photo é.png"]
    assert customer.bucket_exists(CUSTOMER_BUCKET)
    assert not allowed(lambda: customer.stat_object(BUCKET, "default/assets/aa/there"))
    assert not allowed(lambda: list(customer.list_objects(BUCKET, recursive=True)))
    assert not allowed(lambda: customer.make_bucket("customer-another"))


@pytest.mark.parametrize("name", S3_GRANTS)
def test_our_identities_do_not_reach_the_customers_bucket(servers: Servers, name: str) -> None:
    client = s3(servers, name)
    assert not allowed(lambda: client.stat_object(CUSTOMER_BUCKET, "x"))
    assert not allowed(lambda: list(client.list_objects(CUSTOMER_BUCKET)))


@pytest.mark.parametrize(
    "login",
    [
        pytest.param({}, id="nobody"),
        pytest.param({"user": "router", "pass": "guess"}, id="wrong-password"),
    ],
)
async def test_strangers_do_not_connect(servers: Servers, login: dict[str, str]) -> None:
    """By hand: the client library leaks its socket when it is refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", servers.ports["nats"])
    await reader.readline()
    options = {"verbose": True, "pedantic": False, **login}
    writer.write(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert answer == b"-ERR 'Authorization Violation'\r\n"


def test_the_files_that_hold_secrets_are_private(servers: Servers) -> None:
    root = Path(servers.folder.root)
    holders = [root / "credentials.json", *root.glob("*/nats.conf"), *root.glob("weed/config/*")]
    assert len(holders) == 4
    assert {path.stat().st_mode & 0o077 for path in holders} == {0}


def test_streams_are_those_of_the_catalog(servers: Servers) -> None:
    async def names() -> set[str]:
        client = await nats.connect(
            servers.nats.url, user="admin", password=servers.credentials["admin"].password
        )
        found = {info.config.name for info in await client.jetstream().streams_info()}
        await client.close()
        return {str(name) for name in found}

    assert asyncio.run(names()) == {stream.value for stream in catalog.Stream}
