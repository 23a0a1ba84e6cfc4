"""Sign-in, users and tokens."""

from __future__ import annotations

from pydantic import Field

from loopline.access import Role
from services.console.bodies.base import In, Name, Out

PASSWORD_MIN = 10
PASSWORD_MAX = 256


class OidcOut(Out):
    """The identity provider that people may sign in with."""

    name: str
    """For the button."""
    url: str
    """Where the browser goes: below this origin."""


class SignInOut(Out):
    """How people sign in here; needs no session."""

    workspace: str
    version: str
    password: bool
    """Whether anybody has a password yet."""
    oidc: OidcOut | None


class PasswordIn(In):
    """Signs in with a password."""

    name: str = Field(min_length=1, max_length=63)
    password: str = Field(min_length=1, max_length=PASSWORD_MAX)


class OneTimeIn(In):
    """Signs in with the token of a link that `loopline up` or an admin gave."""

    token: str = Field(min_length=1, max_length=8192)


class NewPasswordIn(In):
    """Sets one's own password."""

    current: str = Field(default="", max_length=PASSWORD_MAX)
    """The one before; may be left out where there is none, or after a one-time link."""
    password: str = Field(min_length=PASSWORD_MIN, max_length=PASSWORD_MAX)


class SessionOut(Out):
    """Who is signed in."""

    name: str
    role: Role
    scopes: list[str]
    csrf_token: str
    """Sent back as the header `x-csrf-token` with every request that changes something."""
    expires_at: str
    has_password: bool
    workspace: str


class UserOut(Out):
    """A person."""

    name: str
    role: Role
    email: str
    is_disabled: bool
    has_password: bool
    has_oidc: bool
    """Whether the person came by the identity provider."""
    created_at: str
    signed_in_at: str
    """"" if never."""


class UsersOut(Out):
    """Everybody, by name."""

    users: list[UserOut]


class MemberOut(Out):
    """Somebody who can be asked for something."""

    name: str
    role: Role


class MembersOut(Out):
    """Everybody who may sign in, by name."""

    members: list[MemberOut]


class UserIn(In):
    """A new person."""

    name: Name
    role: Role
    email: str = Field(default="", max_length=254)
    password: str = Field(default="", max_length=PASSWORD_MAX)
    """Empty: the person signs in with the link in the answer, or by the identity provider."""


class UserChangeIn(In):
    """What changes of a person; what is left out stays."""

    role: Role | None = None
    email: str | None = Field(default=None, max_length=254)
    is_disabled: bool | None = None
    password: str | None = Field(default=None, min_length=PASSWORD_MIN, max_length=PASSWORD_MAX)


class LinkOut(Out):
    """A link that signs a person in, once."""

    url: str
    expires_at: str


class TokenIn(In):
    """A new token for a program of one's own."""

    label: str = Field(min_length=1, max_length=100)
    scopes: list[str] = Field(min_length=1, max_length=64)
    """"read", "label", "review", "operate", "admin", "predict:<model>", "predict:*"."""
    lifetime_days: float = Field(default=90, gt=0, le=3650)
    owner: str = Field(default="", max_length=63)
    """As an admin: who it is for; oneself if empty."""


class TokenOut(Out):
    """A token, without its secret."""

    id: str
    owner: str
    label: str
    scopes: list[str]
    created_at: str
    expires_at: str
    revoked_at: str
    """"" if it was not."""


class TokensOut(Out):
    """Tokens, the newest first."""

    tokens: list[TokenOut]


class NewTokenOut(TokenOut):
    """A token, with its secret: shown once, kept nowhere."""

    secret: str
