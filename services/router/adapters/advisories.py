"""The server's advisories of exhausted deliveries, and the messages they are about.

The stream ADVISORIES keeps what nats-server says; one durable hands it to whichever router process
is free. An advisory names stream and sequence; the message itself stays where
it is, so on a work queue it must be removed once its copy is among the dead.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import RawStreamMsg

from loopline.contracts import catalog
from loopline.contracts.catalog import Stream
from loopline.errors import LooplineError, Rejected, Transient
from loopline.runtime.bus import Outlet
from loopline.store.deadletters import remove_message
from services.router.domain.advisories import Exhausted, handler_of

FETCH_WAIT_S = 5.0
RETRY_S = 5.0
QUEUES = (Stream.WORK, Stream.RELABEL)
_LOST = (nats.errors.Error, nats.js.errors.Error, TimeoutError)

log = structlog.get_logger(__name__)


class Advisories:
    """Follows the stream ADVISORIES.

    Args:
        client: The bus.
        handle: Gets the body of each advisory; what it raises decides whether it comes again.
    """

    def __init__(self, client: Client, handle: Callable[[bytes], Awaitable[None]]) -> None:
        self._js = client.jetstream()
        self._handle = handle
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.create_task(self._follow(), name="advisories")

    async def stop(self) -> None:
        """Stop following; an advisory in flight comes again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            try:
                subscription = await self._js.pull_subscribe_bind(
                    durable=catalog.ADVISORY_DURABLE, stream=Stream.ADVISORIES
                )
                while True:
                    with contextlib.suppress(TimeoutError):
                        for message in await subscription.fetch(1, timeout=FETCH_WAIT_S):
                            await self._settle(message)
            except _LOST as error:
                log.warning("advisories_lost", reason=repr(error))
                await asyncio.sleep(RETRY_S)

    async def _settle(self, message: Msg) -> None:
        try:
            await self._handle(message.data)
        except Rejected as error:
            log.warning("advisory_refused", reason=error.message)
            await message.ack()
        except Exception as error:  # whatever it is, the next advisory must be heard
            unexpected = not isinstance(error, LooplineError)
            log.warning("advisory_retried", reason=str(error), exc_info=unexpected)
            await message.nak(delay=RETRY_S)
        else:
            await message.ack()


class Morgue:
    """Moves messages that exhausted their deliveries to the stream DEAD.

    Args:
        client: The bus.
        outlet: Publishes the copy.
    """

    def __init__(self, client: Client, outlet: Outlet) -> None:
        self._js = client.jetstream()
        self._outlet = outlet

    async def move(self, exhausted: Exhausted) -> bool:
        """Copy the message to DEAD and take it off its queue; False if it is gone already.

        The copy's id is the one the runtime gives to what it buries, so that a message both have
        seen is buried once.

        Raises:
            Transient: The bus does not answer.
        """
        found = await self._find(exhausted)
        if found is None:
            return False
        subject, headers = obituary(exhausted, found.subject or "", found.headers or {})
        await self._outlet.publish(subject, found.data or b"", headers, Stream.DEAD)
        if exhausted.stream in QUEUES:
            await remove_message(self._js, exhausted.stream, exhausted.sequence)
        return True

    async def _find(self, exhausted: Exhausted) -> RawStreamMsg | None:
        try:
            return await self._js.get_msg(exhausted.stream, exhausted.sequence)
        except nats.js.errors.NotFoundError:
            return None
        except _LOST as error:
            raise Transient(f"the message cannot be read: {error!r}") from error


def obituary(
    exhausted: Exhausted, subject: str, headers: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """Return the dead letter's subject and headers.

    Raises:
        Rejected: The consumer is none of the catalog's.
    """
    workspace = subject.split(".")[1] if subject.count(".") else ""
    handler = handler_of(exhausted.consumer, workspace)
    if handler is None:
        raise Rejected(
            f"{exhausted.consumer!r} is no consumer of ours; its message stays where it is",
            consumer=exhausted.consumer,
        )
    kept = {name: value for name, value in headers.items() if not name.startswith("Nats-")}
    return catalog.dead_subject(workspace, handler.service, handler.key), {
        **kept,
        "Loopline-Dead-Reason": exhausted.reason,
        "Loopline-Dead-Stream": exhausted.stream,
        "Loopline-Dead-Sequence": str(exhausted.sequence),
        "Loopline-Dead-Subject": subject,
        "Loopline-Dead-Consumer": exhausted.consumer,
        "Loopline-Dead-Attempts": str(exhausted.deliveries),
        "Nats-Msg-Id": f"dead/{exhausted.stream}/{exhausted.sequence}/{exhausted.consumer}",
    }
