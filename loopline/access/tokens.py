"""Tokens: signed offline with one key, verified anywhere with its public half.

A token is a JWT (RFC 7519) signed with Ed25519 ("EdDSA", RFC 8037). The issuer's key stays with the
console; services get a JWK set (RFC 7517) of public keys, so that a key can be changed while tokens
of the one before are still good. No service asks another one whether a token is good.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from loopline.access.callers import Caller
from loopline.access.roles import Role, may, scopes_of, validate_scopes
from loopline.clock import Clock, SystemClock
from loopline.digests import digest_of
from loopline.errors import Rejected, Unauthenticated

ALGORITHM = "EdDSA"
AUDIENCE = "loopline"
LEEWAY_S = 5.0  # clocks of two machines differ
TOKEN_BYTES_MAX = 8_192
KEY_ID_LENGTH = 16
_REQUIRED = ("iss", "aud", "sub", "jti", "iat", "exp", "kind", "role", "scopes")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The issuer's key; `repr` does not show it."""

    private: Ed25519PrivateKey
    id: str

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a fresh one."""
        return cls._of(Ed25519PrivateKey.generate())

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> SigningKey:
        """Return the key of a private JWK; Rejected if it is none."""
        try:
            seed = _unpadded(jwk["d"])
            return cls._of(Ed25519PrivateKey.from_private_bytes(seed))
        except (KeyError, ValueError, TypeError) as error:
            raise Rejected("not a private Ed25519 key in JWK form") from error

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Return the key in a file; Rejected if there is none."""
        return cls.from_jwk(_read(path))

    @classmethod
    def of_setting(cls, text: str) -> SigningKey:
        """Return the key that a setting names: a JWK as JSON, or the path of a file with one."""
        return cls.from_jwk(_document(text))

    def jwk(self) -> dict[str, str]:
        """Return the private key as a JWK: a secret."""
        raw, private = serialization.Encoding.Raw, serialization.PrivateFormat.Raw
        seed = self.private.private_bytes(raw, private, serialization.NoEncryption())
        return {**self.public_jwk(), "d": _padless(seed)}

    def public_jwk(self) -> dict[str, str]:
        """Return the public half as a JWK."""
        return _public_jwk(self.private.public_key()) | {"kid": self.id}

    @classmethod
    def _of(cls, private: Ed25519PrivateKey) -> SigningKey:
        public = _public_jwk(private.public_key())
        thumbprint = digest_of({name: public[name] for name in ("crv", "kty", "x")})
        return cls(private, thumbprint[:KEY_ID_LENGTH])

    def __repr__(self) -> str:
        return f"SigningKey({self.id})"


@dataclass(frozen=True, slots=True)
class KeySet:
    """Public keys, by their id."""

    keys: Mapping[str, Ed25519PublicKey]

    @classmethod
    def of(cls, *keys: SigningKey) -> KeySet:
        """Return the public halves of keys."""
        return cls.from_jwks({"keys": [key.public_jwk() for key in keys]})

    @classmethod
    def from_jwks(cls, document: Mapping[str, Any]) -> KeySet:
        """Return the Ed25519 keys of a JWK set; Rejected if it is none."""
        try:
            found = {
                str(jwk["kid"]): Ed25519PublicKey.from_public_bytes(_unpadded(jwk["x"]))
                for jwk in document["keys"]
                if jwk.get("crv") == "Ed25519"
            }
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise Rejected("not a JWK set of Ed25519 keys") from error
        return cls(found)

    @classmethod
    def of_setting(cls, text: str) -> KeySet:
        """Return the keys that a setting names: a JWK set as JSON, or the path of its file."""
        return cls.from_jwks(_document(text))


class TokenIssuer:
    """Signs tokens; the console alone has one.

    Args:
        key: Signs.
        workspace: What the tokens are good for.
        clock: Time.
    """

    def __init__(self, key: SigningKey, workspace: str, clock: Clock | None = None) -> None:
        self._key = key
        self._issuer = issuer_of(workspace)
        self._clock = clock or SystemClock()

    def issue(
        self,
        name: str,
        *,
        role: Role,
        lifetime_s: float,
        scopes: Iterable[str] | None = None,
        kind: str = "user",
        audience: str = AUDIENCE,
        token_id: str = "",
    ) -> str:
        """Return a token.

        Args:
            name: Who it speaks for.
            role: That person's role.
            lifetime_s: How long it is good.
            scopes: What it may do; all that the role may if None.
            kind: "user", "token" or "service".
            audience: What it is for; services take `AUDIENCE` only.
            token_id: Its id, by which it is revoked; a fresh one if empty.

        Raises:
            Rejected: A scope is none, or more than the role has.
        """
        own = scopes_of(role)
        wanted = own if scopes is None else validate_scopes(scopes)
        for scope in sorted(wanted):
            if not may(own, scope):
                raise Rejected(f"{scope!r} is more than the role {role} has", scope=scope)
        now = self._clock.now().timestamp()
        claims = {
            "iss": self._issuer,
            "aud": audience,
            "sub": name,
            "jti": token_id or str(uuid4()),
            "iat": int(now),
            "exp": int(now + lifetime_s),
            "kind": kind,
            "role": str(role),
            "scopes": sorted(wanted),
        }
        return jwt.encode(claims, self._key.private, ALGORITHM, headers={"kid": self._key.id})


class TokenVerifier:
    """Tells who shows a token.

    Args:
        keys: Whose signatures count.
        workspace: What tokens must be good for.
        revoked: Tells whether a token's id was revoked.
        clock: Time.
        audience: What tokens must be for.
    """

    def __init__(
        self,
        keys: KeySet,
        workspace: str = "default",
        *,
        revoked: Callable[[str], bool] = lambda token_id: False,
        clock: Clock | None = None,
        audience: str = AUDIENCE,
    ) -> None:
        self._keys = keys
        self._issuer = issuer_of(workspace)
        self._revoked = revoked
        self._clock = clock or SystemClock()
        self._audience = audience

    def verify(self, token: str) -> Caller:
        """Return who a token speaks for.

        Raises:
            Unauthenticated: It is not one of ours, not for us, not good any more, or revoked.
        """
        claims = self._claims(token)
        if self._revoked(claims["jti"]):
            raise Unauthenticated("the token was revoked")
        try:
            role, kind, scopes = Role(claims["role"]), str(claims["kind"]), claims["scopes"]
            caller = Caller(claims["sub"], kind, role, validate_scopes(scopes), claims["jti"])
        except (ValueError, TypeError, Rejected) as error:
            raise Unauthenticated("the token says nothing that can be understood") from error
        return caller

    def expires_at(self, token: str) -> datetime:
        """Return until when a token is good; Unauthenticated as `verify` says."""
        return datetime.fromtimestamp(self._claims(token)["exp"], UTC)

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > TOKEN_BYTES_MAX:
            raise Unauthenticated("the token is too long")
        try:
            key = self._keys.keys[str(jwt.get_unverified_header(token).get("kid", ""))]
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                # Time is compared below, with our clock.
                options={"require": list(_REQUIRED), "verify_exp": False, "verify_iat": False},
            )
        except KeyError as error:
            raise Unauthenticated("the token is signed with a key that is not known") from error
        except (jwt.InvalidTokenError, ValueError, TypeError) as error:
            raise Unauthenticated(f"the token is not good: {error}") from error
        now = self._clock.now().timestamp()
        if not isinstance(claims["exp"], int) or claims["exp"] + LEEWAY_S < now:
            raise Unauthenticated("the token has expired")
        if not isinstance(claims["iat"], int) or claims["iat"] - LEEWAY_S > now:
            raise Unauthenticated("the token is not good yet: do the machines' clocks agree?")
        return claims


def issuer_of(workspace: str) -> str:
    """Return the issuer that tokens of a workspace name."""
    return f"loopline/{workspace}"


def _public_jwk(key: Ed25519PublicKey) -> dict[str, str]:
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "alg": ALGORITHM, "use": "sig", "x": _padless(raw)}


def _padless(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _document(text: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return _read(Path(text))
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise Rejected("the key is no JSON") from error
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Rejected(f"the key file {path} cannot be read: {error}") from error
    return found
