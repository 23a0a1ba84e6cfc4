"""Who calls, as every service sees it."""

from __future__ import annotations

from dataclasses import dataclass

from loopline.access.roles import Role, may, role_for, scopes_of
from loopline.errors import Forbidden


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls a service.

    Args:
        name: Of the person, or of the program's token.
        kind: "user", "token" (a person's program), "service" or "local" (this machine's own key).
        role: The role of the person behind it.
        scopes: What it may do; never more than the role.
        token_id: Of the token it showed; "" if none.
    """

    name: str
    kind: str
    role: Role
    scopes: frozenset[str]
    token_id: str = ""

    def may(self, scope: str) -> bool:
        """Tell whether it may do what needs `scope`: "label", "predict:catalogue"."""
        return may(self.scopes, scope)

    def require(self, scope: str) -> Caller:
        """Return itself.

        Raises:
            Forbidden: It may not do what needs `scope`.
        """
        if not self.may(scope):
            raise Forbidden(
                f"{self.name} ({self.role}) may not do this: it needs '{scope}', "
                f"which begins with the role {role_for(scope)}",
                scope=scope,
            )
        return self


def local_caller(name: str = "local") -> Caller:
    """Return the caller of a service that asks for no token, or who shows the machine's own key."""
    return Caller(name, "local", Role.ADMIN, scopes_of(Role.ADMIN))
