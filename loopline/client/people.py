"""`client.user` and `client.token`: who may use the platform, through the console's API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loopline.client.jobs import Json, JsonList
from loopline.client.session import Session
from loopline.names import validate_name


class UserVerbs:
    """What an admin can do with users. Answers are the JSON of the console's API."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list(self) -> JsonList:
        """Return everybody."""
        return list((await self._call("GET", "/api/users"))["users"])

    async def add(
        self, name: str, role: str = "viewer", *, email: str = "", password: str = ""
    ) -> Json:
        """Add a person: viewer, labeler, reviewer, operator or admin.

        Raises:
            Rejected: There is a person of that name, or the password is too short.
        """
        body = {"name": name, "role": role, "email": email, "password": password}
        return await self._call("POST", "/api/users", json=body)

    async def change(
        self, name: str, *, role: str = "", password: str = "", disabled: bool | None = None
    ) -> Json:
        """Change a person's role or password, or let nobody sign in as that person."""
        given = {"role": role, "password": password}
        body: Json = {key: value for key, value in given.items() if value}
        if disabled is not None:
            body["is_disabled"] = disabled
        return await self._call("PATCH", f"/api/users/{validate_name('user', name)}", json=body)

    async def remove(self, name: str) -> None:
        """Remove a person, with sessions and tokens."""
        await self._call("DELETE", f"/api/users/{validate_name('user', name)}")

    async def link(self, name: str) -> str:
        """Return a link that signs a person in, once, within an hour."""
        path = f"/api/users/{validate_name('user', name)}/link"
        return str((await self._call("POST", path))["url"])

    async def _call(self, method: str, path: str, **kwargs: Any) -> Json:
        return await _call(self._session, method, path, **kwargs)


class TokenVerbs:
    """What can be done with tokens for programs. Answers are the JSON of the console's API."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list(self) -> JsonList:
        """Return everybody's tokens, the newest first; never their secrets."""
        path = "/api/tokens?everybody=true"
        return list((await _call(self._session, "GET", path))["tokens"])

    async def create(
        self, label: str, scopes: Sequence[str], *, user: str = "", days: float = 90
    ) -> Json:
        """Make a token; its `secret` is in the answer, and nowhere else.

        Args:
            label: For people.
            scopes: "read", "label", "review", "operate", "admin", "predict:<model>", "predict:*".
            user: Whose; the machine's own if empty.
            days: How long it is good.
        """
        body = {"label": label, "scopes": list(scopes), "owner": user, "lifetime_days": days}
        return await _call(self._session, "POST", "/api/tokens", json=body)

    async def revoke(self, token: str) -> None:
        """Revoke a token by its id: no service takes it any more, a second later."""
        await _call(self._session, "DELETE", f"/api/tokens/{token}")


async def _call(session: Session, method: str, path: str, **kwargs: Any) -> Json:
    response = await session.http(session.settings.console_http, method, path, **kwargs)
    answer: Json = response.json() if response.content else {}
    return answer
