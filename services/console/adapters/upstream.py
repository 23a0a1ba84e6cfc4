"""Asks other services for people, with a short-lived token of who asks."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from functools import cache
from urllib.parse import quote

import httpx
from fastapi import Request, Response

from loopline.access import Caller, TokenIssuer
from loopline.digests import sha256_hex
from loopline.errors import NotFound, Rejected, Transient
from services.console.domain.policy import is_plain

LIFETIME_S = 60.0
PASSED_ON = ("content-type", "accept", "if-none-match")
PASSED_BACK = ("content-type", "cache-control", "etag", "content-disposition", "location")
NO_BODY = ("GET", "HEAD")


@cache
def _certificates() -> ssl.SSLContext:
    """Return what others' certificates are checked by: read once, it takes 30 ms."""
    return httpx.create_ssl_context(trust_env=False)


class Upstream:
    """One service behind the console.

    Args:
        name: For people: "annotate".
        url: Where it answers.
        issuer: Signs tokens; None if this console has no key.
        api_token: What is shown instead, then.
        timeout_s: For one request.
        answer_max_bytes: Larger answers are refused.
        body_max_bytes: Larger requests are refused.
        transport: How requests travel; the network if None.
    """

    def __init__(
        self,
        name: str,
        url: str,
        issuer: TokenIssuer | None,
        api_token: str,
        *,
        timeout_s: float,
        answer_max_bytes: int,
        body_max_bytes: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._name = name
        self._issuer = issuer
        self._api_token = api_token
        self._answer_max_bytes = answer_max_bytes
        self._body_max_bytes = body_max_bytes
        self._client = httpx.AsyncClient(
            base_url=url, timeout=timeout_s, follow_redirects=False, trust_env=False,
            transport=transport, verify=_certificates(),
        )  # fmt: skip

    async def forward(self, request: Request, path: str, caller: Caller) -> Response:
        """Return the service's answer to a request of a person.

        Args:
            request: Whose method, query and body go there.
            path: Below the service's address, not percent-encoded.
            caller: Who asks.

        Raises:
            NotFound: The path leaves the API.
            Rejected: The body is too large.
            Transient: The service does not answer, or says too much.
        """
        if not is_plain(path):
            raise NotFound(f"there is nothing at {path!r}")
        body = b"" if request.method in NO_BODY else await self._body(request)
        headers = {n: request.headers[n] for n in PASSED_ON if n in request.headers}
        headers["authorization"] = f"Bearer {self._token(caller)}"
        status, told, data = await self._ask(
            request.method, quote(path, safe="/:@"), str(request.url.query), headers, body
        )
        kept = {name: told[name] for name in PASSED_BACK if name in told}
        if request.method == "GET" and status == 200:
            kept.setdefault("etag", f'"{sha256_hex(data)[:32]}"')
            if request.headers.get("if-none-match") == kept["etag"]:
                return Response(status_code=304, headers={"etag": kept["etag"]})
        return Response(data, status, kept)

    async def close(self) -> None:
        """Let connections go."""
        await self._client.aclose()

    def _token(self, caller: Caller) -> str:
        if self._issuer is None or caller.kind == "local":
            return self._api_token
        return self._issuer.issue(
            caller.name, role=caller.role, scopes=caller.scopes, kind=caller.kind,
            lifetime_s=LIFETIME_S,
        )  # fmt: skip

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self._body_max_bytes:
                raise Rejected(f"the body is larger than {self._body_max_bytes} bytes")
        return bytes(body)

    async def _ask(
        self, method: str, path: str, query: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, httpx.Headers, bytes]:
        url = f"{path}?{query}" if query else path
        data = bytearray()
        try:
            async with self._client.stream(
                method, url, headers=headers, content=body or None
            ) as answer:
                async for part in _parts(answer):
                    data += part
                    if len(data) > self._answer_max_bytes:
                        raise Transient(f"{self._name} says more than the console may hold")
        except httpx.HTTPError as error:
            raise Transient(f"{self._name} does not answer: {type(error).__name__}") from error
        return answer.status_code, answer.headers, bytes(data)


async def _parts(answer: httpx.Response) -> AsyncIterator[bytes]:
    async for part in answer.aiter_bytes():
        yield part
