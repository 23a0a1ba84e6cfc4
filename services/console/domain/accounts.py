"""People, their sessions and their programs' tokens, as the console knows them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from loopline.access import Role
from loopline.errors import Conflict, LooplineError, Rejected

PASSWORD = "password"  # noqa: S105 - how somebody signed in
LINK = "link"
OIDC = "oidc"


class Taken(Conflict):
    """Somebody has that name already."""

    def __init__(self, name: str) -> None:
        LooplineError.__init__(self, f"there is a user {name!r} already", user=name)
        self.subject, self.expected_sequence = name, 0


@dataclass(frozen=True, slots=True)
class User:
    """A person.

    Args:
        name: Unique; what the log records as the actor.
        role: What the person may do.
        email: For people; an identity provider may be asked to match it.
        password_hash: argon2id; "" if there is no password.
        oidc_subject: "<issuer>#<subject>" of the identity provider; "" if never came that way.
        is_disabled: May not sign in.
        created_at: When.
        signed_in_at: Last time; None if never.
    """

    name: str
    role: Role
    created_at: datetime
    email: str = ""
    password_hash: str = ""
    oidc_subject: str = ""
    is_disabled: bool = False
    signed_in_at: datetime | None = None

    def __repr__(self) -> str:
        return f"User({self.name}, {self.role})"


@dataclass(frozen=True, slots=True)
class Session:
    """A browser in which somebody is signed in.

    Args:
        key: sha256 of the cookie's value; the value itself is kept nowhere.
        user: Who.
        way: PASSWORD, LINK or OIDC.
        created_at: When.
        expires_at: When it ends, whatever happens.
        seen_at: When it was used last, to some minutes.
    """

    key: str
    user: str
    way: str
    created_at: datetime
    expires_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """A program's token; its secret is kept nowhere.

    Args:
        id: What it is revoked by.
        owner: Whose it is.
        label: For people.
        scopes: What it may do.
        created_at: When.
        expires_at: Until when it is good.
        revoked_at: None if it was not.
    """

    id: str
    owner: str
    label: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Tell whether it still opens anything."""
        return self.revoked_at is None and now < self.expires_at


def keeps_an_admin(users: list[User], changed: User | None, name: str) -> None:
    """Refuse a change after which nobody is an admin.

    Args:
        users: Everybody, before it.
        changed: The person after it; None if removed.
        name: The person's name.

    Raises:
        Rejected: There would be no admin who can sign in.
    """
    after = [user for user in users if user.name != name]
    if changed is not None:
        after.append(changed)
    if not any(user.role is Role.ADMIN and not user.is_disabled for user in after):
        raise Rejected(f"{name} is the last admin: make somebody else one first", user=name)


def with_changes(
    user: User, *, role: Role | None, email: str | None, is_disabled: bool | None
) -> User:
    """Return a person with what is given changed."""
    return replace(
        user,
        role=user.role if role is None else role,
        email=user.email if email is None else email,
        is_disabled=user.is_disabled if is_disabled is None else is_disabled,
    )
