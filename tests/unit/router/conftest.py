"""A router over in-memory twins, with what the other services would have committed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import PrivateAttr

from loopline.contracts import DeliveryCommitted, catalog
from loopline.digests import sha256_hex
from loopline.errors import NotFound
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import Committed
from loopline.store.items import DELIVERIES, DeliveredObject
from loopline.store.trees import TreeStore
from loopline.testing.flywheel import Flywheel
from loopline.testing.memory import ManualClock, MemoryBus, memory_service, pump
from services.router.service import Router
from services.router.settings import RouterSettings


class MemorySettings(RouterSettings):
    """Settings whose customers' buckets are in memory."""

    _buckets: dict[str, MemoryBlobs] = PrivateAttr(default_factory=dict)

    def customer_blobs(self, name: str, bucket: str) -> MemoryBlobs:  # type: ignore[override]
        """Return the bucket, if it was made."""
        if bucket not in self._buckets:
            raise NotFound(f"there is no bucket {bucket!r}", bucket=bucket)
        return self._buckets[bucket]

    def make_bucket(self, name: str) -> MemoryBlobs:
        """Make a customer's bucket."""
        return self._buckets.setdefault(name, MemoryBlobs())


@dataclass
class World:
    """A router, the bus it talks to, and the storage it writes to."""

    tmp_path: Path
    bus: MemoryBus = field(default_factory=MemoryBus)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.settings = MemorySettings(data_dir=self.tmp_path)
        self.router = self.start_router()
        self.wheel = Flywheel(self.router.log, self.router.objects)

    def start_router(self) -> Router:
        """Return another router process on the same bus and storage."""
        return memory_service(Router, self.settings, self.bus, self.blobs, clock=self.clock)

    async def settle(self) -> None:
        """Hand every message to the router until nothing is left."""
        await pump(self.bus, self.router)

    def bucket(self, name: str = "results") -> dict[str, bytes]:
        """Return what is in a customer's bucket."""
        blobs = self.settings.make_bucket(name)
        return {info.key: blobs.get(info.key) for info in blobs.list("")}

    async def delivery(self, flow: str) -> Committed[DeliveryCommitted]:
        """Return the last delivery of a flow."""
        head = await self.router.log.head(catalog.DELIVERY_COMMITTED, name=flow)
        assert head is not None
        return head

    async def delivered(self, flow: str) -> dict[str, DeliveredObject]:
        """Return the rows of the last delivery of a flow."""
        head = await self.delivery(flow)
        tree = await TreeStore(self.router.objects, DELIVERIES).open(head.message.tree.root_object)
        return {row.asset: row async for row in tree.rows()}

    async def check_bucket(self, flow: str, bucket: str = "results") -> None:
        """Assert that the bucket holds exactly what the last delivery's tree names."""
        found = {
            key: sha256_hex(data)
            for key, data in self.bucket(bucket).items()
            if not key.endswith("manifest.json")
        }
        assert found == {row.key: row.digest for row in (await self.delivered(flow)).values()}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.router.start()
    yield world
    await world.router.stop()
    world.router.objects.close()
