"""Publishing: commands, events and progress, as CloudEvents with trace context."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol

import nats.errors
import nats.js.errors
import structlog
from google.protobuf.message import Message
from nats.aio.client import Client

from loopline import tracing
from loopline.clock import Clock
from loopline.contracts import Agent, AgentReported, RunChanged, catalog, cloudevents
from loopline.contracts.catalog import Event
from loopline.errors import Transient
from loopline.failpoints import failpoint
from loopline.store.commits import timestamp
from loopline.store.logstore import EXPECTED_HEADER, PUBLISH_TIMEOUT_S, publish_error

log = structlog.get_logger()

ONLY_THE_LAST = {"Nats-Rollup": "sub"}
"""What was on the subject before is dropped: a report replaces the one before."""

current_event: ContextVar[str] = ContextVar("current_event", default="")
"""CloudEvents id of the message that is being handled, set by the runtime."""


current_command: ContextVar[Message | None] = ContextVar("current_command", default=None)
"""The command that is being handled, if it is one of `ASKED_AGAIN`, set by the runtime."""

ASKED_AGAIN = frozenset(
    event.key
    for event in (
        catalog.IMPORT_IMAGES, catalog.TRAIN_MODEL, catalog.APPLY_MODEL, catalog.EVALUATE_MODEL
    )
)  # fmt: skip
"""What people ask for, and may ask for again: a run that fails or is stopped commits nothing that
would say what it was."""
COMMAND_BYTES_MAX = 32_768  # that a report carries


class Outlet(Protocol):
    """Where published bytes go."""

    async def publish(
        self, subject: str, data: bytes, headers: Mapping[str, str], stream: str
    ) -> None:
        """Store the message.

        Transient if that is not confirmed, Conflict if an expectation fails.
        """
        ...


class JetStreamOutlet:
    """An `Outlet` on JetStream, each publish awaited."""

    def __init__(self, client: Client) -> None:
        self._js = client.jetstream(timeout=PUBLISH_TIMEOUT_S)

    async def publish(
        self, subject: str, data: bytes, headers: Mapping[str, str], stream: str
    ) -> None:
        """See `Outlet`."""
        try:
            await self._js.publish(subject, data, stream=stream, headers=dict(headers))
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
            raise publish_error(error, subject, 0) from error


class Bus:
    """What a service publishes with.

    Args:
        outlet: Where it goes.
        workspace: The workspace token of every subject.
        source: The CloudEvents source: "loopline/ingest".
        clock: Time.
        agent: Named in progress reports.
    """

    def __init__(
        self,
        outlet: Outlet,
        workspace: str,
        *,
        source: str,
        clock: Clock,
        agent: Agent | None = None,
    ) -> None:
        self._outlet = outlet
        self.workspace = workspace
        self._source = source
        self._clock = clock
        self._agent = agent

    async def send(
        self,
        event: Event[Any],
        message: Message,
        *,
        id: str = "",
        once: bool = False,
        **tokens: str,
    ) -> None:
        """Publish `message` and wait until it is stored.

        Args:
            event: Its row in the catalog.
            message: What to say.
            id: A deterministic id: the stream drops a second one within its window, and handlers
                are idempotent past it.
            once: Only if nothing was ever published on this subject (Conflict otherwise).
            **tokens: The subject's tokens; `pool` is "default" if left out.
        """
        tokens = {"pool": catalog.DEFAULT_POOL} | tokens if "pool" in event.tokens else tokens
        subject = event.subject(self.workspace, **tokens)
        with tracing.publishing(subject, event.key) as trace:
            headers, body = cloudevents.encode(
                message, source=self._source, time=self._clock.now(), id=id, trace=trace
            )
            if id:
                # The subject has the workspace, whose streams are those of every workspace.
                headers["Nats-Msg-Id"] = f"{subject}/{id}"
            if once:
                headers[EXPECTED_HEADER] = "0"
            failpoint("after_write")
            await self._outlet.publish(subject, body, headers, event.stream)
        failpoint("after_publish")

    async def report(self, changed: RunChanged) -> None:
        """Tell of a run's progress; a bus that does not answer is logged, not raised."""
        changed.at.CopyFrom(timestamp(self._clock))
        changed.command_id = changed.command_id or current_event.get()
        asked = current_command.get()
        if asked is not None and asked.ByteSize() <= COMMAND_BYTES_MAX:
            changed.command = asked.SerializeToString()
            changed.command_type = asked.DESCRIPTOR.full_name
        if self._agent is not None:
            changed.agent.CopyFrom(self._agent)
        subject = catalog.RUN_CHANGED.subject(self.workspace, run_id=changed.run_id)
        trace = {"traceparent": tracing.current_traceparent()}
        await self._tell(catalog.RUN_CHANGED, subject, changed, trace, {})

    async def announce(self, reported: AgentReported) -> None:
        """Tell what an agent is and does; it replaces what that agent told before."""
        subject = catalog.AGENT_REPORTED.subject(self.workspace, agent=reported.agent.id)
        await self._tell(catalog.AGENT_REPORTED, subject, reported, {}, ONLY_THE_LAST)

    async def _tell(
        self,
        event: Event[Any],
        subject: str,
        message: Message,
        trace: Mapping[str, str],
        more: Mapping[str, str],
    ) -> None:
        headers, body = cloudevents.encode(
            message, source=self._source, time=self._clock.now(), trace=trace
        )
        try:
            await self._outlet.publish(subject, body, {**headers, **more}, event.stream)
        except Transient as error:
            log.warning("report_lost", subject=subject, reason=error.message)
