"""`client.lineage`: the workflow graph."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from loopline.client.session import Session


class LineageVerbs:
    """Questions to the workflow graph. Answers are the JSON of lineage's API (docs/lineage.md)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def graph(self, focus: str = "", direction: str = "") -> dict[str, Any]:
        """Return nodes and edges; only those around `focus` if named."""
        query = {"focus": focus, "direction": direction}
        return await self._get("/v1/graph", {k: v for k, v in query.items() if v})

    async def node(self, node: str) -> dict[str, Any]:
        """Return one node, "dataset:catalogue@1"; NotFound if there is none of that id."""
        return await self._get(f"/v1/nodes/{quote(node, safe=':@/')}", {})

    async def _get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        session = self._session
        response = await session.http(session.settings.lineage_http, "GET", path, params=query)
        answer: dict[str, Any] = response.json()
        return answer
