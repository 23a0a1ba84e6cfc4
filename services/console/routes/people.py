"""Users and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Request

from loopline.access import Scope
from services.console.bodies.access import (
    LinkOut,
    MembersOut,
    NewTokenOut,
    TokenIn,
    TokensOut,
    UserChangeIn,
    UserIn,
    UserOut,
    UsersOut,
)
from services.console.routes.parameters import Id, Name
from services.console.routes.registry import Current, Needs, Registry

if TYPE_CHECKING:
    from services.console.adapters.people import People


class PeopleRoutes:
    """Who may use the console, and which programs may speak for them."""

    def __init__(self, people: People) -> None:
        self._people = people

    def register(self, registry: Registry) -> None:
        """Add the routes."""
        add = registry.add
        add("GET", "/users", self.get_users, Scope.ADMIN, tag="users")
        add("POST", "/users", self.post_user, Scope.ADMIN, tag="users", status=201)
        add("PATCH", "/users/{name}", self.patch_user, Scope.ADMIN, tag="users")
        add("DELETE", "/users/{name}", self.delete_user, Scope.ADMIN, tag="users", status=204)
        add("POST", "/users/{name}/link", self.post_link, Scope.ADMIN, tag="users", status=201)
        add("GET", "/members", self.get_members, Scope.OPERATE, tag="users")
        add("GET", "/tokens", self.get_tokens, Needs.SESSION, tag="tokens")
        add("POST", "/tokens", self.post_token, Needs.SESSION, tag="tokens", status=201)
        add("DELETE", "/tokens/{id}", self.delete_token, Needs.SESSION, tag="tokens", status=204)

    async def get_users(self) -> UsersOut:
        """List everybody."""
        return UsersOut(users=await self._people.users())

    async def post_user(self, body: UserIn) -> UserOut:
        """Add a person."""
        return await self._people.add(body)

    async def patch_user(self, name: Name, body: UserChangeIn, caller: Current) -> UserOut:
        """Change a person; a new role or password ends the person's sessions."""
        return await self._people.change(name, body, caller)

    async def delete_user(self, name: Name, caller: Current) -> None:
        """Remove a person, with sessions and tokens; what they did stays in the log."""
        await self._people.remove(name, caller)

    async def post_link(self, name: Name, request: Request) -> LinkOut:
        """Make a link that signs a person in, once: for a first or a forgotten password."""
        return await self._people.link(name, str(request.base_url))

    async def get_members(self) -> MembersOut:
        """List who can be asked to label and to review: names and roles alone."""
        return MembersOut(members=await self._people.members())

    async def get_tokens(self, caller: Current, everybody: bool = False) -> TokensOut:
        """List one's own tokens; an admin may list everybody's."""
        return TokensOut(tokens=await self._people.tokens(caller, everybody=everybody))

    async def post_token(self, body: TokenIn, caller: Current) -> NewTokenOut:
        """Make a token for a program; its scopes are at most one's own."""
        return await self._people.issue(body, caller)

    async def delete_token(self, id: Id, caller: Current) -> None:
        """Revoke a token: one's own, or as an admin anybody's."""
        await self._people.revoke(id, caller)
