"""The server's word that a message exhausted its deliveries, and whose message it was.

The runtime buries what a handler refused. A message whose worker died each time never reaches it:
the server stops delivering it and says so in an advisory.
https://docs.nats.io/running-a-nats-service/nats_admin/monitoring/monitoring_jetstream
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from loopline.contracts.catalog import EVENTS
from loopline.errors import Rejected


@dataclass(frozen=True, slots=True)
class Exhausted:
    """A message that will not be delivered again.

    Args:
        stream: Its stream.
        sequence: Its sequence there.
        consumer: The durable that gave up.
        deliveries: How often it was delivered.
    """

    stream: str
    sequence: int
    consumer: str
    deliveries: int

    @property
    def reason(self) -> str:
        """Why it is dead, for people."""
        return (
            f"delivered {self.deliveries} times, never settled: its worker died or hung each time"
        )


@dataclass(frozen=True, slots=True)
class Handler:
    """Whose message it was.

    Args:
        service: The service.
        key: The event's row in the catalog.
    """

    service: str
    key: str


def parse(body: bytes) -> Exhausted:
    """Return what a MAX_DELIVERIES advisory says.

    Raises:
        Rejected: It is not one.
    """
    try:
        advisory = orjson.loads(body)
        return Exhausted(
            stream=str(advisory["stream"]),
            sequence=int(advisory["stream_seq"]),
            consumer=str(advisory["consumer"]),
            deliveries=int(advisory["deliveries"]),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise Rejected(f"not an advisory of exhausted deliveries: {error!r}") from error


def handler_of(consumer: str, workspace: str) -> Handler | None:
    """Return the handler behind a durable consumer's name; None if it is none of ours."""
    for event in EVENTS:
        for durable in event.durables:
            name = event.durable_name(durable.service, workspace, pool="")
            # With a pool the name goes on after the "_"; without one it is whole.
            if consumer == name or (name.endswith("_") and consumer.startswith(name)):
                return Handler(durable.service, event.key)
    return None
