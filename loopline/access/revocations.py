"""Which tokens were revoked: a set that follows the log."""

from __future__ import annotations

from loopline.contracts import (
    AccessRevoked,
    Actor,
    ArtefactKind,
    ArtefactRef,
    Commit,
    RunKind,
    catalog,
)
from loopline.digests import digest_of
from loopline.store import runs
from loopline.store.commits import CommitLog, Committed, Unchanged


class Revocations:
    """The revoked tokens of a workspace.

    Args:
        log: The log.
    """

    def __init__(self, log: CommitLog) -> None:
        self._log = log
        self._revoked: set[str] = set()
        self._sequence = 0

    def __contains__(self, token_id: str) -> bool:
        return token_id in self._revoked

    async def refresh(self) -> None:
        """Read what was revoked since; Transient if the log cannot be read."""
        subject = catalog.ACCESS_REVOKED.subject(self._log.workspace)
        async for record in self._log.store.read([subject], self._sequence):
            self._revoked.add(AccessRevoked.FromString(record.data).token)
            self._sequence = record.sequence

    async def revoke(
        self, token_id: str, *, owner: str, by: str, reason: str = ""
    ) -> Committed[AccessRevoked]:
        """Commit that a token is not good any more; again changes nothing.

        Args:
            token_id: The token's id, a UUID.
            owner: Whose it was.
            by: Who revokes it.
            reason: Why, for people.
        """
        run = runs.new_run(
            RunKind.RUN_KIND_EDIT,
            parameters={"revoke": token_id},
            actor=Actor(kind="user", name=by),
            environment=runs.environment(""),
        )

        async def build(head: Committed[AccessRevoked] | None) -> AccessRevoked:
            if head is not None:
                raise Unchanged(f"the token {token_id} is revoked already")
            kind, digest = ArtefactKind.ARTEFACT_KIND_TOKEN, digest_of({"token": token_id})
            return AccessRevoked(
                commit=Commit(
                    artefact=ArtefactRef(kind=kind, name=token_id, digest=digest),
                    run=run,
                    summary=f"a token of {owner} was revoked",
                ),
                token=token_id,
                owner=owner,
                reason=reason,
            )

        committed = await self._log.commit(catalog.ACCESS_REVOKED, build, token=token_id)
        self._revoked.add(token_id)
        return committed
