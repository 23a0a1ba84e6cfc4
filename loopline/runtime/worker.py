"""The loop for long work: fetch what there is room for, heartbeat while it runs, drain on stop.

FastStream serves short reactions; this serves commands whose work takes seconds to hours (FACTS: it
has heartbeats, term with a reason and a bounded drain, which FastStream 0.7 has not).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.client import JetStreamContext

from loopline.runtime.processing import Processor, Retries

log = structlog.get_logger()

FETCH_WAIT_S = 5.0  # a pull request without messages is renewed this often
RETRY_S = 1.0  # after the bus did not answer
HEARTBEATS_PER_ACK_WAIT = 3


class Worker:
    """Pulls durable consumers and runs at most `concurrency` messages at once.

    Args:
        client: The bus.
        processor: What handles a message.
        durable_names: The durables of one event: a pool's, and that of commands by name.
        concurrency: Messages at once, over all of them.
        is_free: Whether a message would be handled at once; while it would not, it is left to other
            processes.
    """

    def __init__(
        self,
        client: Client,
        processor: Processor | Retries,
        durable_names: Sequence[str],
        concurrency: int,
        is_free: Callable[[], bool] = lambda: True,
    ) -> None:
        self._is_free = is_free
        self._js = client.jetstream()
        self._flush = client.flush
        self._processor = processor
        self._durable_names = tuple(durable_names)
        self._durable_name = self._durable_names[0]
        self._slots = asyncio.Semaphore(concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._subscriptions: dict[str, JetStreamContext.PullSubscription] = {}

    @property
    def in_flight(self) -> int:
        """Messages being handled now."""
        return len(self._tasks)

    def start(self) -> None:
        """Begin to pull."""
        self._loop_task = asyncio.create_task(self._pull(), name=f"pull {self._durable_name}")

    async def stop(self, drain_s: float) -> None:
        """Take nothing new, let what runs finish for `drain_s`, hand the rest back."""
        self._stopping.set()
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        await self._withdraw()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=drain_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _withdraw(self) -> None:
        """Take open pull requests back, or a message handed back below would come right here."""
        subscriptions, self._subscriptions = self._subscriptions, {}
        with contextlib.suppress(nats.errors.Error):
            for subscription in subscriptions.values():
                await subscription.unsubscribe()
            await self._flush()

    async def _pull(self) -> None:
        while not self._stopping.is_set():
            await self._slots.acquire()
            try:
                message = await self._next_when_free()
            except TimeoutError:
                self._slots.release()
                continue
            except (nats.errors.Error, nats.js.errors.Error) as error:
                self._slots.release()
                log.warning("pull_failed", durable=self._durable_name, reason=repr(error))
                self._subscriptions = {}
                await asyncio.sleep(RETRY_S)
                continue
            except asyncio.CancelledError:
                self._slots.release()
                raise
            task = asyncio.create_task(self._run(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _next_when_free(self) -> Msg:
        while not self._is_free():
            await asyncio.sleep(RETRY_S)
        message = await self._next()
        if not self._is_free():  # something else began meanwhile
            await message.nak()
            raise TimeoutError
        return message

    async def _next(self) -> Msg:
        """Return the next message of whichever durable has one; TimeoutError if none has."""
        for name in self._durable_names:
            if name not in self._subscriptions:
                self._subscriptions[name] = await self._js.pull_subscribe_bind(
                    durable=name, stream=self._processor.stream
                )
        if len(self._subscriptions) > 1:
            return await self._first()
        [subscription] = self._subscriptions.values()
        [message] = await subscription.fetch(1, timeout=FETCH_WAIT_S)
        return message

    async def _first(self) -> Msg:
        """Ask every durable at once; as soon as one answers, take the other requests back."""
        pulls = [
            asyncio.create_task(subscription.fetch(1, timeout=FETCH_WAIT_S))
            for subscription in self._subscriptions.values()
        ]
        try:
            await asyncio.wait(pulls, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pull in pulls:
                pull.cancel()
            answers = await asyncio.gather(*pulls, return_exceptions=True)
            await self._withdraw()
        messages = [message for a in answers if isinstance(a, list) for message in a]
        for late in messages[1:]:
            await late.nak()
        if messages:
            return messages[0]
        raise next((a for a in answers if isinstance(a, nats.errors.Error)), TimeoutError())

    async def _run(self, message: Msg) -> None:
        heartbeat = asyncio.create_task(self._heartbeat(message))
        try:
            await self._processor.process(message)
        except asyncio.CancelledError:
            with contextlib.suppress(nats.errors.Error):
                await message.nak()
            raise
        except (nats.errors.Error, nats.js.errors.Error) as error:
            # The outcome could not be told; the message comes again and finds its work done.
            log.warning("settle_failed", durable=self._durable_name, reason=repr(error))
        finally:
            heartbeat.cancel()
            self._slots.release()

    async def _heartbeat(self, message: Msg) -> None:
        interval_s = self._processor.durable.ack_wait_s / HEARTBEATS_PER_ACK_WAIT
        while True:
            await asyncio.sleep(interval_s)
            with contextlib.suppress(nats.errors.Error):
                await message.in_progress()
