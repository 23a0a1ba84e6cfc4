"""A customer's own system: it knows a subject, the `.proto` files and a NATS client.

It imports no module of Loopline: what it sends is what docs/events.md documents.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import nats

SUBJECT = "loopline.default.cmd.import.default"
TYPE = "loopline.contracts.ingest.v1.ImportImages"


async def ask_for_import(
    nats_url: str,
    user: str,
    password: str,
    *,
    dataset: str,
    bucket: str,
    prefix: str,
    labels_key: str,
    traceparent: str = "",
) -> dict[str, object]:
    """Publish the command as a JSON CloudEvent in structured mode; return the event.

    A publisher that traces its own work gives the W3C `traceparent` of the span that asks.
    """
    event: dict[str, object] = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "https://shop.example/catalogue",
        "type": TYPE,
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "dataset": dataset,
            "source": {"connection": "customer", "bucket": bucket, "prefix": prefix},
            "labelsKey": labels_key,
        },
    }
    if traceparent:
        event["traceparent"] = traceparent  # the CloudEvents extension "distributed tracing"
    client = await nats.connect(
        nats_url, user=user, password=password, inbox_prefix=b"_INBOX.external"
    )
    try:
        headers = {"Content-Type": "application/cloudevents+json"}
        await client.jetstream().publish(SUBJECT, json.dumps(event).encode(), headers=headers)
    finally:
        await client.close()
    return event
