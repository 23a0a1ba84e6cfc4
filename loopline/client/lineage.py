"""`client.lineage`: the workflow graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from loopline.client.session import Session
from loopline.contracts import BucketLocation, catalog
from loopline.lineage.completeness import GRAPHED, Completeness, compare
from loopline.lineage.journal import Journal
from loopline.lineage.trace import Step, Tracer
from loopline.store.connections import find_connection
from loopline.store.verify import VerifyReport, verify


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

    async def trace(self, target: str = "") -> Step:
        """Return the path from a delivered object, an image or a node back to where it came from.

        Args:
            target: A delivered object's URI or key, an asset's digest, a node's id, or "" for an
                object of the last delivery.

        Raises:
            NotFound: There is no such thing.
        """
        session = self._session
        return await Tracer(await Journal.read(session.log), session.objects).trace(target)

    async def check(self) -> Completeness:
        """Compare the graph with the log: is every commit in it, and nothing else?"""
        page = await self._get("/v1/commits", {})
        through, graphed = page["applied_sequence"], page["sequences"]
        while page["next"] is not None:
            page = await self._get("/v1/commits", {"after": str(page["next"])})
            graphed += page["sequences"]
        # Read after the graph: what is in it is in the log by then.
        logged = [one async for one in self._session.log.read(GRAPHED)]
        return compare(logged, graphed, through)

    async def destinations(self) -> list[BucketLocation]:
        """Return the places of customers' storage that anything was delivered to."""
        heads = await self._session.log.heads(catalog.DELIVERY_COMMITTED)
        return [head.message.destination for head in heads if head.message.destination.bucket]

    async def verify(
        self,
        connection: str,
        bucket: str,
        prefix: str = "",
        *,
        progress: Callable[[int], None] | None = None,
    ) -> VerifyReport:
        """Walk every object below a place of a customer's storage and prove its chain from the log.

        Args:
            connection: Name of a configured connection.
            bucket: The bucket.
            prefix: Only objects whose key starts with this.
            progress: Called with the number of objects looked at so far.

        Raises:
            Rejected: The connection is not configured here, or the bucket refuses its key.
        """
        session = self._session
        found = find_connection(session.settings.connections_file, connection)
        place = BucketLocation(connection=connection, bucket=bucket, prefix=prefix)
        return await verify(session.log, session.objects, found.bucket(bucket), place, progress)

    async def _get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        session = self._session
        response = await session.http(session.settings.lineage_http, "GET", path, params=query)
        answer: dict[str, Any] = response.json()
        return answer
