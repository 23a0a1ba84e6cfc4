"""Waiting for what other processes bring about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

POLL_S: Final = 0.02
T = TypeVar("T")


@dataclass(frozen=True)
class Waiting:
    """Asks until an answer says something.

    Args:
        timeout_s: How long.
    """

    timeout_s: float

    async def __call__(self, ask: Callable[[], Awaitable[T | None]]) -> T:
        """Return the first answer that says something; TimeoutError if none does."""
        async with asyncio.timeout(self.timeout_s):
            while not (answer := await ask()):
                await asyncio.sleep(POLL_S)
            return answer
