"""A look, now and then, at whether a training that is shared can still go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import structlog

from loopline.errors import LooplineError
from services.trainer.adapters.process import TrainingProcess

POLL_S: Final = 1.0

log = structlog.get_logger()


class Watch:
    """Looks within the block; what is wrong ends the process, and is what is raised.

    Args:
        ask: Returns what is wrong, if something is.
        process: This agent's part of the training.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[LooplineError | None]],
        process: TrainingProcess,
    ) -> None:
        self._ask = ask
        self._process = process
        self._error: LooplineError | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to look."""
        self._task = asyncio.create_task(self._look(), name="watch over a team")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Stop; raise what was wrong, since the process ended of that."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._error is not None and isinstance(error, LooplineError):
            raise self._error from None

    async def _look(self) -> None:
        while self._error is None:
            try:
                self._error = await self._ask()
            except Exception:  # of ours: a watch that ends unseen is none
                log.exception("watch_failed")
            if self._error is None:
                await asyncio.sleep(POLL_S)
        self._process.kill()
