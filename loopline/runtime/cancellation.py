"""Stopping work that was asked for: `CancelRun` reaches whichever agent has the run.

A cancellation is kept on EVENTS and looked up, so it also reaches an agent that takes the run up
later, and one that was away for a moment. It stops what was asked for before it and nothing asked
for after it, by the server's clock: a run that is asked for again has the same id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

import structlog

from loopline.contracts import CancelRun, catalog
from loopline.digests import sha256_hex
from loopline.errors import Cancelled, Transient
from loopline.runtime.processing import Delivery
from loopline.store.logstore import LogStore

POLL_S: Final = 1.0
"""How often a run that goes on is looked up: one direct get, 0.6 ms."""

log = structlog.get_logger()
T = TypeVar("T")


def command_token(command_id: str) -> str:
    """Return the subject token of a run that is known by its command alone."""
    return sha256_hex(command_id.encode())


class Cancellations:
    """Looks up whether runs were cancelled.

    Args:
        events: The stream EVENTS.
        workspace: Whose runs.
        poll_s: How often a run that goes on is looked up.
    """

    def __init__(self, events: LogStore, workspace: str, poll_s: float = POLL_S) -> None:
        self._events = events
        self._workspace = workspace
        self._poll_s = poll_s

    async def asked(self, run_id: str, delivery: Delivery) -> CancelRun | None:
        """Return the cancellation of the run that this delivery asked for; None if there is none.

        Work in chunks asks once a chunk.
        """
        for token in (run_id, command_token(delivery.event_id)):
            subject = catalog.CANCEL_RUN.subject(self._workspace, run_id=token)
            for record in await self._events.last(subject):
                if _is_after(record.headers, delivery.stored_at):
                    return CancelRun.FromString(record.data)
        return None

    async def unless_cancelled(
        self, run_id: str, delivery: Delivery, work: Coroutine[Any, Any, T]
    ) -> T:
        """Do the work; cancel it as soon as someone asks for that.

        Raises:
            Cancelled: Someone did. The work has ended by then, its `finally` blocks included.
        """
        task = asyncio.ensure_future(work)
        try:
            while True:
                if (cancel := await self._asked(run_id, delivery)) is not None:
                    break
                done, _ = await asyncio.wait([task], timeout=self._poll_s)
                if done:
                    return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        raise Cancelled(_reason(cancel), run_id=run_id)

    async def _asked(self, run_id: str, delivery: Delivery) -> CancelRun | None:
        try:
            return await self.asked(run_id, delivery)
        except Transient as error:  # a bus that is away must not end the work
            log.warning("cancellation_unknown", run_id=run_id, reason=error.message)
            return None


def _is_after(headers: Mapping[str, str], stored_at: datetime | None) -> bool:
    stamp = headers.get("Nats-Time-Stamp", "")
    return not stamp or stored_at is None or datetime.fromisoformat(stamp) > stored_at


def _reason(cancel: CancelRun) -> str:
    by = f" by {cancel.actor.name}" if cancel.actor.name else ""
    return f"cancelled{by}" + (f": {cancel.reason}" if cancel.reason else "")
