"""Plans imports: lists the bucket, reads the labels, cuts the work into slices."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import islice

from loopline.clock import Clock
from loopline.digests import digest_of, sha256_hex
from loopline.errors import Rejected
from loopline.runtime.chunks import chunk_size
from loopline.store import runs
from loopline.store.objects import Area, ObjectStore
from services.ingest.adapters import provenance
from services.ingest.adapters.labels import read_table
from services.ingest.domain.labels import LabelTable
from services.ingest.domain.plan import Entry, Listed, Plan, encode_slice, slices, source_uri
from services.ingest.domain.ports import ImageSource
from services.ingest.domain.request import Request
from services.ingest.domain.splits import TEST
from services.ingest.settings import IngestSettings


@dataclass(frozen=True, slots=True)
class Survey:
    """What is there to import, and the key of the run that would import it.

    Args:
        run_id: Equal for equal content of the bucket, request and code.
        request: What is asked.
        began_at: When the survey began, RFC 3339.
        listed: The objects, sorted by key.
        labels: The CSV file's bytes, or None.
        listing_digest: Digest over keys, etags and sizes.
        labels_digest: sha256 of the labels, or "".
    """

    run_id: str
    request: Request
    began_at: str
    listed: tuple[Listed, ...]
    labels: bytes | None
    listing_digest: str
    labels_digest: str


class Planner:
    """Surveys buckets and writes plans.

    Args:
        objects: Where plans are kept.
        settings: Limits.
        code_digest: Part of a run's key.
        clock: Time.
    """

    def __init__(
        self, objects: ObjectStore, settings: IngestSettings, code_digest: str, clock: Clock
    ) -> None:
        self._objects = objects
        self._settings = settings
        self._code_digest = code_digest
        self._clock = clock

    async def survey(self, request: Request, source: ImageSource) -> Survey:
        """Return what is there.

        Raises:
            Rejected: The bucket is not there, refuses the key, holds nothing or too much below the
                prefix; or the labels are not there or too large.
        """
        began_at = self._clock.now().isoformat()
        listed = await asyncio.to_thread(self._list, request, source)
        labels = await asyncio.to_thread(self._labels, request, source)
        listing_digest = digest_of([[one.key, one.etag, one.size_bytes] for one in listed])
        labels_digest = sha256_hex(labels) if labels is not None else ""
        run_id = runs.run_key(
            provenance.IMPORT,
            provenance.inputs(request, listing_digest, labels_digest),
            request.parameters,
            self._code_digest,
        )
        return Survey(run_id, request, began_at, listed, labels, listing_digest, labels_digest)

    async def plan(self, survey: Survey) -> Plan:
        """Cut the work into slices and store them.

        Raises:
            Rejected: The labels cannot be read at all.
        """
        table = await asyncio.to_thread(_read_table, survey)
        prefix = survey.request.prefix
        entries = [
            Entry(listed, table.by_file.get(listed.key.removeprefix(prefix)))
            for listed in survey.listed
        ]
        size = chunk_size(len(entries), self._settings.import_chunk_objects)
        encoded = [encode_slice(part) for part in slices(entries, size)]
        return Plan(
            run_id=survey.run_id,
            request=survey.request,
            began_at=survey.began_at,
            objects=len(entries),
            slice_objects=size,
            slices=tuple(await self._objects.put_many(Area.PLANS, encoded)),
            problems=table.problems,
            test_is_given=any(labels.split == TEST for labels in table.by_file.values()),
            listing_digest=survey.listing_digest,
            labels_digest=survey.labels_digest,
        )

    async def keep(self, plan: Plan) -> str:
        """Store a plan; return its object digest."""
        return await self._objects.put(Area.PLANS, plan.encode())

    def _list(self, request: Request, source: ImageSource) -> tuple[Listed, ...]:
        limit = self._settings.import_max_objects
        found = (
            Listed(info.key, info.etag, info.size_bytes)
            for info in source.list(request.prefix)
            # A key that ends so is a folder that some tool made; the labels are no image.
            if not info.key.endswith("/") and info.key != request.labels_key
        )
        listed = sorted(islice(found, limit + 1), key=lambda one: one.key)
        where = source_uri(request.connection, request.bucket, request.prefix)
        if not listed:
            raise Rejected(f"there is nothing at {where}", dataset=request.dataset)
        if len(listed) > limit:
            raise Rejected(f"{where} holds more than {limit} objects: import it by longer prefixes")
        return tuple(listed)

    def _labels(self, request: Request, source: ImageSource) -> bytes | None:
        if not request.labels_key:
            return None
        limit = self._settings.import_max_labels_bytes
        data, _ = source.get_version(request.labels_key, limit_bytes=limit + 1)
        if len(data) > limit:
            raise Rejected(f"the labels {request.labels_key!r} have more than {limit} bytes")
        return data


def _read_table(survey: Survey) -> LabelTable:
    if survey.labels is None:
        return LabelTable({}, ())
    prefix = survey.request.prefix
    return read_table(survey.labels, [one.key.removeprefix(prefix) for one in survey.listed])
