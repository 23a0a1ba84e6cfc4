"""The loop for short reactions: FastStream over pre-declared durables.

FastStream pulls, fans out and keeps the connection; decoding and settling are ours (`processing`),
since its own would rewrite stream settings, ack on error and put raw subjects into metric names.
"""

from __future__ import annotations

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub

from loopline.runtime.processing import Processor

BATCH = 32  # messages handled at once per durable
PULL_TIMEOUT_S = 5.0


def subscribe(
    broker: NatsBroker,
    processor: Processor,
    subject: str,
    durable_name: str,
    inbox_prefix: bytes = b"_INBOX",
) -> None:
    """Add a subscriber that hands each message of the durable to `processor`."""
    subscriber = broker.subscriber(
        subject,
        stream=JStream(processor.stream, declare=False),
        durable=durable_name,
        # FastStream's own default here is not the connection's prefix, which permissions are made
        # for.
        inbox_prefix=inbox_prefix + b".",
        pull_sub=PullSub(batch_size=BATCH, timeout=PULL_TIMEOUT_S),
        ack_policy=AckPolicy.MANUAL,
        decoder=_whole,
        no_reply=True,
    )

    @subscriber  # type: ignore[untyped-decorator]
    async def handle(message: NatsMessage) -> None:
        await processor.process(message.raw_message)


async def _whole(message: NatsMessage) -> NatsMessage:
    """Leave the decoding to the processor.

    Without type injection a handler gets what this returns.
    """
    return message
