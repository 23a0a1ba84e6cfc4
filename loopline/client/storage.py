"""`client.storage`: what is stored against what the log reaches."""

from __future__ import annotations

from datetime import timedelta

from loopline.client.session import Session
from loopline.contracts.catalog import COMMITS
from loopline.store import fsck
from loopline.store.fsck import FsckReport, GcReport


class StorageVerbs:
    """Checks of the platform's object storage."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def fsck(self, *, deep: bool = False) -> FsckReport:
        """Find objects that are missing, corrupt (if `deep`: all are read) or garbage."""
        commits = [commit async for commit in self._session.log.read(COMMITS)]
        return await fsck.fsck(commits, self._session.objects, deep=deep)

    async def gc(self, *, dry_run: bool = True, grace_days: float = 7.0) -> GcReport:
        """Remove garbage older than `grace_days`, or say what would be removed."""
        commits = [commit async for commit in self._session.log.read(COMMITS)]
        return await fsck.gc(
            commits, self._session.objects, dry_run=dry_run, grace=timedelta(days=grace_days)
        )
