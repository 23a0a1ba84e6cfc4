"""Links that sign a person in, once: signed offline, counted where they are used."""

from __future__ import annotations

from loopline.access.roles import Role
from loopline.access.tokens import TokenIssuer

ONE_TIME_AUDIENCE = "loopline-sign-in"
LINK_LIFETIME_S = 3_600.0
FIRST_USER = "admin"
"""Who the link of `loopline up` signs in."""


def sign_in_link(
    issuer: TokenIssuer, console_url: str, *, name: str = FIRST_USER, role: Role = Role.ADMIN
) -> str:
    """Return a link that signs a person in, once, within an hour.

    The token is behind the "#": browsers do not send that part, so no log has it.

    Args:
        issuer: Signs it.
        console_url: Base URL of the console.
        name: The person; made with that role if there is none of that name.
        role: Only for a person who is not there yet.
    """
    token = issuer.issue(
        name, role=role, lifetime_s=LINK_LIFETIME_S, scopes=(), audience=ONE_TIME_AUDIENCE
    )
    return f"{console_url.rstrip('/')}/sign-in#token={token}"
