"""The one admin step: streams and durable consumers, exactly as the catalog says.

Run once before services start, by a user who may; services have no right to make or change any.
"""

from __future__ import annotations

from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError

from loopline.contracts import catalog
from loopline.contracts.catalog import DEFAULT_POOL, EVENTS, Stream

DAY_S = 86_400.0
GIB = 1024**3
DUPLICATE_WINDOW_S = 120.0
EVENTS_MAX_AGE_S = 30 * DAY_S
EVENTS_MAX_BYTES = 4 * GIB
DEAD_MAX_AGE_S = 90 * DAY_S
DEAD_MAX_BYTES = 1 * GIB
QUEUE_MAX_BYTES = 2 * GIB


def stream_config(stream: Stream, replicas: int = 1) -> StreamConfig:
    """Return a stream's configuration."""
    common = StreamConfig(
        name=stream,
        subjects=catalog.subjects(stream),
        storage=StorageType.FILE,
        num_replicas=replicas,
        allow_direct=True,
        max_msg_size=catalog.MAX_EVENT_BYTES + 64_000,  # the body and its headers
        duplicate_window=DUPLICATE_WINDOW_S,
    )
    if stream == Stream.COMMITS:
        return common.evolve(deny_delete=True, deny_purge=True)
    if stream == Stream.EVENTS:
        return common.evolve(
            max_age=EVENTS_MAX_AGE_S,
            max_bytes=EVENTS_MAX_BYTES,
            allow_rollup_hdrs=True,  # of an agent only its last report is kept
        )
    if stream in (Stream.DEAD, Stream.ADVISORIES):
        return common.evolve(max_age=DEAD_MAX_AGE_S, max_bytes=DEAD_MAX_BYTES)
    return common.evolve(
        retention=RetentionPolicy.WORK_QUEUE,
        max_bytes=QUEUE_MAX_BYTES,
        discard=DiscardPolicy.NEW,  # a full queue refuses the publisher and loses nothing
    )


async def declare(
    js: JetStreamContext,
    workspace: str = "default",
    *,
    pools: tuple[str, ...] = (DEFAULT_POOL,),
    agents: tuple[str, ...] = (),
    replicas: int = 1,
    ack_wait_s: float = 0.0,
) -> None:
    """Make every stream and durable consumer, or bring them to what the catalog says.

    Args:
        js: The bus, as a user who may.
        workspace: Whose durables.
        pools: The pools that commands may be sent to.
        agents: The workers that commands may be sent to by name.
        replicas: Copies of each stream.
        ack_wait_s: Instead of each durable's own, if not 0; services must be told the same.
    """
    for stream in Stream:
        await _upsert(js, stream_config(stream, replicas))
    for event in EVENTS:
        for durable in event.durables:
            named = agents if event.by_name(durable.service) else ()
            for pool in (*pools, *named) if "pool" in event.tokens else (DEFAULT_POOL,):
                tokens = {"pool": pool} if "pool" in event.tokens else {}
                await js.add_consumer(
                    event.stream,
                    ConsumerConfig(
                        durable_name=event.durable_name(durable.service, workspace, pool),
                        filter_subject=event.subject(workspace, **tokens),
                        ack_policy=AckPolicy.EXPLICIT,
                        deliver_policy=DeliverPolicy.ALL,
                        ack_wait=durable.waiting(ack_wait_s).ack_wait_s,
                        max_deliver=durable.max_deliver,
                        max_ack_pending=durable.max_ack_pending,
                    ),
                )
    for service in catalog.SERVICES:
        await js.add_consumer(
            Stream.WORK,
            ConsumerConfig(
                durable_name=catalog.retry_durable(workspace, service),
                filter_subject=catalog.retry_subject(workspace, service, "*"),
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=catalog.RETRY.waiting(ack_wait_s).ack_wait_s,
                max_deliver=catalog.RETRY.max_deliver,
                max_ack_pending=catalog.RETRY.max_ack_pending,
            ),
        )
    await js.add_consumer(
        Stream.ADVISORIES,
        ConsumerConfig(
            durable_name=catalog.ADVISORY_DURABLE,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=30.0,
            max_deliver=-1,
        ),
    )


async def _upsert(js: JetStreamContext, config: StreamConfig) -> None:
    try:
        await js.stream_info(str(config.name))
    except NotFoundError:
        await js.add_stream(config)
    else:
        await js.update_stream(config)
