"""What each service may say and hear on the bus, derived from the catalog: least privilege."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loopline.contracts import catalog
from loopline.contracts.catalog import DEFAULT_POOL, EVENTS, Event, Stream

READABLE = (Stream.COMMITS, Stream.EVENTS)
"""The streams that every service may read; queues are read through durables only."""
FOLLOWERS = ("annotate", "inference", "lineage", "console")
"""Services that follow a stream from any point with ephemeral consumers of their own."""

RETRIERS = ("user", "console")
"""Who lists dead letters and puts them back on the queue they came from, whatever they ask for."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects a NATS user may publish and subscribe to."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def permissions(
    service: str,
    pools: tuple[str, ...] = (DEFAULT_POOL,),
    workspace: str = "default",
    agents: tuple[str, ...] = (),
) -> Permissions:
    """Return what `service` may do ("user" and "external" are the SDK's and a customer's).

    Args:
        service: Which service.
        pools: Whose commands its workers take.
        workspace: The team's name space.
        agents: Names under which its workers take commands sent to them alone.
    """
    own = [event.subject(workspace) for event in EVENTS if service in event.publishers]
    reading = [subject for stream in READABLE for subject in _reading(stream)]
    consuming = [
        subject
        for event in EVENTS
        for durable in event.durables
        if durable.service == service
        for pool in _queues(event, service, pools, agents)
        for subject in _consuming(event.stream, event.durable_name(service, workspace, pool))
    ]
    publish = {*own, *reading, *consuming, "$JS.API.INFO"}
    if service in catalog.SERVICES:
        publish.add(f"{catalog.PREFIX}.{workspace}.dead.{service}.>")
        publish.update(_consuming(Stream.WORK, catalog.retry_durable(workspace, service)))
    if service == "router":
        publish.update(_consuming(Stream.ADVISORIES, catalog.ADVISORY_DURABLE))
        publish.update(f"$JS.API.STREAM.MSG.GET.{stream}" for stream in Stream)
        publish.add(f"{catalog.PREFIX}.{workspace}.dead.>")
        # What it moves to DEAD must leave the queue, where nobody would take it again.
        publish.update(
            f"$JS.API.STREAM.MSG.DELETE.{queue}" for queue in (Stream.WORK, Stream.RELABEL)
        )
    if service in FOLLOWERS or service == "user":
        publish.update(s for stream in READABLE for s in _following(stream))
    if service in RETRIERS:
        publish.update(_dead_letters(workspace))
        publish.update(_observing())
    if service == "console":
        publish.update(_ages())
    if service == "external":
        publish = set(own)
    subscribe = [f"_INBOX.{service}.>"]
    if service in FOLLOWERS or service == "user":
        subscribe.append(f"{catalog.PREFIX}.{workspace}.>")
    return Permissions(tuple(sorted(publish)), tuple(subscribe))


def _queues(
    event: Event[Any], service: str, pools: tuple[str, ...], agents: tuple[str, ...]
) -> tuple[str, ...]:
    if "pool" not in event.tokens:
        return (DEFAULT_POOL,)
    return (*pools, *agents) if event.by_name(service) else pools


def _reading(stream: Stream) -> list[str]:
    return [
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.DIRECT.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}.>",
    ]


def _consuming(stream: Stream, durable: str) -> list[str]:
    return [
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}",
        f"$JS.API.CONSUMER.INFO.{stream}.{durable}",
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.ACK.{stream}.{durable}.>",
    ]


def _following(stream: Stream) -> list[str]:
    return [
        f"$JS.API.CONSUMER.CREATE.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.DELETE.{stream}.*",
        f"$JS.API.CONSUMER.INFO.{stream}.*",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
        f"$JS.API.STREAM.MSG.GET.{stream}",
        f"$JS.ACK.{stream}.>",
        f"$JS.FC.{stream}.>",
    ]


def _dead_letters(workspace: str) -> list[str]:
    """Lists dead letters, removes one, and puts it back on the subject it came from."""
    work = [e.subject(workspace) for e in EVENTS if e.stream in (Stream.WORK, Stream.RELABEL)]
    return [
        *work,
        catalog.retry_subject(workspace, "*", "*"),
        *_following(Stream.DEAD),
        *_reading(Stream.DEAD),
        f"$JS.API.STREAM.MSG.DELETE.{Stream.DEAD}",
    ]


def _ages() -> list[str]:
    """Reads the oldest message of a queue, for its age."""
    return [f"$JS.API.DIRECT.GET.{stream}" for stream in (Stream.WORK, Stream.RELABEL)]


def _observing() -> list[str]:
    return [
        s
        for stream in Stream
        for s in (
            f"$JS.API.STREAM.INFO.{stream}",
            f"$JS.API.CONSUMER.LIST.{stream}",
            f"$JS.API.CONSUMER.INFO.{stream}.*",
        )
    ]
