"""The front door: who comes in, how, and how long they stay."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from loopline import __version__
from loopline.access import Caller, Role, TokenVerifier, scopes_of
from loopline.access.guard import AccessGuard
from loopline.clock import Clock
from loopline.errors import Forbidden, NotFound, Unauthenticated
from services.console.adapters.accounts import AccountStore
from services.console.adapters.oidc import Identity, IdentityProvider, Pending
from services.console.adapters.passwords import Passwords
from services.console.adapters.people import iso
from services.console.bodies.access import (
    NewPasswordIn,
    OidcOut,
    OneTimeIn,
    PasswordIn,
    SessionOut,
    SignInOut,
)
from services.console.domain.accounts import LINK, OIDC, PASSWORD, Session, Taken, User
from services.console.domain.attempts import Allowance, Attempts, TooOften
from services.console.routes.registry import CSRF_HEADER, SESSION_COOKIE
from services.console.settings import ConsoleSettings

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
OIDC_COOKIE = "loopline_oidc"
OIDC_PATH = "/api/session/oidc"
OIDC_LIFETIME_S = 600
BY_NAME = Allowance(count=5, period_s=60.0)
BY_ADDRESS = Allowance(count=30, period_s=60.0)
LINK_TRUSTED_S = 3_600.0  # after a one-time link, a new password needs not the one before
SEEN_EVERY_S = 300.0
REMEMBERED_S = 1.0  # a session that ended elsewhere is good for this long at most
REMEMBERED_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Visit:
    """A session, whose it is, and the cookie's value."""

    session: Session
    user: User
    value: str


class FrontDoor:
    """Signs people in and out, and tells who a request is from.

    Args:
        settings: The console's.
        store: Users and sessions.
        passwords: Checks passwords.
        links: Checks one-time links; None if this console has no key.
        guard: Checks bearer tokens.
        provider: The identity provider; None if there is none.
        clock: Time.
    """

    def __init__(
        self,
        settings: ConsoleSettings,
        store: AccountStore,
        passwords: Passwords,
        links: TokenVerifier | None,
        guard: AccessGuard,
        provider: IdentityProvider | None,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._store = store
        self._passwords = passwords
        self._links = links
        self._guard = guard
        self._provider = provider
        self._clock = clock
        self._by_name = Attempts(BY_NAME)
        self._by_address = Attempts(BY_ADDRESS)
        self._known: OrderedDict[str, tuple[float, Visit]] = OrderedDict()

    async def authenticate(self, request: Request) -> Caller:
        """Return who a request is from.

        Raises:
            Unauthenticated: Nobody is signed in.
            Forbidden: It changes something, and does not come from the page.
        """
        authorization = request.headers.get("authorization", "")
        if authorization:
            if self._guard.is_open:
                raise Unauthenticated("this console has no keys to check tokens with")
            return await asyncio.to_thread(self._guard.caller, authorization)
        visit = await self._visit(request)
        if request.method not in SAFE_METHODS:
            _must_come_from_here(request)
            given = request.headers.get(CSRF_HEADER, "")
            if not secrets.compare_digest(given.encode(), csrf_token(visit.value).encode()):
                raise Forbidden(f"the header {CSRF_HEADER} is missing, or of another session")
        user = visit.user
        return Caller(user.name, "user", user.role, scopes_of(user.role))

    async def ways(self) -> SignInOut:
        """Tell how people sign in."""
        users = await asyncio.to_thread(self._store.users)
        oidc = OidcOut(name=self._settings.oidc_name, url=OIDC_PATH) if self._provider else None
        return SignInOut(
            workspace=self._settings.workspace,
            version=__version__,
            password=any(user.password_hash and not user.is_disabled for user in users),
            oidc=oidc,
        )

    async def session(self, request: Request, caller: Caller) -> SessionOut:
        """Tell who is signed in."""
        if SESSION_COOKIE not in request.cookies or request.headers.get("authorization"):
            return SessionOut(
                name=caller.name, role=caller.role, scopes=sorted(caller.scopes), csrf_token="",
                expires_at="", has_password=False, workspace=self._settings.workspace,
            )  # fmt: skip
        return self._out(await self._visit(request))

    async def sign_in(self, body: PasswordIn, request: Request, response: Response) -> SessionOut:
        """Sign in with a password.

        Raises:
            TooOften: This name or this address failed too often.
            Unauthenticated: Name or password is wrong; it does not say which.
        """
        _must_come_from_here(request)
        keys = ((self._by_name, body.name), (self._by_address, _address(request)))
        now_s = self._clock.monotonic_s()
        wait_s = max(attempts.wait_s(key, now_s) for attempts, key in keys)
        if wait_s > 0:
            raise TooOften(wait_s)
        for attempts, key in keys:  # before the password is checked: many at once count too
            attempts.failed(key, now_s)
        user = await asyncio.to_thread(self._store.find_user, body.name)
        hashed = user.password_hash if user is not None else ""
        good = await self._passwords.verify(hashed, body.password)
        if user is None or not good or user.is_disabled:
            raise Unauthenticated("the name or the password is wrong")
        self._by_name.succeeded(body.name)
        self._by_address.forgiven(_address(request))  # its other failures stay
        if self._passwords.needs_rehash(hashed):
            user = replace(user, password_hash=await self._passwords.hash(body.password))
        return self._out(await self._enter(user, PASSWORD, request, response))

    async def sign_in_once(
        self, body: OneTimeIn, request: Request, response: Response
    ) -> SessionOut:
        """Sign in with a one-time link's token.

        Raises:
            Unauthenticated: It is none, too old, or was used before.
        """
        _must_come_from_here(request)
        if self._links is None:
            raise Unauthenticated("this console has no key to check links with")
        told = self._links.verify(body.token)
        now, expires_at = self._clock.now(), self._links.expires_at(body.token)
        if not await asyncio.to_thread(self._store.spend, told.token_id, now, expires_at):
            raise Unauthenticated("this link was used before: ask for another one")
        user = await asyncio.to_thread(self._store.find_user, told.name)
        if user is None:
            user = User(told.name, told.role, now)
            await asyncio.to_thread(self._store.add_user, user)
        if user.is_disabled:
            raise Unauthenticated(f"{user.name} may not sign in")
        return self._out(await self._enter(user, LINK, request, response))

    async def sign_out(self, request: Request, response: Response) -> None:
        """End the session."""
        key = _key(request.cookies.get(SESSION_COOKIE, ""))
        self._known.pop(key, None)
        await asyncio.to_thread(self._store.end_session, key)
        response.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="strict")

    async def set_password(
        self, body: NewPasswordIn, request: Request, response: Response, caller: Caller
    ) -> SessionOut:
        """Set one's own password.

        Raises:
            Forbidden: The one before is wrong, or who asks is a program.
        """
        if caller.kind != "user" or request.headers.get("authorization"):
            raise Forbidden("only who is signed in at the console sets a password")
        visit = await self._visit(request)
        user = visit.user
        fresh = self._clock.now() - visit.session.created_at < timedelta(seconds=LINK_TRUSTED_S)
        by_link = visit.session.way == LINK and fresh
        if user.password_hash and not by_link:
            now_s = self._clock.monotonic_s()
            if wait_s := self._by_name.wait_s(user.name, now_s):
                raise TooOften(wait_s)
            if not await self._passwords.verify(user.password_hash, body.current):
                self._by_name.failed(user.name, now_s)
                raise Forbidden("the current password is wrong")
        user = replace(user, password_hash=await self._passwords.hash(body.password))
        await asyncio.to_thread(self._store.put_user, user)
        await asyncio.to_thread(self._store.end_sessions, user.name)
        self._known.clear()
        return self._out(await self._enter(user, PASSWORD, request, response))

    async def begin_oidc(self, request: Request, next_path: str) -> Response:
        """Send the browser to the identity provider."""
        pending = Pending.fresh(next_path if _is_local(next_path) else "/")
        url = await self._oidc().authorization_url(pending, self._redirect_uri(request))
        response = RedirectResponse(url, 302)
        response.set_cookie(
            OIDC_COOKIE, pending.to_cookie(), max_age=OIDC_LIFETIME_S, path=OIDC_PATH,
            httponly=True, samesite="lax", secure=self._is_secure(request),
        )  # fmt: skip
        return response

    async def finish_oidc(self, request: Request, code: str, state: str, error: str) -> Response:
        """Take the browser back, signed in."""
        provider = self._oidc()
        if error:
            raise Unauthenticated(f"the identity provider says: {error[:200]}")
        pending = Pending.from_cookie(request.cookies.get(OIDC_COOKIE, ""))
        if not state or not secrets.compare_digest(pending.state.encode(), state.encode()):
            raise Unauthenticated("the sign-in was not begun in this browser")
        now = self._clock.now()
        ends_at = now + timedelta(seconds=OIDC_LIFETIME_S)
        if not await asyncio.to_thread(self._store.spend, f"oidc/{state}", now, ends_at):
            raise Unauthenticated("this sign-in was finished before")
        identity = await provider.identity(pending, code, self._redirect_uri(request))
        user = await self._known_by(identity)
        response = RedirectResponse(pending.next, 302)
        await self._enter(user, OIDC, request, response)
        response.delete_cookie(OIDC_COOKIE, path=OIDC_PATH)
        return response

    async def _known_by(self, identity: Identity) -> User:
        """Return the person the identity provider means: known by it, by e-mail, or new."""
        found = await asyncio.to_thread(self._store.user_of_subject, identity.subject)
        if found is None and identity.is_email_verified and identity.email:
            users = await asyncio.to_thread(self._store.users)
            same = [u for u in users if u.email.lower() == identity.email.lower()]
            if len(same) == 1 and not same[0].oidc_subject:
                found = replace(same[0], oidc_subject=identity.subject)
        if found is None:
            found = await self._newcomer(identity)
        if found.is_disabled:
            raise Forbidden(f"{found.name} may not sign in")
        return found

    async def _newcomer(self, identity: Identity) -> User:
        role = self._settings.oidc_default_role
        if role is None:
            raise Forbidden(f"{identity.name} is not known here: ask an admin")
        user = User(
            name_of(identity.name), Role(role), self._clock.now(), identity.email,
            oidc_subject=identity.subject,
        )  # fmt: skip
        try:
            await asyncio.to_thread(self._store.add_user, user)
        except Taken as error:
            raise Forbidden(
                f"there is a user {user.name!r} already, who is somebody else: ask an admin"
            ) from error
        return user

    async def _enter(self, user: User, way: str, request: Request, response: Response) -> Visit:
        now, value = self._clock.now(), secrets.token_urlsafe(32)
        expires_at = now + timedelta(seconds=self._settings.session_lifetime_s)
        session = Session(_key(value), user.name, way, now, expires_at, now)
        user = replace(user, signed_in_at=now)
        await asyncio.to_thread(self._store.put_user, user)
        await asyncio.to_thread(self._store.add_session, session)
        response.set_cookie(
            SESSION_COOKIE, value, max_age=int(self._settings.session_lifetime_s), path="/",
            httponly=True, samesite="strict", secure=self._is_secure(request),
        )  # fmt: skip
        return Visit(session, user, value)

    async def _visit(self, request: Request) -> Visit:
        value = request.cookies.get(SESSION_COOKIE, "")
        if not value:
            raise Unauthenticated("nobody is signed in")
        key, now_s = _key(value), self._clock.monotonic_s()
        known = self._known.get(key)
        if known is not None and known[0] > now_s:
            return known[1]
        found = await asyncio.to_thread(self._store.session, key)
        now = self._clock.now()
        if found is None or found[1].is_disabled or self._has_ended(found[0]):
            self._known.pop(key, None)
            raise Unauthenticated("the session has ended: sign in again")
        if (now - found[0].seen_at).total_seconds() > SEEN_EVERY_S:
            await asyncio.to_thread(self._store.touch_session, key, now)
        visit = Visit(*found, value)
        self._known[key] = (now_s + REMEMBERED_S, visit)
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return visit

    def _has_ended(self, session: Session) -> bool:
        now = self._clock.now()
        idle_s = (now - session.seen_at).total_seconds()
        return now >= session.expires_at or idle_s > self._settings.session_idle_s + SEEN_EVERY_S

    def _out(self, visit: Visit) -> SessionOut:
        user = visit.user
        return SessionOut(
            name=user.name,
            role=user.role,
            scopes=sorted(scopes_of(user.role)),
            csrf_token=csrf_token(visit.value),
            expires_at=iso(visit.session.expires_at),
            has_password=bool(user.password_hash),
            workspace=self._settings.workspace,
        )

    def _oidc(self) -> IdentityProvider:
        if self._provider is None:
            raise NotFound("no identity provider is configured")
        return self._provider

    def _redirect_uri(self, request: Request) -> str:
        base = self._settings.public_url or str(request.base_url)
        return f"{base.rstrip('/')}{OIDC_PATH}/callback"

    def _is_secure(self, request: Request) -> bool:
        return request.url.scheme == "https" or self._settings.public_url.startswith("https:")


def csrf_token(session_value: str) -> str:
    """Return the token that changes within a session need; it tells nothing of the cookie."""
    return hashlib.sha256(f"csrf/{session_value}".encode()).hexdigest()


def name_of(text: str) -> str:
    """Return a name of ours for what an identity provider calls somebody.

    >>> name_of("Ann.Lee@example.org")
    'ann-lee'
    """
    name = re.sub(r"[^a-z0-9_-]+", "-", text.partition("@")[0].lower()).strip("-_")[:63]
    return name or "someone"


def _key(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _is_local(path: str) -> bool:
    return path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()


def _must_come_from_here(request: Request) -> None:
    """Refuse what another site's page has a browser send.

    Browsers say where a request that changes something comes from; programs say nothing.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin", "")
    is_foreign = origin != "" and urlsplit(origin).netloc != request.headers.get("host", "")
    if site not in ("same-origin", "none") or is_foreign:
        raise Forbidden("this request comes from another site")
