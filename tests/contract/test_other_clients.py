"""Every public command, sent from Node as JSON, is understood as protobuf from our SDK is."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from loopline.contracts.catalog import EVENTS, Event
from loopline.runtime import admin
from loopline.runtime.processing import Delivery
from loopline.runtime.service import Host, Service, build, connect, work
from loopline.runtime.settings import ServiceSettings
from loopline.testing.servers import NatsTestServer
from tests.contract.samples import sample

TOOLS = Path(__file__).resolve().parents[2] / "tools"
NODE = Path(sys.executable).parent / "node"
PUBLIC = [event for event in EVENTS if "external" in event.publishers]


def probe_class(event: Event[Any]) -> type[Service]:
    """Return a service that consumes `event` under its owner's name and keeps what it hears."""

    class Probe(Service):
        name = event.durables[0].service
        code = ("loopline.names",)
        heard: list[tuple[Message, Delivery]]

        @work(event)
        async def on_command(self, command: Message, delivery: Delivery) -> None:
            self.heard.append((command, delivery))

    return Probe


@pytest.fixture(params=PUBLIC, ids=lambda event: event.key)
async def heard(
    request: pytest.FixtureRequest, nats_server: NatsTestServer
) -> AsyncIterator[tuple[Event[Any], str, list[tuple[Message, Delivery]], Host]]:
    event: Event[Any] = request.param
    workspace = f"w{uuid4().hex[:12]}"
    settings = ServiceSettings(
        nats_url=nats_server.url, workspace=workspace, s3_endpoint="127.0.0.1:1", drain_s=0.2
    )
    service_class = probe_class(event)
    client = await connect(settings, service_class.name)
    await admin.declare(client.jetstream(), workspace)
    service = build(service_class, settings, client)
    found: list[tuple[Message, Delivery]] = []
    service.heard = found  # type: ignore[attr-defined]
    host = Host(service, client)
    await host.start()
    yield event, workspace, found, host
    await host.stop()


async def publish_from_node(url: str, subject: str, headers: dict[str, str], body: object) -> None:
    process = await asyncio.create_subprocess_exec(
        str(NODE), "publish.mjs", url, subject, json.dumps(headers), json.dumps(body),
        cwd=TOOLS, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


async def test_json_from_node_gets_the_same_reaction_as_protobuf_from_the_sdk(
    heard: tuple[Event[Any], str, list[tuple[Message, Delivery]], Host],
    nats_server: NatsTestServer,
) -> None:
    event, workspace, found, host = heard
    message = sample(event.message)
    data = json_format.MessageToDict(message)
    tokens = {token: "default" for token in event.tokens if token != "workspace"}
    subject = event.subject(workspace, **tokens)
    attributes = {"specversion": "1.0", "id": "from-node", "source": "shop", "type": event.type}

    await host.service.bus.send(event, message, id="from-sdk", **tokens)  # type: ignore[arg-type]
    await publish_from_node(
        nats_server.url,
        subject,
        {"Content-Type": "application/cloudevents+json"},
        {**attributes, "data": data},
    )
    binary = {f"ce-{name}": value for name, value in attributes.items()}
    await publish_from_node(
        nats_server.url, subject, {**binary, "Content-Type": "application/json"}, data
    )

    async with asyncio.timeout(10):
        while len(found) < 3:
            await asyncio.sleep(0.01)
    assert [command for command, _ in found] == [message] * 3
    assert sorted(d.event_id for _, d in found) == ["from-node", "from-node", "from-sdk"]
