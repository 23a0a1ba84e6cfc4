"""A look, now and then, at whether a training that is shared can still go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import structlog

from loopline.errors import LooplineError

POLL_S: Final = 1.0

log = structlog.get_logger()


async def watch(ask: Callable[[], Awaitable[LooplineError | None]]) -> NoReturn:
    """Look until something is wrong, and raise that.

    Args:
        ask: Returns what is wrong, if something is.

    Raises:
        LooplineError: What is wrong.
    """
    while True:
        error = None
        try:
            error = await ask()
        except Exception:  # of ours: a watch that ends unseen is none
            log.exception("watch_failed")
        if error is not None:
            raise error
        await asyncio.sleep(POLL_S)
