"""Walks every object in a results bucket and proves its chain from the log alone.

bytes -> delivery -> predictions -> model -> training run -> dataset versions -> import or labels ->
source asset. Nothing here asks a service or a database: what a customer needs to check us is the
log, the object store and the bucket.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from loopline.contracts import (
    BucketLocation,
    DeliveryCommitted,
)
from loopline.digests import sha256_hex
from loopline.errors import Corrupt, LooplineError, NotFound, Rejected
from loopline.lineage.delivered import Delivered, Origin
from loopline.lineage.fragments import bucket_uri
from loopline.lineage.journal import Journal
from loopline.lineage.origins import Origins
from loopline.lineage.proof import BrokenLink, Proven, Prover
from loopline.store.blobs import BlobInfo, BlobStore
from loopline.store.commits import CommitLog, Committed
from loopline.store.items import DELIVERIES, DeliveredObject
from loopline.store.objects import Area, ObjectStore
from loopline.store.trees import TreeStore

BATCH_OBJECTS = 256
READS_IN_FLIGHT = 16
PROBLEMS_MAX = 1_000  # kept in the report; the rest is counted
MANIFEST = "manifest.json"
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a walk over a results bucket found.

    Args:
        location: The URI of what was walked.
        objects: Delivered objects that were looked at, manifests not counted.
        manifests: Manifests that were looked at.
        commits: Commits of the log that chains were followed in.
        links: How many times each kind of link was proven.
        problems: The links that do not hold, the first `PROBLEMS_MAX` of them.
        problems_count: How many there are in all.
    """

    location: str
    objects: int
    manifests: int
    commits: int
    links: Mapping[str, int]
    problems: tuple[BrokenLink, ...]
    problems_count: int

    @property
    def ok(self) -> bool:
        """Whether every chain holds."""
        return self.problems_count == 0


async def verify(
    log: CommitLog,
    objects: ObjectStore,
    bucket: BlobStore,
    place: BucketLocation,
    progress: Progress | None = None,
) -> VerifyReport:
    """Prove every object under a place of a customer's storage, and that none is missing.

    Args:
        log: The workspace's log.
        objects: The workspace's object store.
        bucket: The customer's bucket.
        place: Which connection, bucket and prefix it is.
        progress: Called with the number of objects looked at so far; None for no one.

    Raises:
        Rejected: The bucket does not exist or refuses us.
        Transient: The log, the store or the bucket does not answer.
    """
    journal = await Journal.read(log)
    walk = _Walk(journal, objects, place)
    await walk.load_deliveries()
    with ThreadPoolExecutor(READS_IN_FLIGHT, thread_name_prefix="verify") as threads:
        async with aclosing(_read_all(bucket, place.prefix, threads)) as batches:
            async for batch in batches:
                await walk.look_at(batch)
                if progress is not None:
                    progress(walk.objects)
    walk.look_for_missing()
    return walk.report()


class _BrokenError(Exception):
    """An object is not what was delivered: nothing more can be proven of it."""

    def __init__(self, link: str, subject: str, reason: str) -> None:
        super().__init__(reason)
        self.broken = BrokenLink(link, subject, reason)


class _Walk:
    """What has been seen so far."""

    def __init__(self, journal: Journal, objects: ObjectStore, place: BucketLocation) -> None:
        self.objects = 0
        self._manifests = 0
        self._journal = journal
        self._store = objects
        self._place = place
        self._prover = Prover(journal, objects)
        self._origins = Origins(journal, objects)
        self._links: Counter[str] = Counter()
        self._problems: dict[BrokenLink, None] = {}
        self._problems_count = 0
        self._delivered: dict[str, tuple[str, DeliveredObject]] = {}  # flow and row, by key
        self._deliveries: dict[str, Committed[DeliveryCommitted]] = {}  # last, by its prefix
        self._seen: set[str] = set()

    async def load_deliveries(self) -> None:
        """Read what should be there: for every destination in this place, its last delivery."""
        for committed in self._journal.commits:
            message = committed.message
            if isinstance(message, DeliveryCommitted) and self._is_here(message.destination):
                self._deliveries[message.destination.prefix] = committed
        trees = TreeStore(self._store, DELIVERIES)
        for delivery in self._deliveries.values():
            try:
                tree = await trees.open(delivery.message.tree.root_object)
                rows = [row async for row in tree.rows()]
            except (NotFound, Corrupt) as error:
                self._broken("delivery", f"{delivery.ref.name}@v{delivery.ref.version}", error)
                continue
            self._delivered.update((row.key, (delivery.ref.name, row)) for row in rows)

    async def look_at(self, batch: Sequence[tuple[str, bytes]]) -> None:
        """Prove a batch of objects."""
        grouped: defaultdict[Origin, list[tuple[str, Delivered]]] = defaultdict(list)
        for key, data in batch:
            self._seen.add(key)
            if key.removesuffix(MANIFEST) in self._deliveries:
                self._look_at_manifest(key, data)
                continue
            self.objects += 1
            try:
                delivered = self._delivered_as(key, data)
            except _BrokenError as error:
                self._add(error.broken)
            else:
                grouped[delivered.origin].append((key, delivered))
        for origin, members in grouped.items():
            proven = await self._prover.prove(origin)
            if not proven.broken:
                self._links["origin"] += len(members)
            for broken in proven.broken:
                self._add(broken)
            await self._look_at_predictions(proven, members)
            await self._look_at_items(proven, members)
            await self._look_at_origins(origin, members)
            await self._look_at_assets(members)

    def look_for_missing(self) -> None:
        """Tell what was delivered and is no longer there."""
        for key, (flow, _) in self._delivered.items():
            if key.startswith(self._place.prefix) and key not in self._seen:
                self._broken("object", key, f"the flow {flow} delivered it, and it is not there")

    def report(self) -> VerifyReport:
        """Return what was found."""
        place = self._place
        return VerifyReport(
            bucket_uri(place.connection, place.bucket, place.prefix),
            self.objects,
            self._manifests,
            len(self._journal.commits),
            dict(sorted(self._links.items())),
            tuple(self._problems),
            self._problems_count,
        )

    def _is_here(self, destination: BucketLocation) -> bool:
        here = self._place
        return (destination.connection, destination.bucket) == (here.connection, here.bucket)

    def _delivered_as(self, key: str, data: bytes) -> Delivered:
        """Return an object that is the one that was delivered under its key."""
        flow, row = self._delivered.get(key, ("", None))
        if row is None:
            raise _BrokenError("delivery", key, "no flow's last delivery names it")
        if sha256_hex(data) != row.digest:
            raise _BrokenError("bytes", key, f"it is not what {flow} delivered")
        try:
            delivered = Delivered.parse(data)
        except Rejected as error:
            raise _BrokenError("object", key, error.message) from error
        origin = delivered.origin
        said = (origin.flow, delivered.asset, origin.model_digest, origin.predictions)
        if said != (flow, row.asset, row.model, row.predictions):
            raise _BrokenError("delivery", key, f"it says another origin than {flow}'s delivery")
        self._links["bytes"] += 1
        return delivered

    def _look_at_manifest(self, key: str, data: bytes) -> None:
        self._manifests += 1
        delivery = self._deliveries[key.removesuffix(MANIFEST)]
        try:
            document = orjson.loads(data)
            said = document["loopline"]["delivery_digest"]
            entries = [(one["key"], one["sha256"]) for one in document["objects"]]
        except (ValueError, LookupError, TypeError) as error:
            self._broken("manifest", key, f"it cannot be read: {type(error).__name__}: {error}")
            return
        if said != delivery.message.tree.digest:
            self._broken("manifest", key, f"it is not that of {delivery.ref.name}'s last delivery")
            return
        for name, digest in entries:
            _, row = self._delivered.get(name, ("", None))
            if row is None or row.digest != digest:
                self._broken("manifest", key, f"it names {name}, which was not delivered so")
        self._links["manifest"] += 1

    async def _look_at_predictions(
        self, proven: Proven, members: Sequence[tuple[str, Delivered]]
    ) -> None:
        if proven.predictions is None:
            return
        rows = await self._rows(proven.predictions.get, members, "predictions")
        for key, delivered in members:
            row = rows.get(delivered.asset)
            if row is None:
                self._broken("predictions", key, "its image is not among the predictions")
            elif reason := delivered.differs_from(row, proven.classes, proven.threshold):
                self._broken("predictions", key, reason)
            else:
                self._links["predictions"] += 1

    async def _look_at_items(
        self, proven: Proven, members: Sequence[tuple[str, Delivered]]
    ) -> None:
        if proven.items is None:
            return
        rows = await self._rows(proven.items.get, members, "dataset")
        for key, delivered in members:
            row = rows.get(delivered.asset)
            if row is None:
                self._broken("dataset", key, "its image is not in the dataset version it names")
            elif reason := delivered.differs_from_item(row):
                self._broken("dataset", key, reason)
            else:
                self._links["dataset"] += 1

    async def _look_at_origins(
        self, origin: Origin, members: Sequence[tuple[str, Delivered]]
    ) -> None:
        """Prove that each image was brought in by an import from the source it names."""
        assets = [delivered.asset for _, delivered in members]
        reasons = await self._origins.unproven(origin.dataset, origin.dataset_version, assets)
        for key, delivered in members:
            if reason := reasons.get(delivered.asset, ""):
                self._broken("import", key, reason)
            else:
                self._links["import"] += 1

    async def _look_at_assets(self, members: Sequence[tuple[str, Delivered]]) -> None:
        """Prove that the bytes of each image hash to its name."""
        reads = (self._store.get(Area.ASSETS, delivered.asset) for _, delivered in members)
        found = await asyncio.gather(*reads, return_exceptions=True)
        for (key, _), result in zip(members, found, strict=True):
            if isinstance(result, NotFound | Corrupt):
                self._broken("asset", key, result.message)
            elif isinstance(result, BaseException):
                raise result
            else:
                self._links["asset"] += 1

    async def _rows(
        self,
        get: Callable[[Sequence[str]], Any],
        members: Sequence[tuple[str, Delivered]],
        link: str,
    ) -> dict[str, Any]:  # rows of whichever tree
        try:
            rows: dict[str, Any] = await get([delivered.asset for _, delivered in members])
            return rows
        except (NotFound, Corrupt) as error:
            self._broken(link, members[0][1].origin.dataset, error)
            return {}

    def _broken(self, link: str, subject: str, reason: str | LooplineError) -> None:
        text = reason.message if isinstance(reason, LooplineError) else reason
        self._add(BrokenLink(link, subject, text))

    def _add(self, broken: BrokenLink) -> None:
        if broken not in self._problems:
            self._problems_count += 1
            if len(self._problems) < PROBLEMS_MAX:
                self._problems[broken] = None


async def _read_all(
    bucket: BlobStore, prefix: str, threads: ThreadPoolExecutor
) -> AsyncGenerator[list[tuple[str, bytes]], None]:
    """Yield every object of a bucket in batches, each read many at once."""
    loop = asyncio.get_running_loop()
    listing = iter(bucket.list(prefix))
    while keys := await loop.run_in_executor(threads, _page, listing):
        reads = (loop.run_in_executor(threads, bucket.get, key) for key in keys)
        yield list(zip(keys, await asyncio.gather(*reads), strict=True))


def _page(listing: Iterator[BlobInfo]) -> list[str]:
    return [info.key for info in islice(listing, BATCH_OBJECTS)]
