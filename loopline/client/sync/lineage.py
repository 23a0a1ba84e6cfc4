"""`client.lineage`: the workflow graph.

Generated from `loopline.client.lineage` by `python -m loopline.client.generate`; do not edit.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from loopline.client import lineage as _lineage
from loopline.client.portal import Portal
from loopline.contracts import BucketLocation
from loopline.lineage.completeness import Completeness
from loopline.lineage.trace import Step
from loopline.store.verify import VerifyReport


class LineageVerbs:
    """Questions to the workflow graph. Answers are the JSON of lineage's API (docs/lineage.md)."""

    def __init__(self, portal: Portal, client: _lineage.LineageVerbs) -> None:
        self._portal = portal
        self._client = client

    def graph(self, focus: str = "", direction: str = "") -> dict[str, Any]:
        """Return nodes and edges; only those around `focus` if named."""
        return self._portal.call(self._client.graph(focus, direction))

    def node(self, node: str) -> dict[str, Any]:
        """Return one node, "dataset:catalogue@1"; NotFound if there is none of that id."""
        return self._portal.call(self._client.node(node))

    def trace(self, target: str = "") -> Step:
        """Return the path from a delivered object, an image or a node back to where it came from.

        Args:
            target: A delivered object's URI or key, an asset's digest, a node's id, or "" for an
                object of the last delivery.

        Raises:
            NotFound: There is no such thing.
        """
        return self._portal.call(self._client.trace(target))

    def check(self) -> Completeness:
        """Compare the graph with the log: is every commit in it, and nothing else?"""
        return self._portal.call(self._client.check())

    def destinations(self) -> builtins.list[BucketLocation]:
        """Return the places of customers' storage that anything was delivered to."""
        return self._portal.call(self._client.destinations())

    def verify(
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
        return self._portal.call(self._client.verify(connection, bucket, prefix, progress=progress))
