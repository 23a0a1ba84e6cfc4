"""Dead letters on a real bus: a message that kills its worker each time, and putting it back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import AckPolicy, ConsumerConfig

from loopline.clock import SystemClock
from loopline.contracts import RouteChunk, catalog
from loopline.contracts.catalog import Stream
from loopline.contracts.permissions import permissions
from loopline.embedded.nats import NatsUser
from loopline.errors import NotFound
from loopline.runtime import admin
from loopline.runtime.bus import Bus, JetStreamOutlet
from loopline.store.blobs import MemoryBlobs
from loopline.store.deadletters import DeadLetter, DeadLetters
from loopline.store.logstore import JetStreamLog
from loopline.testing.servers import NatsTestServer
from services.router.service import Router
from services.router.settings import RouterSettings

DURABLE = catalog.ROUTE_CHUNK.durable_name("router", "default")
COMMAND = RouteChunk(run_id="r", plan_digest="1" * 64, index=3, total=5)


def _user(name: str) -> NatsUser:
    granted = permissions(name)
    return NatsUser(name, f"secret-{name}", granted.publish, granted.subscribe)


async def _connect(server: NatsTestServer, name: str) -> Client:
    return await nats.connect(
        server.url, user=name, password=f"secret-{name}", inbox_prefix=f"_INBOX.{name}".encode()
    )


@pytest.fixture
def server(nats_server_with: Callable[..., NatsTestServer]) -> NatsTestServer:
    """A bus where the router and the user may do what the catalog grants them, and no more."""
    return nats_server_with(NatsUser("admin", "secret-admin"), _user("router"), _user("user"))


@pytest.fixture
async def client(server: NatsTestServer) -> AsyncIterator[Client]:
    """Who set the platform up."""
    client = await _connect(server, "admin")
    await admin.declare(client.jetstream())
    yield client
    await client.close()


@pytest.fixture
async def letters(server: NatsTestServer, client: Client) -> AsyncIterator[DeadLetters]:
    """The dead letters, as a user sees them."""
    user = await _connect(server, "user")
    yield DeadLetters(user, "default")
    await user.close()


@pytest.fixture
async def router(server: NatsTestServer, client: Client, tmp_path: Path) -> AsyncIterator[Router]:
    """A router whose handlers do not run: it only follows the server's advisories."""
    own = await _connect(server, "router")
    router = Router(
        RouterSettings(data_dir=tmp_path),
        commits=JetStreamLog(own, Stream.COMMITS),
        events=JetStreamLog(own, Stream.EVENTS),
        outlet=JetStreamOutlet(own),
        blobs=MemoryBlobs(),
        client=own,
    )
    await router.start()
    yield router
    await router.stop()
    router.objects.close()
    await own.close()


async def _exhaust(client: Client) -> None:
    """Send a command and let its deliveries run out, as a worker does that dies each time."""
    js = client.jetstream()
    await js.add_consumer(
        Stream.WORK,
        ConsumerConfig(
            durable_name=DURABLE,
            filter_subject=catalog.ROUTE_CHUNK.subject("default", pool="default"),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=0.05,
            max_deliver=2,
        ),
    )
    bus = Bus(JetStreamOutlet(client), "default", source="test", clock=SystemClock())
    await bus.send(catalog.ROUTE_CHUNK, COMMAND, id="r/3")
    subscription = await js.pull_subscribe_bind(durable=DURABLE, stream=Stream.WORK)
    for _ in range(2):
        await subscription.fetch(1, timeout=5)
    with pytest.raises(NatsTimeoutError):  # the third one does not come: the server gives up
        await subscription.fetch(1, timeout=0.3)


async def _only(letters: DeadLetters) -> DeadLetter:
    async with asyncio.timeout(20):
        while not (found := await letters.list()):
            await asyncio.sleep(0.02)
    [letter] = found
    return letter


async def test_message_that_kills_its_worker_is_moved_to_the_dead(
    client: Client, router: Router, letters: DeadLetters
) -> None:
    await _exhaust(client)
    letter = await _only(letters)
    assert (letter.service, letter.event) == ("router", "route_chunk")
    assert letter.reason == "delivered 2 times, never settled: its worker died or hung each time"
    assert (letter.stream, letter.consumer, letter.attempts) == (Stream.WORK, DURABLE, 2)
    assert letter.subject == "loopline.default.cmd.route-chunk.default"
    assert letter.body() == {
        "run_id": "r",
        "plan_digest": "1" * 64,
        "index": 3,
        "total": 5,
    }
    info = await client.jetstream().stream_info(Stream.WORK)
    assert info.state.messages == 0


async def test_advisory_that_comes_twice_makes_one_letter(
    client: Client, router: Router, letters: DeadLetters
) -> None:
    await _exhaust(client)
    await _only(letters)
    [advisory] = [r async for r in JetStreamLog(client, Stream.ADVISORIES).read([">"])]
    await router.on_delivery_exhausted(advisory.data)
    assert len(await letters.list()) == 1


async def test_retry_puts_the_message_back_once(
    client: Client, router: Router, letters: DeadLetters
) -> None:
    await _exhaust(client)
    letter = await _only(letters)
    await letters.retry(letter.sequence)
    assert await letters.list() == []
    [back] = await JetStreamLog(client, Stream.WORK).last(letter.subject)
    assert RouteChunk.FromString(back.data) == COMMAND
    assert back.headers["ce-id"] == "r/3"
    assert not any(name.startswith("Loopline-Dead-") for name in back.headers)
    with pytest.raises(NotFound, match=f"there is no dead letter {letter.sequence}"):
        await letters.retry(letter.sequence)


async def test_a_dead_reaction_goes_to_its_service_alone(
    client: Client, letters: DeadLetters
) -> None:
    headers = {
        "Loopline-Dead-Stream": "COMMITS",
        "Loopline-Dead-Sequence": "1",
        "Loopline-Dead-Subject": "loopline.default.dataset.d.committed",
        "Loopline-Dead-Reason": "no",
        "ce-type": "nobody.knows",
    }
    subject = catalog.dead_subject("default", "router", "dataset_committed")
    await JetStreamOutlet(client).publish(subject, b"\xffbytes", headers, Stream.DEAD)
    [letter] = await letters.list(service="router")
    assert letter.body() == {
        "undecodable": "the type 'nobody.knows' is not known",
        "text": "�bytes",
    }
    await letters.retry(letter.sequence)
    await letters.discard(letter.sequence)
    [back] = await JetStreamLog(client, Stream.WORK).last(
        catalog.retry_subject("default", "router", "dataset_committed")
    )
    assert back.headers["Loopline-Dead-Sequence"] == "1"
    assert await JetStreamLog(client, Stream.COMMITS).last_sequence() == 0
    assert await letters.list() == []
    assert await letters.list(service="trainer") == []
