"""From a message to a handler and back: decode, trace, time, and settle (ack, nak, term).

Both loops (FastStream for short reactions, `worker` for long work) end here, so a message means the
same in each. Poison is dead-lettered with its reason and never blocks a queue.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog
from google.protobuf.message import Message
from nats.aio.msg import Msg
from opentelemetry import metrics

from loopline import tracing
from loopline.contracts import catalog, cloudevents
from loopline.contracts.catalog import BACKOFF_S, Durable, Event
from loopline.errors import Cancelled, LooplineError, Rejected, Transient
from loopline.failpoints import current_handler
from loopline.runtime.bus import ASKED_AGAIN, current_command, current_event

log = structlog.get_logger()

HANDLER_BUCKETS_S = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0),
)
"""From a reaction to a training; OpenTelemetry's own are for milliseconds."""

_meter = metrics.get_meter("loopline")
_duration = _meter.create_histogram(
    "loopline_handler_duration",
    unit="s",
    description="Time to handle one message.",
    explicit_bucket_boundaries_advisory=HANDLER_BUCKETS_S,
)
_redelivered = _meter.create_counter(
    "loopline_handler_redeliveries", description="Messages that came a second time or later."
)

Handler = Callable[[Any, "Delivery"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a handler may know of the message beside its body."""

    event_id: str
    source: str
    subject: str
    sequence: int
    attempt: int
    traceparent: str = ""
    stored_at: datetime | None = None
    """When the bus stored it, by the server's clock; None where that is not known."""


class DeadLetters(Protocol):
    """Where messages go that nobody could handle."""

    async def bury(self, message: Msg, event: Event[Any], reason: str, attempt: int) -> None:
        """Store the message with the reason; idempotent by its stream sequence."""
        ...


class Processor:
    """Handles the messages of one event for one service.

    Args:
        event: The catalog's row.
        durable: The consumer's limits.
        handler: `async (message, delivery) -> None`.
        dead: Where poison goes.
        retry_delay_max_s: Upper bound of the delay before a failed message is handled again.
    """

    def __init__(
        self,
        event: Event[Any],
        durable: Durable,
        handler: Handler,
        dead: DeadLetters,
        retry_delay_max_s: float = BACKOFF_S[-1],
    ) -> None:
        self.event = event
        self.durable = durable
        self._handler = handler
        self._dead = dead
        self._retry_delay_max_s = retry_delay_max_s
        _redelivered.add(0, {"event": event.key})  # told from the start: a rate needs a zero

    @property
    def stream(self) -> catalog.Stream:
        """Where the messages are."""
        return self.event.stream

    async def process(self, message: Msg) -> None:
        """Handle one message and settle it. Never raises but for cancellation."""
        current_handler.set(f"on_{self.event.key}")
        headers = message.headers or {}
        current_event.set(headers.get("ce-id", ""))
        started = time.perf_counter()
        attempt = message.metadata.num_delivered
        trace = cloudevents.trace_context(message.headers, message.data)
        with tracing.handling(self.event.key, message.subject, trace) as span:
            try:
                delivery, body = self._decode(message)
                current_event.set(delivery.event_id)
                current_command.set(body if self.event.key in ASKED_AGAIN else None)
                await self._handler(body, delivery)
            except Exception as error:
                outcome, reason = await self._settle(message, error, attempt), str(error)
                tracing.failed(span, reason)
                # A bug of ours needs its traceback; an error of the tree says all in its message.
                unexpected = not isinstance(error, LooplineError)
                log_outcome = log.error if unexpected else log.warning
            else:
                await message.ack()
                outcome, reason, unexpected, log_outcome = "done", "", False, log.info
            seconds = time.perf_counter() - started
            log_outcome(
                "message_handled",
                event_key=self.event.key,
                event_id=current_event.get(),
                subject=message.subject,
                outcome=outcome,
                attempt=attempt,
                duration_ms=round(seconds * 1000, 1),
                **({"reason": reason} if reason else {}),
                exc_info=unexpected,
            )
        _duration.record(seconds, {"event": self.event.key, "outcome": outcome})
        if attempt > 1:
            _redelivered.add(1, {"event": self.event.key})

    def _decode(self, message: Msg) -> tuple[Delivery, Message]:
        envelope = cloudevents.decode(message.headers, message.data, self.event.message)
        meta = message.metadata
        delivery = Delivery(
            event_id=envelope.id,
            source=envelope.source,
            subject=message.subject,
            sequence=int(
                (message.headers or {}).get("Loopline-Dead-Sequence", meta.sequence.stream)
            ),
            attempt=meta.num_delivered,
            traceparent=envelope.traceparent,
            stored_at=meta.timestamp,
        )
        return delivery, envelope.message

    async def _settle(self, message: Msg, error: Exception, attempt: int) -> str:
        """Decide a failed message's fate; return the outcome's name."""
        if isinstance(error, Cancelled):
            await message.ack()
            return "cancelled"
        if isinstance(error, Rejected) or attempt >= self.durable.max_deliver:
            try:
                await self._dead.bury(message, self.event, describe(error), attempt)
            except LooplineError:
                await message.nak(delay=BACKOFF_S[0])
                return "dead_letter_failed"
            await terminate(message, describe(error))
            return "rejected" if isinstance(error, Rejected) else "exhausted"
        delay = min(BACKOFF_S[min(attempt, len(BACKOFF_S)) - 1], self._retry_delay_max_s)
        if isinstance(error, Transient) and error.retry_after_s is not None:
            delay = error.retry_after_s
        await message.nak(delay=delay)
        return "retry"


class Retries:
    """Handles retried reactions of one service: the subject's last token says which.

    Args:
        processors: The service's reactions to commits, by event key.
        durable: The consumer's limits.
    """

    stream = catalog.Stream.WORK

    def __init__(
        self, processors: Mapping[str, Processor], durable: Durable = catalog.RETRY
    ) -> None:
        self._processors = processors
        self.durable = durable

    async def process(self, message: Msg) -> None:
        """Hand the message to the handler it died in; one that is gone terminates it."""
        key = message.subject.rpartition(".")[2]
        processor = self._processors.get(key)
        if processor is None:
            await terminate(message, f"no handler of {key} here")
        else:
            await processor.process(message)


def describe(error: Exception) -> str:
    """Return one line that says what went wrong."""
    text = error.message if isinstance(error, LooplineError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:1000]


async def terminate(message: Msg, reason: str) -> None:
    """Tell the server never to deliver the message again, and why."""
    await message._client.publish(message.reply, f"+TERM {reason}".encode())
    message._ackd = True


class StreamDeadLetters:
    """Dead letters on the stream DEAD."""

    def __init__(self, outlet: Any, workspace: str, service: str) -> None:
        self._outlet = outlet
        self._workspace = workspace
        self._service = service

    async def bury(self, message: Msg, event: Event[Any], reason: str, attempt: int) -> None:
        """See `DeadLetters`."""
        meta = message.metadata
        headers = {
            **{k: v for k, v in (message.headers or {}).items() if not k.startswith("Nats-")},
            "Loopline-Dead-Reason": reason,
            "Loopline-Dead-Stream": meta.stream,
            "Loopline-Dead-Sequence": str(meta.sequence.stream),
            "Loopline-Dead-Subject": message.subject,
            "Loopline-Dead-Consumer": meta.consumer,
            "Loopline-Dead-Attempts": str(attempt),
            "Nats-Msg-Id": f"dead/{meta.stream}/{meta.sequence.stream}/{meta.consumer}",
        }
        subject = catalog.dead_subject(self._workspace, self._service, event.key)
        await self._outlet.publish(subject, message.data, headers, catalog.Stream.DEAD)
