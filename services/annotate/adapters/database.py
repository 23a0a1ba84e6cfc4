"""Runs a piece of database work in a worker thread, its passing failures as ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from loopline.errors import Transient
from loopline.store.database import passes_by_itself

P = ParamSpec("P")
T = TypeVar("T")


async def in_database(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `work` returns.

    Raises:
        Transient: The database does not answer now.
    """
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except Exception as error:
        if passes_by_itself(error):
            raise Transient(f"annotate's database does not answer: {error}") from error
        raise
