"""What KEDA asks nats-server for is there under the names the chart gives it, and counts work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import nats
import yaml
from helm_python import Chart

from loopline.contracts import catalog
from loopline.runtime.admin import declare
from loopline.testing.servers import NatsTestServer

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "loopline"
WORKSPACE = "scaled"


def triggers() -> list[dict[str, str]]:
    """Return what the chart tells KEDA of a workspace with every service scaled."""
    scaling = {"enabled": True, "min": 0, "max": 2, "lagThreshold": 1}
    workloads: dict[str, Any] = {
        name: {"service": name, "scaling": scaling}
        for name in ("ingest", "trainer", "inference", "router")
    }
    workloads["annotate"] = {"service": "annotate", "scaling": scaling, "databaseSecret": "db"}
    values = {"workspace": WORKSPACE, "keda": {"enabled": True}, "workloads": workloads}
    with Chart.load(CHART) as chart:
        text = chart.render(values, name="loopline")["loopline/templates/scaledobject.yaml"]
    scaled = [each for each in yaml.safe_load_all(text) if each]
    assert len(scaled) == len(workloads)
    return [trigger["metadata"] for each in scaled for trigger in each["spec"]["triggers"]]


async def lags(server: NatsTestServer, account: str) -> dict[tuple[str, str], int]:
    """Return what KEDA makes of the monitoring page: what waits and what is in flight."""
    asked = {"acc": account, "consumers": "true", "config": "true"}
    async with httpx.AsyncClient(base_url=server.monitor_url) as client:
        page = (await client.get("/jsz", params=asked)).raise_for_status().json()
    return {
        (stream["name"], consumer["name"]): consumer["num_pending"] + consumer["num_ack_pending"]
        for one in page["account_details"]
        for stream in one["stream_detail"]
        for consumer in stream.get("consumer_detail") or ()
    }


async def test_every_consumer_that_keda_looks_at_is_there_and_counts(
    nats_server: NatsTestServer,
) -> None:
    client = await nats.connect(nats_server.url)
    js = client.jetstream()
    await declare(js, WORKSPACE)
    wanted = triggers()
    [account] = {trigger["account"] for trigger in wanted}
    before = await lags(nats_server, account)
    assert {(trigger["stream"], trigger["consumer"]) for trigger in wanted} <= before.keys()
    training = (catalog.Stream.WORK, catalog.TRAIN_MODEL.durable_name("trainer", WORKSPACE))
    await js.publish(catalog.TRAIN_MODEL.subject(WORKSPACE, pool="default"), b"one")
    await js.publish(catalog.TRAIN_MODEL.subject(WORKSPACE, pool="default"), b"two")
    assert (await lags(nats_server, account))[training] == before[training] + 2
    consumer = await js.pull_subscribe_bind(durable=training[1], stream=training[0])
    [message] = await consumer.fetch(1)
    assert (await lags(nats_server, account))[training] == before[training] + 2, "one is in flight"
    await message.ack_sync()
    assert (await lags(nats_server, account))[training] == before[training] + 1
    [message] = await consumer.fetch(1)
    await message.ack_sync()
    await client.close()
