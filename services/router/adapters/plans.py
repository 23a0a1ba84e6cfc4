"""Plans, chunks' assets and chunks' results in the object store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from loopline.digests import canonical_json
from loopline.errors import Rejected
from loopline.store.objects import Area, ObjectStore
from services.router.domain.plan import RoutingPlan
from services.router.domain.results import Routed, Summary, from_lines, to_lines

RESULTS_AT_ONCE = 32  # a result of 1,000 predictions is 300 KB


class Plans:
    """What a routing run writes for itself; garbage once it is committed."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def save(self, plan: RoutingPlan) -> str:
        """Store a plan; return its object digest."""
        return await self._objects.put(Area.PLANS, plan.to_json())

    async def load(self, digest: str) -> RoutingPlan:
        """Return the plan under `digest`."""
        return RoutingPlan.from_json(_json(await self._objects.get(Area.PLANS, digest)))

    async def save_assets(self, chunks: Sequence[Sequence[str]]) -> list[str]:
        """Store lists of assets; return their object digests."""
        return await self._objects.put_many(Area.PLANS, [canonical_json(c) for c in chunks])

    async def load_assets(self, digest: str) -> list[str]:
        """Return a list of assets: a chunk, or a whole selection."""
        assets = _json(await self._objects.get(Area.PLANS, digest))
        if not isinstance(assets, list):
            raise Rejected(f"the object {digest[:12]} is not a list of assets", digest=digest)
        return [str(asset) for asset in assets]

    async def save_result(self, routed: Iterable[Routed]) -> str:
        """Store a chunk's result; return its object digest."""
        return await self._objects.put(Area.PLANS, to_lines(routed))

    async def summary(self, results: Sequence[str]) -> Summary:
        """Return the results of all chunks put together."""
        summary = Summary()
        for start in range(0, len(results), RESULTS_AT_ONCE):
            page = results[start : start + RESULTS_AT_ONCE]
            for data in await self._objects.get_many(Area.PLANS, page):
                summary.add(from_lines(data))
        return summary


def _json(data: bytes) -> Any:  # whatever it holds is checked by its reader
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"a plan's object is not JSON: {error}") from error
