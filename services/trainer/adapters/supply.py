"""Images brought to disk while a training goes on, in the order it needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from loopline.errors import LooplineError
from services.trainer.adapters.asset_cache import AssetCache
from services.trainer.adapters.process import TrainingProcess


class Supply:
    """Fetches within the block; what cannot be fetched ends the training, and is what is raised.

    Args:
        cache: Where they go.
        assets: In the order they are needed.
        process: The training; it waits for images that are on their way.
    """

    def __init__(self, cache: AssetCache, assets: Sequence[str], process: TrainingProcess) -> None:
        self._cache = cache
        self._assets = assets
        self._process = process
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to fetch."""
        self._task = asyncio.create_task(self._fetch(), name="image supply")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Stop; raise what kept an image from coming, since the training ended of that."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._error is not None and isinstance(error, LooplineError):
            raise self._error from None

    async def _fetch(self) -> None:
        try:
            await self._cache.fetch(self._assets)
        except Exception as error:  # a task's error would be seen too late
            self._error = error
            self._process.kill()
