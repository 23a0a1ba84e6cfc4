"""`client.user` and `client.token`: who may use the platform, through the console's API.

Generated from `loopline.client.people` by `python -m loopline.client.generate`; do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence

from loopline.client import people as _people
from loopline.client.jobs import Json, JsonList
from loopline.client.portal import Portal


class UserVerbs:
    """What an admin can do with users. Answers are the JSON of the console's API."""

    def __init__(self, portal: Portal, client: _people.UserVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self) -> JsonList:
        """Return everybody."""
        return self._portal.call(self._client.list())

    def add(self, name: str, role: str = "viewer", *, email: str = "", password: str = "") -> Json:
        """Add a person: viewer, labeler, reviewer, operator or admin.

        Raises:
            Rejected: There is a person of that name, or the password is too short.
        """
        return self._portal.call(self._client.add(name, role, email=email, password=password))

    def change(
        self, name: str, *, role: str = "", password: str = "", disabled: bool | None = None
    ) -> Json:
        """Change a person's role or password, or let nobody sign in as that person."""
        return self._portal.call(
            self._client.change(name, role=role, password=password, disabled=disabled)
        )

    def remove(self, name: str) -> None:
        """Remove a person, with sessions and tokens."""
        return self._portal.call(self._client.remove(name))

    def link(self, name: str) -> str:
        """Return a link that signs a person in, once, within an hour."""
        return self._portal.call(self._client.link(name))


class TokenVerbs:
    """What can be done with tokens for programs. Answers are the JSON of the console's API."""

    def __init__(self, portal: Portal, client: _people.TokenVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self) -> JsonList:
        """Return everybody's tokens, the newest first; never their secrets."""
        return self._portal.call(self._client.list())

    def create(
        self, label: str, scopes: Sequence[str], *, user: str = "", days: float = 90
    ) -> Json:
        """Make a token; its `secret` is in the answer, and nowhere else.

        Args:
            label: For people.
            scopes: "read", "label", "review", "operate", "admin", "predict:<model>", "predict:*".
            user: Whose; the machine's own if empty.
            days: How long it is good.
        """
        return self._portal.call(self._client.create(label, scopes, user=user, days=days))

    def revoke(self, token: str) -> None:
        """Revoke a token by its id: no service takes it any more, a second later."""
        return self._portal.call(self._client.revoke(token))
