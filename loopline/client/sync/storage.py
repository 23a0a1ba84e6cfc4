"""`client.storage`: what is stored against what the log reaches.

Generated from `loopline.client.storage` by `python -m loopline.client.generate`; do not edit.
"""

from __future__ import annotations

from loopline.client import storage as _storage
from loopline.client.portal import Portal
from loopline.store.fsck import FsckReport, GcReport


class StorageVerbs:
    """Checks of the platform's object storage."""

    def __init__(self, portal: Portal, client: _storage.StorageVerbs) -> None:
        self._portal = portal
        self._client = client

    def fsck(self, *, deep: bool = False) -> FsckReport:
        """Find objects that are missing, corrupt (if `deep`: all are read) or garbage."""
        return self._portal.call(self._client.fsck(deep=deep))

    def gc(self, *, dry_run: bool = True, grace_days: float = 7.0) -> GcReport:
        """Remove garbage older than `grace_days`, or say what would be removed."""
        return self._portal.call(self._client.gc(dry_run=dry_run, grace_days=grace_days))
