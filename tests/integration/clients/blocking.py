"""tritonclient's asyncio clients, called as its synchronous ones are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


class Blocking:
    """An asyncio client whose methods wait: one conversation is held with both kinds of client.

    Args:
        runner: What runs them, in one event loop.
        client: The asyncio client.
    """

    def __init__(self, runner: asyncio.Runner, client: Any) -> None:
        self._runner = runner
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *args, **kwargs: self._runner.run(_awaited(method(*args, **kwargs)))


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer
