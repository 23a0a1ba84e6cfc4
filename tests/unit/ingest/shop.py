"""A customer's bucket in memory, and an ingest over in-memory twins that imports from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import cv2
import numpy as np
import orjson
from numpy.typing import NDArray

from loopline.contracts import DatasetCommitted, ImportImages, RunChanged, catalog
from loopline.demo.images import Picture, read_pictures
from loopline.errors import NotFound
from loopline.store.blobs import BlobInfo, MemoryBlobs
from loopline.store.commits import Committed
from loopline.store.items import Item
from loopline.store.objects import Area
from loopline.testing.memory import MemoryBus, delivery, memory_service, pump
from services.ingest.domain.ports import ImageSource
from services.ingest.service import Ingest
from services.ingest.settings import IngestSettings

DATASET = "catalogue"
BUCKET = "photos"


class ShopBucket(MemoryBlobs):
    """A bucket whose objects have etags, as S3 has them."""

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `ImageSource`."""
        for info in super().list(prefix):
            etag = hashlib.md5(self.get(info.key)).hexdigest()  # S3's etag
            yield BlobInfo(info.key, info.size_bytes, info.modified_at, etag)

    def get_version(self, key: str, *, limit_bytes: int) -> tuple[bytes, str]:
        """See `ImageSource`."""
        data = self.get(key)
        return data[:limit_bytes], hashlib.md5(data).hexdigest()  # S3's etag


@dataclass
class Shop:
    """A running ingest with what a test needs around it."""

    service: Ingest
    bus: MemoryBus
    bucket: ShopBucket
    events: int = field(default=0)

    def command(self, **fields: Any) -> ImportImages:
        """Return a command to import the whole bucket."""
        source = {"connection": "customer", "bucket": BUCKET, "prefix": fields.pop("prefix", "")}
        return ImportImages(**{"dataset": DATASET, "source": source, **fields})

    def source(self, connection: str, bucket: str) -> ImageSource:
        """Return the bucket, if it is that of the one connection that there is."""
        if (connection, bucket) != ("customer", BUCKET):
            raise NotFound(f"there is no bucket {bucket!r}", bucket=bucket)
        return self.bucket

    async def ask(self, command: ImportImages) -> None:
        """Hand a command to its handler, as the bus would."""
        self.events += 1
        await self.service.on_import_images(command, delivery(self.events, source="shop"))

    async def run(self, **fields: Any) -> Committed[DatasetCommitted]:
        """Import, and return the dataset's head."""
        await self.ask(self.command(**fields))
        await self.pump()
        head = await self.head()
        assert head is not None
        return head

    async def pump(self) -> None:
        """Do all work that is waiting."""
        await pump(self.bus, self.service)

    async def head(self) -> Committed[DatasetCommitted] | None:
        """Return the dataset's last version."""
        return await self.service.datasets.head(DATASET)

    async def items(self) -> dict[str, Item]:
        """Return the dataset's items by the name of their file."""
        head = await self.head()
        assert head is not None
        tree = await self.service.datasets.tree(head)
        return {item.source.rpartition("/")[2]: item async for item in tree.rows()}

    async def report(self) -> dict[str, Any]:
        """Return the head's drop report."""
        head = await self.head()
        assert head is not None
        [output] = head.commit.run.outputs
        report: dict[str, Any] = orjson.loads(
            await self.service.objects.get(Area.REPORTS, output.digest)
        )
        return report

    async def reasons(self) -> dict[str, str]:
        """Return why objects were dropped, by key."""
        return {drop["key"]: drop["reason"] for drop in (await self.report())["drops"]}

    def reports(self) -> list[RunChanged]:
        """Return what the runs said of themselves."""
        return self.bus.sent(catalog.RUN_CHANGED)


def settings(**fields: Any) -> IngestSettings:
    """Return settings with small chunks."""
    return IngestSettings(**{"import_chunk_objects": 8, **fields})


async def open_shop(**fields: Any) -> Shop:
    """Return a running ingest over an empty bucket."""
    bus, bucket = MemoryBus(), ShopBucket()
    service = memory_service(Ingest, settings(**fields), bus, MemoryBlobs())
    await service.start()
    shop = Shop(service, bus, bucket)
    service.sources = shop.source
    return shop


@cache
def pictures() -> tuple[Picture, ...]:
    """Return real product photos, 28x28 px PNG files."""
    return tuple(picture for picture in read_pictures() if picture.part != "spare")


def png(number: int) -> bytes:
    """Return the bytes of the product photo `number`."""
    return pictures()[number].data


def pixels(data: bytes) -> NDArray[np.uint8]:
    """Decode an image as it is stored."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)


def encoded(image: NDArray[np.uint8], extension: str = ".png") -> bytes:
    """Encode an image."""
    done, data = cv2.imencode(extension, image)
    assert done
    return bytes(data.tobytes())
