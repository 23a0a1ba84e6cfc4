"""Asks whoever calls a service's HTTP API for a token, and knows which tokens were revoked."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Annotated

import structlog
from fastapi import Header
from pydantic import SecretStr

from loopline.access.callers import Caller, local_caller
from loopline.access.revocations import Revocations
from loopline.access.tokens import KeySet, TokenVerifier
from loopline.clock import Clock
from loopline.errors import LooplineError, Unauthenticated
from loopline.store.commits import CommitLog

log = structlog.get_logger()

BEARER = "bearer"
REVOCATIONS_READ_S = 1.0  # a revoked token is good for this long at most


class AccessGuard:
    """Who may call a service.

    With neither keys nor an API token configured everybody may do everything: such a service must
    listen on loopback alone.

    Args:
        commits: The log, where revocations are.
        keys: JWK set of the keys whose tokens are good, as JSON or the path of a file; "" if
            tokens are not used.
        api_token: The machine's own key: whoever shows it may do everything. "" for none.
        clock: Time.
    """

    def __init__(self, commits: CommitLog, keys: str, api_token: SecretStr, clock: Clock) -> None:
        self._api_token = api_token.get_secret_value()
        self.revocations = Revocations(commits)
        self.verifier: TokenVerifier | None = None
        if keys:
            self.verifier = TokenVerifier(
                KeySet.of_setting(keys),
                commits.workspace,
                revoked=self.revocations.__contains__,
                clock=clock,
            )
        self._following: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether no token is asked for."""
        return self.verifier is None and not self._api_token

    async def start(self) -> None:
        """Read what was revoked, and follow what will be."""
        if self.verifier is not None:
            with contextlib.suppress(LooplineError):  # the bus is away: read soon
                await self.revocations.refresh()
            self._following = asyncio.create_task(self._follow(), name="follow revocations")

    async def stop(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    def caller(self, authorization: str) -> Caller:
        """Return who calls.

        Args:
            authorization: The `Authorization` header, or gRPC metadata of that name; "" if none.

        Raises:
            Unauthenticated: A token is needed, or the one that was shown is not good.
        """
        if self.is_open:
            return local_caller()
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != BEARER or not token:
            raise Unauthenticated("a bearer token is needed")
        if self._api_token and secrets.compare_digest(token.encode(), self._api_token.encode()):
            return local_caller()
        if self.verifier is None:
            raise Unauthenticated("the bearer token is not good")
        return self.verifier.verify(token)

    def require(self, scope: str) -> Callable[[str], Caller]:
        """Return a FastAPI dependency: who calls, if they may do what needs `scope`.

        401 without a good token, 403 with one that may not.
        """

        def check(authorization: Annotated[str, Header()] = "") -> Caller:
            return self.caller(authorization).require(scope)

        return check

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(REVOCATIONS_READ_S)
            try:
                await self.revocations.refresh()
            except LooplineError as error:
                log.warning("revocations_not_read", reason=error.message)
