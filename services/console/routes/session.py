"""Signing in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Request, Response

from services.console.bodies.access import (
    NewPasswordIn,
    OneTimeIn,
    PasswordIn,
    SessionOut,
    SignInOut,
)
from services.console.routes.parameters import Text
from services.console.routes.registry import Current, Needs, Registry

if TYPE_CHECKING:
    from services.console.adapters.front_door import FrontDoor

TAG = "session"


class SessionRoutes:
    """Who is signed in."""

    def __init__(self, door: FrontDoor) -> None:
        self._door = door

    def register(self, registry: Registry) -> None:
        """Add the routes."""
        add = registry.add
        add("GET", "/sign-in", self.get_sign_in, Needs.NOTHING, tag=TAG)
        add("GET", "/session", self.get_session, Needs.SESSION, tag=TAG)
        add("POST", "/session", self.post_session, Needs.NOTHING, tag=TAG)
        add("POST", "/session/one-time", self.post_one_time, Needs.NOTHING, tag=TAG)
        add("DELETE", "/session", self.delete_session, Needs.SESSION, tag=TAG, status=204)
        add("POST", "/session/password", self.post_password, Needs.SESSION, tag=TAG)
        add(
            "GET", "/session/oidc", self.get_oidc, Needs.NOTHING, tag=TAG, status=302,
            raw="text/plain",
        )  # fmt: skip
        add(
            "GET", "/session/oidc/callback", self.get_oidc_callback, Needs.NOTHING, tag=TAG,
            status=302, raw="text/plain",
        )  # fmt: skip

    async def get_sign_in(self) -> SignInOut:
        """Tell how people sign in here."""
        return await self._door.ways()

    async def get_session(self, request: Request, caller: Current) -> SessionOut:
        """Tell who is signed in, and the token that changes need."""
        return await self._door.session(request, caller)

    async def post_session(
        self, body: PasswordIn, request: Request, response: Response
    ) -> SessionOut:
        """Sign in with a password."""
        return await self._door.sign_in(body, request, response)

    async def post_one_time(
        self, body: OneTimeIn, request: Request, response: Response
    ) -> SessionOut:
        """Sign in with a one-time link's token."""
        return await self._door.sign_in_once(body, request, response)

    async def delete_session(self, request: Request, response: Response) -> None:
        """Sign out."""
        await self._door.sign_out(request, response)

    async def post_password(
        self, body: NewPasswordIn, request: Request, response: Response, caller: Current
    ) -> SessionOut:
        """Set one's own password; every other session of this person ends."""
        return await self._door.set_password(body, request, response, caller)

    async def get_oidc(self, request: Request, next: Text = "/") -> Response:
        """Send the browser to the identity provider."""
        return await self._door.begin_oidc(request, next)

    async def get_oidc_callback(
        self, request: Request, code: Text = "", state: Text = "", error: Text = ""
    ) -> Response:
        """Take the browser back from the identity provider."""
        return await self._door.finish_oidc(request, code, state, error)
