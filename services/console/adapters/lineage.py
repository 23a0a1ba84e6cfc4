"""Asks the lineage service on the browser's behalf, with a token that the browser never sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from loopline.digests import sha256_hex
from loopline.errors import Transient


@dataclass(frozen=True, slots=True)
class Answer:
    """What the lineage service said.

    Attributes:
        status: The HTTP status.
        body: The bytes, JSON.
        tag: An entity tag over the bytes: an unchanged graph need not travel again.
    """

    status: int
    body: bytes
    media_type: str

    @property
    def tag(self) -> str:
        """Return the entity tag, quoted."""
        return f'"{sha256_hex(self.body)[:32]}"'


class LineageClient:
    """Reads from the lineage service.

    Args:
        url: Its address.
        token: Bearer token; none if empty.
        timeout_s: For one request.
        size_max_bytes: Larger answers are refused.
        transport: How requests travel; the network if None.
    """

    def __init__(
        self,
        url: str,
        token: SecretStr,
        timeout_s: float,
        size_max_bytes: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        secret = token.get_secret_value()
        self._size_max_bytes = size_max_bytes
        self._client = httpx.AsyncClient(
            base_url=url,
            timeout=timeout_s,
            headers={"authorization": f"Bearer {secret}"} if secret else {},
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    async def get(self, path: str, query: Mapping[str, str] | str) -> Answer:
        """Return its answer to a GET.

        Args:
            path: Below its address, percent-encoded: "/v1/graph".
            query: What comes behind the "?".

        Raises:
            Transient: It does not answer, or says too much.
        """
        try:
            async with self._client.stream("GET", path, params=query or None) as answer:
                body = bytearray()
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > self._size_max_bytes:
                        raise Transient("the lineage service says more than the console may hold")
        except httpx.HTTPError as error:
            reason = f"the lineage service does not answer: {type(error).__name__}"
            raise Transient(reason) from error
        media_type = answer.headers.get("content-type", "application/json")
        return Answer(answer.status_code, bytes(body), media_type)

    async def close(self) -> None:
        """Let connections go."""
        await self._client.aclose()
