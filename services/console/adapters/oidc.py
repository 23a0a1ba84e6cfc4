"""Sign-in through an identity provider: OpenID Connect, authorization code flow with PKCE.

Authlib makes the OAuth requests, PyJWT checks the ID token. What is remembered between the two
halves of a sign-in travels in a cookie of the browser, so any console process may see the end of
what another one began.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import httpx
import jwt

from loopline.errors import Rejected, Transient, Unauthenticated

if TYPE_CHECKING:  # loaded by the first sign-in: most consoles have no identity provider
    from authlib.integrations.httpx_client import AsyncOAuth2Client

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
SCOPES = "openid profile email"
TIMEOUT_S = 10.0
LEEWAY_S = 30


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in on its way: what the browser keeps until it comes back."""

    state: str
    nonce: str
    verifier: str
    next: str

    @classmethod
    def fresh(cls, next_path: str) -> Pending:
        """Return a new one."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, next_path)

    def to_cookie(self) -> str:
        """Return it as a cookie's value."""
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode()

    @classmethod
    def from_cookie(cls, text: str) -> Pending:
        """Return what a cookie holds; Unauthenticated if that is not one of ours."""
        try:
            return cls(**json.loads(base64.urlsafe_b64decode(text)))
        except (ValueError, TypeError) as error:
            raise Unauthenticated("the sign-in was not begun in this browser") from error


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the identity provider says somebody is."""

    subject: str
    """"<issuer>#<subject>"."""
    name: str
    email: str
    is_email_verified: bool


class IdentityProvider:
    """One OpenID Connect provider.

    Args:
        issuer: Its URL, as its tokens name it.
        client_id: Ours at it.
        client_secret: Ours at it; "" for a public client.
        name_claim: The claim that a person is called by.
        transport: How requests travel; the network if None.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str,
        name_claim: str = "preferred_username",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._issuer = issuer.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        self._name_claim = name_claim
        self._transport = transport
        self._metadata: dict[str, Any] = {}

    async def authorization_url(self, pending: Pending, redirect_uri: str) -> str:
        """Return where the browser goes to sign in."""
        metadata = await self._discovered()
        async with self._client(redirect_uri) as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=pending.state,
                nonce=pending.nonce,
                code_verifier=pending.verifier,
            )
        return str(url)

    async def identity(self, pending: Pending, code: str, redirect_uri: str) -> Identity:
        """Return who came back.

        Raises:
            Unauthenticated: The provider takes the code for no good, or its ID token is none.
            Transient: It does not answer.
        """
        from authlib.integrations.base_client.errors import OAuthError

        metadata = await self._discovered()
        try:
            async with self._client(redirect_uri) as client:
                token = await client.fetch_token(
                    metadata["token_endpoint"], code=code, code_verifier=pending.verifier
                )
        except OAuthError as error:
            raise Unauthenticated(f"the identity provider refused: {error.error}") from error
        except httpx.HTTPError as error:
            raise self._silent(error) from error
        claims = await self._claims(str(token.get("id_token", "")), pending.nonce)
        email = str(claims.get("email", ""))
        return Identity(
            subject=f"{self._issuer}#{claims['sub']}",
            name=str(claims.get(self._name_claim) or email or claims["sub"]),
            email=email,
            is_email_verified=claims.get("email_verified") is True,
        )

    async def _claims(self, id_token: str, nonce: str) -> dict[str, Any]:
        try:
            key_id = jwt.get_unverified_header(id_token).get("kid")
            keys = jwt.PyJWKSet.from_dict(await self._get(self._metadata["jwks_uri"])).keys
            [key] = [one for one in keys if key_id in (None, one.key_id)][:1]
            claims: dict[str, Any] = jwt.decode(
                id_token,
                key,
                algorithms=ALGORITHMS,
                audience=self._client_id,
                issuer=self._metadata["issuer"],
                leeway=LEEWAY_S,
                options={"require": ["iss", "aud", "sub", "exp", "iat"]},
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthenticated(f"the ID token is not good: {error}") from error
        if not secrets.compare_digest(str(claims.get("nonce", "")), nonce):
            raise Unauthenticated("the ID token is of another sign-in")
        return claims

    async def _discovered(self) -> dict[str, Any]:
        if not self._metadata:
            found = await self._get(f"{self._issuer}/.well-known/openid-configuration")
            if str(found.get("issuer", "")).rstrip("/") != self._issuer:
                raise Rejected(f"{self._issuer} calls itself {found.get('issuer')!r}")
            self._metadata = found
        return self._metadata

    async def _get(self, url: str) -> dict[str, Any]:
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S, transport=self._transport) as client:
                answer = (await client.get(url)).raise_for_status()
                found: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise self._silent(error) from error
        return found

    def _client(self, redirect_uri: str) -> AsyncOAuth2Client:
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        return AsyncOAuth2Client(
            client_id=self._client_id,
            client_secret=self._client_secret or None,
            scope=SCOPES,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if self._client_secret else "none",
            timeout=TIMEOUT_S,
            transport=self._transport,
        )

    def _silent(self, error: Exception) -> Transient:
        return Transient(f"the identity provider {self._issuer} does not answer: {error!r}")
