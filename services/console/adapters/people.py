"""Users and tokens: what admins and owners do with them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from loopline.access import Caller, Role, Scope, TokenIssuer, may, scopes_of, validate_scopes
from loopline.access.links import LINK_LIFETIME_S, sign_in_link
from loopline.access.revocations import Revocations
from loopline.clock import Clock
from loopline.errors import Forbidden, Rejected
from services.console.adapters.accounts import AccountStore
from services.console.adapters.passwords import Passwords
from services.console.bodies.access import (
    PASSWORD_MIN,
    LinkOut,
    MemberOut,
    NewTokenOut,
    TokenIn,
    TokenOut,
    UserChangeIn,
    UserIn,
    UserOut,
)
from services.console.domain.accounts import Token, User, keeps_an_admin, with_changes

SECONDS_A_DAY = 86_400.0
TOKENS_MAX = 1_000  # good ones, of one owner


class People:
    """Everybody who may use the console, and their programs.

    Args:
        store: Where they are kept.
        passwords: Hashes passwords.
        issuer: Signs tokens; None if this console has no key.
        revocations: Where the log is told of revoked tokens.
        clock: Time.
        public_url: Where people reach the console; "" for the address they used.
    """

    def __init__(
        self,
        store: AccountStore,
        passwords: Passwords,
        issuer: TokenIssuer | None,
        revocations: Revocations,
        clock: Clock,
        public_url: str = "",
    ) -> None:
        self.store = store
        self._passwords = passwords
        self._issuer = issuer
        self._revocations = revocations
        self._clock = clock
        self._public_url = public_url

    @property
    def issuer(self) -> TokenIssuer:
        """What signs tokens; Rejected if this console has no key."""
        if self._issuer is None:
            raise Rejected("this console has no key to sign with: set LOOPLINE_SIGNING_KEY")
        return self._issuer

    async def users(self) -> list[UserOut]:
        """Return everybody."""
        return [user_out(user) for user in await asyncio.to_thread(self.store.users)]

    async def members(self) -> list[MemberOut]:
        """Return everybody who may sign in."""
        everybody = await asyncio.to_thread(self.store.users)
        return [MemberOut(name=u.name, role=u.role) for u in everybody if not u.is_disabled]

    async def add(self, body: UserIn) -> UserOut:
        """Add a person."""
        if body.password and len(body.password) < PASSWORD_MIN:
            raise Rejected(f"a password has at least {PASSWORD_MIN} characters")
        hashed = await self._passwords.hash(body.password) if body.password else ""
        user = User(body.name, body.role, self._clock.now(), body.email, hashed)
        await asyncio.to_thread(self.store.add_user, user)
        return user_out(user)

    async def change(self, name: str, body: UserChangeIn, caller: Caller) -> UserOut:
        """Change a person, and take back what the person may no longer do."""
        before = await asyncio.to_thread(self.store.user, name)
        after = with_changes(before, role=body.role, email=body.email, is_disabled=body.is_disabled)
        keeps_an_admin(await asyncio.to_thread(self.store.users), after, name)
        if body.password is not None:
            after = replace(after, password_hash=await self._passwords.hash(body.password))
        await asyncio.to_thread(self.store.put_user, after)
        if after.is_disabled or body.password is not None or after.role is not before.role:
            await asyncio.to_thread(self.store.end_sessions, name)
        allowed = frozenset[str]() if after.is_disabled else scopes_of(after.role)
        await self._revoke_beyond(name, allowed, caller, "the owner may no longer do this")
        return user_out(after)

    async def remove(self, name: str, caller: Caller) -> None:
        """Remove a person, the sessions and the tokens."""
        await asyncio.to_thread(self.store.user, name)
        keeps_an_admin(await asyncio.to_thread(self.store.users), None, name)
        await asyncio.to_thread(self.store.remove_user, name)
        await self._revoke_beyond(name, frozenset(), caller, "the owner was removed")

    async def link(self, name: str, base_url: str) -> LinkOut:
        """Return a link that signs a person in, once."""
        user = await asyncio.to_thread(self.store.user, name)
        if user.is_disabled:
            raise Rejected(f"{name} is disabled", user=name)
        url = sign_in_link(self.issuer, self._public_url or base_url, name=name, role=user.role)
        expires_at = self._clock.now() + timedelta(seconds=LINK_LIFETIME_S)
        return LinkOut(url=url, expires_at=iso(expires_at))

    async def tokens(self, caller: Caller, *, everybody: bool) -> list[TokenOut]:
        """Return one's own tokens, or as an admin everybody's."""
        if everybody:
            caller.require(Scope.ADMIN)
        owner = "" if everybody else caller.name
        return [token_out(token) for token in await asyncio.to_thread(self.store.tokens, owner)]

    async def issue(self, body: TokenIn, caller: Caller) -> NewTokenOut:
        """Make a token whose scopes are at most the maker's own, and its owner's."""
        scopes = validate_scopes(body.scopes)
        owner, role = await self._owner(body.owner, caller)
        for scope in sorted(scopes):
            if not caller.may(scope) or not may(scopes_of(role), scope):
                raise Forbidden(f"{scope!r} is more than {owner} may do", scope=scope)
        now = self._clock.now()
        mine = await asyncio.to_thread(self.store.tokens, owner)
        if sum(token.is_good(now) for token in mine) >= TOKENS_MAX:
            raise Rejected(f"{owner} has {TOKENS_MAX} tokens: revoke some")
        lifetime_s = body.lifetime_days * SECONDS_A_DAY
        token = Token(
            str(uuid4()), owner, body.label, scopes, now, now + timedelta(seconds=lifetime_s)
        )
        secret = self.issuer.issue(
            owner, role=role, lifetime_s=lifetime_s, scopes=scopes, kind="token",
            token_id=token.id,
        )  # fmt: skip
        await asyncio.to_thread(self.store.add_token, token)
        return NewTokenOut(**token_out(token).model_dump(), secret=secret)

    async def revoke(self, id_: str, caller: Caller) -> None:
        """Revoke a token: one's own, or as an admin anybody's."""
        token = await asyncio.to_thread(self.store.token, id_)
        if token.owner != caller.name or caller.kind == "token":
            caller.require(Scope.ADMIN)
        await self._revoke(token, caller, "")

    async def _owner(self, wanted: str, caller: Caller) -> tuple[str, Role]:
        if caller.kind == "token":
            caller.require(Scope.ADMIN)  # a token that leaked must not make longer lives
        if wanted and wanted != caller.name:
            caller.require(Scope.ADMIN)
            user = await asyncio.to_thread(self.store.user, wanted)
            return user.name, user.role
        return caller.name, caller.role

    async def _revoke_beyond(
        self, owner: str, allowed: frozenset[str], caller: Caller, reason: str
    ) -> None:
        now = self._clock.now()
        for token in await asyncio.to_thread(self.store.tokens, owner):
            if token.is_good(now) and not all(may(allowed, scope) for scope in token.scopes):
                await self._revoke(token, caller, reason)

    async def _revoke(self, token: Token, caller: Caller, reason: str) -> None:
        await self._revocations.revoke(token.id, owner=token.owner, by=caller.name, reason=reason)
        await asyncio.to_thread(self.store.revoke_token, token.id, self._clock.now())


def user_out(user: User) -> UserOut:
    """Return a person as the API says it."""
    return UserOut(
        name=user.name,
        role=user.role,
        email=user.email,
        is_disabled=user.is_disabled,
        has_password=bool(user.password_hash),
        has_oidc=bool(user.oidc_subject),
        created_at=iso(user.created_at),
        signed_in_at=iso(user.signed_in_at),
    )


def token_out(token: Token) -> TokenOut:
    """Return a token as the API says it."""
    return TokenOut(
        id=token.id,
        owner=token.owner,
        label=token.label,
        scopes=sorted(token.scopes),
        created_at=iso(token.created_at),
        expires_at=iso(token.expires_at),
        revoked_at=iso(token.revoked_at),
    )


def iso(moment: datetime | None) -> str:
    """Return a moment as ISO 8601 in UTC; "" for none."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds") if moment else ""
