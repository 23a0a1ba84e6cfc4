"""Following aliases and flows: every process sees every move, first the last one of each, then all.

A durable consumer would give each move to one process; this is a reader of the process's own.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog

from loopline.contracts import AliasMoved, FlowCommitted
from loopline.contracts.catalog import ALIAS_MOVED, FLOW_COMMITTED
from loopline.store.commits import CommitLog, Committed
from loopline.store.log_reader import LogReader
from services.inference.adapters.models.declarations import Declarations
from services.inference.adapters.models.repository import ModelRepository
from services.inference.domain.model import AliasTarget, VersionKey
from services.inference.domain.rollout import Rollout

FIRST_LOADS_S: Final = 30.0
"""How long a start waits for the targets of aliases; slower ones go on in the background."""

log = structlog.get_logger()


class AliasFollower:
    """Keeps a repository where the aliases are, and what the flows declare.

    Args:
        commits: Read once for where the aliases are.
        reader: Read from there on, for ever; None to follow no further, but by `catch_up`.
        repository: What is kept.
        declarations: What the flows declare, kept too.
    """

    def __init__(
        self,
        commits: CommitLog,
        reader: LogReader | None,
        repository: ModelRepository,
        declarations: Declarations,
    ) -> None:
        self._declarations = declarations
        self._commits = commits
        self._reader = reader
        self._repository = repository
        self._tasks: set[asyncio.Task[None]] = set()
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load what the aliases point to, then follow."""
        # Read before the heads, so that nothing lies between; what is read twice changes nothing.
        after = await self._commits.store.last_sequence()
        await self.catch_up()
        if self._reader is not None:
            self._following = asyncio.create_task(self._follow(self._reader, after))

    async def catch_up(self) -> None:
        """Load what the aliases point to now; returns when that is done or takes too long."""
        for flow in await self._commits.heads(FLOW_COMMITTED):
            await self._declarations.follow(flow)
        heads = await self._commits.heads(ALIAS_MOVED)
        tasks = [self._begin(head) for head in heads]
        if tasks:
            await asyncio.wait(tasks, timeout=FIRST_LOADS_S)

    async def stop(self) -> None:
        """Follow no longer."""
        tasks = [*self._tasks, *([self._following] if self._following else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, reader: LogReader, after: int) -> None:
        async for batch in reader.read(after):
            for committed in batch.commits:
                if isinstance(committed.message, FlowCommitted):
                    await self._declarations.follow(committed)
                else:
                    self._begin(committed)

    def _begin(self, committed: Committed[Any]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._repository.follow(alias_target(committed)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def alias_target(committed: Committed[AliasMoved]) -> AliasTarget:
    """Return where an alias points from a commit on."""
    message = committed.message
    key = VersionKey(message.model, message.target.version)
    rollout = None
    if message.HasField("rollout"):
        second = message.rollout.candidate
        rollout = Rollout(
            VersionKey(message.model, second.version),
            second.digest,
            message.rollout.canary,
            message.rollout.shadow,
        )
    digest = message.target.digest
    return AliasTarget(message.model, message.alias, key, digest, committed.sequence, rollout)
