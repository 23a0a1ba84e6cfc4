"""An OpenID Connect provider for tests: discovery, authorization code with PKCE, ID tokens."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from loopline.runtime.http import HttpServer

CLIENT_ID = "loopline-console"
CLIENT_SECRET = "client secret"


@cache
def own_key() -> rsa.RSAPrivateKey:
    """Return what providers sign with: one is enough, and takes a third of a second to find."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Provider:
    """Signs in whoever `claims` says, and can be told to misbehave.

    Attributes:
        claims: Of the next ID token.
        spoiled: Claims put over them: another audience, nonce, issuer.
        key: Signs; a foreign one makes worthless tokens.
    """

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {
            "sub": "42", "preferred_username": "ann", "email": "ann@example.org",
            "email_verified": True,
        }  # fmt: skip
        self.spoiled: dict[str, Any] = {}
        self.own_key = own_key()
        self.key = self.own_key
        self._codes: dict[str, Mapping[str, str]] = {}
        app = FastAPI()
        app.add_api_route("/.well-known/openid-configuration", self.discovery)
        app.add_api_route("/authorize", self.authorize)
        app.add_api_route("/token", self.token, methods=["POST"])
        app.add_api_route("/jwks", self.jwks)
        self.server = HttpServer(app, lambda: "", "127.0.0.1", 0)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def discovery(self) -> dict[str, str]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
        }

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(8)
        self._codes[code] = asked
        back = urlencode({"code": code, "state": asked["state"]})
        return RedirectResponse(f"{asked['redirect_uri']}?{back}", 302)

    async def token(self, request: Request) -> Response:
        form = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
        asked = self._codes.pop(form["code"], None)
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {expected}":
            raise HTTPException(401)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 60,
            "nonce": asked["nonce"], **self.claims, **self.spoiled,
        }  # fmt: skip
        id_token = jwt.encode(claims, self.key, "RS256", headers={"kid": "k1"})
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "id_token": id_token})

    async def jwks(self) -> dict[str, Any]:
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self.own_key.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": "k1", "use": "sig", "alg": "RS256"}]}


def path_of(url: str) -> str:
    """Return a URL's path and query."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
