"""The loop for long work: fetch what there is room for, heartbeat while it runs, drain on stop.

FastStream serves short reactions; this serves commands whose work takes seconds to hours (FACTS: it
has heartbeats, term with a reason and a bounded drain, which FastStream 0.7 has not).
"""

from __future__ import annotations

import asyncio
import contextlib

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
    """Pulls one durable consumer and runs at most `concurrency` messages at once."""

    def __init__(
        self, client: Client, processor: Processor | Retries, durable_name: str, concurrency: int
    ) -> None:
        self._js = client.jetstream()
        self._flush = client.flush
        self._processor = processor
        self._durable_name = durable_name
        self._slots = asyncio.Semaphore(concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._subscription: JetStreamContext.PullSubscription | None = None

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
        """Take the open pull request back, or a message handed back below would come right here."""
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()
                await self._flush()

    async def _pull(self) -> None:
        while not self._stopping.is_set():
            await self._slots.acquire()
            try:
                if self._subscription is None:
                    stream = self._processor.stream
                    self._subscription = await self._js.pull_subscribe_bind(
                        durable=self._durable_name, stream=stream
                    )
                [message] = await self._subscription.fetch(1, timeout=FETCH_WAIT_S)
            except TimeoutError:
                self._slots.release()
                continue
            except (nats.errors.Error, nats.js.errors.Error) as error:
                self._slots.release()
                log.warning("pull_failed", durable=self._durable_name, reason=repr(error))
                self._subscription = None
                await asyncio.sleep(RETRY_S)
                continue
            except asyncio.CancelledError:
                self._slots.release()
                raise
            task = asyncio.create_task(self._run(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

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
