"""The whole log in memory, found by what commits are named by: for proofs and for traces.

About 3 KB a commit; labels are most of them.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import Any

from loopline.contracts import ArtefactKind, ArtefactRef, LabelsSubmitted, catalog
from loopline.lineage.fragments import fragment_of, kind_of
from loopline.lineage.graph import Graph
from loopline.store.commits import CommitLog, Committed
from loopline.store.log_reader import Undecodable, decode

AnyCommitted = Committed[Any]


class Journal:
    """Commits in the order of the log.

    Args:
        commits: All of them.
        undecodable: Messages of the stream that are no commits.
    """

    def __init__(
        self, commits: list[AnyCommitted], undecodable: tuple[Undecodable, ...] = ()
    ) -> None:
        self.commits = commits
        self.undecodable = undecodable
        self._named: defaultdict[tuple[str, str], list[AnyCommitted]] = defaultdict(list)
        self._by_run: defaultdict[str, list[AnyCommitted]] = defaultdict(list)
        self._by_asset: defaultdict[str, list[Committed[LabelsSubmitted]]] = defaultdict(list)
        self._by_digest: dict[tuple[int, str], AnyCommitted] = {}
        for committed in commits:
            self._by_digest[committed.ref.kind, committed.ref.digest] = committed
            self._named[kind_of(committed.ref.kind), committed.ref.name].append(committed)
            self._by_run[committed.commit.run.id].append(committed)
            if isinstance(committed.message, LabelsSubmitted):
                self._by_asset[committed.message.asset].append(committed)

    @classmethod
    async def read(cls, log: CommitLog) -> Journal:
        """Read the log of a workspace to its end; what cannot be read is kept apart."""
        patterns = [event.subject(log.workspace) for event in catalog.COMMITS]
        read = [decode(record) async for record in log.store.read(patterns)]
        commits = [one for one in read if isinstance(one, Committed)]
        return cls(commits, tuple(one for one in read if isinstance(one, Undecodable)))

    @cached_property
    def graph(self) -> Graph:
        """The workflow graph of all commits."""
        return Graph(map(fragment_of, self.commits))

    def history(self, kind: str, name: str) -> list[AnyCommitted]:
        """Return the versions of an artefact, oldest first."""
        return self._named[kind, name]

    def names(self, kind: str) -> list[str]:
        """Return the names of the artefacts of a kind, sorted."""
        return sorted(name for known, name in self._named if known == kind)

    def version(
        self, kind: str, name: str, *, version: int = 0, digest: str = ""
    ) -> AnyCommitted | None:
        """Return the last version with this number and digest; 0 and "" match any."""
        for committed in reversed(self._named[kind, name]):
            if version in (0, committed.ref.version) and digest in ("", committed.ref.digest):
                return committed
        return None

    def named(self, ref: ArtefactRef) -> AnyCommitted | None:
        """Return the version that a reference names, or None."""
        return self.version(kind_of(ref.kind), ref.name, version=ref.version, digest=ref.digest)

    def with_digest(self, kind: ArtefactKind, digest: str) -> AnyCommitted | None:
        """Return the last version of any artefact of a kind with this digest."""
        return self._by_digest.get((kind, digest))

    def made_by(self, run_id: str) -> list[AnyCommitted]:
        """Return what a run committed."""
        return self._by_run.get(run_id, [])

    def submissions(self, asset: str) -> list[Committed[LabelsSubmitted]]:
        """Return what labelers submitted of an asset, oldest first."""
        return self._by_asset.get(asset, [])
