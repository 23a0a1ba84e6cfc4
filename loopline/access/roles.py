"""Roles, and the scopes that each of them has.

A role is what a person is; a scope is what one request needs. A token has scopes of its own, never
more than the role of who made it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from enum import StrEnum

from loopline.errors import Rejected
from loopline.names import NAME_PATTERN

PREDICT = "predict"
ANY_MODEL = f"{PREDICT}:*"
_PREDICT = re.compile(rf"{PREDICT}:(\*|{NAME_PATTERN})")


class Role(StrEnum):
    """What a person is; each may do all that the one before may."""

    VIEWER = "viewer"
    LABELER = "labeler"
    REVIEWER = "reviewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Its place among the roles, from 0."""
        return list(Role).index(self)

    def covers(self, other: Role) -> bool:
        """Tell whether it may do all that `other` may."""
        return self.rank >= other.rank


class Scope(StrEnum):
    """What a request may need; beside these there is `predict:<model>` and `predict:*`."""

    READ = "read"
    LABEL = "label"
    REVIEW = "review"
    OPERATE = "operate"
    ADMIN = "admin"


_OWN: dict[Role, tuple[str, ...]] = {
    Role.VIEWER: (Scope.READ,),
    Role.LABELER: (Scope.LABEL,),
    Role.REVIEWER: (Scope.REVIEW,),
    Role.OPERATOR: (Scope.OPERATE, ANY_MODEL),
    Role.ADMIN: (Scope.ADMIN,),
}
"""What each role has beyond the one before it."""


def scopes_of(role: Role) -> frozenset[str]:
    """Return every scope of a role.

    >>> sorted(scopes_of(Role.LABELER))
    ['label', 'read']
    """
    return frozenset(str(scope) for each in Role if role.covers(each) for scope in _OWN[each])


def role_for(scope: str) -> Role:
    """Return the smallest role that has a scope."""
    return next(role for role in Role if may(scopes_of(role), scope))


def may(scopes: Collection[str], scope: str) -> bool:
    """Tell whether some scopes hold one.

    >>> may({"predict:*"}, "predict:catalogue"), may({"predict:catalogue"}, "predict:other")
    (True, False)
    """
    return scope in scopes or (scope.startswith(f"{PREDICT}:") and ANY_MODEL in scopes)


def validate_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """Return scopes, if there are such.

    Raises:
        Rejected: One is none of `read`, `label`, `review`, `operate`, `admin`, `predict:<model>`
            and `predict:*`.
    """
    found = frozenset(str(scope) for scope in scopes)
    for scope in sorted(found):
        if scope not in set(Scope) and not _PREDICT.fullmatch(scope):
            known = ", ".join([*Scope, "predict:<model>", ANY_MODEL])
            raise Rejected(f"{scope!r} is no scope; there are {known}", scope=scope)
    return found
