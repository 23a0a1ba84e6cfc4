"""What a world ends with: everything that must not depend on who was killed when."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, fields
from typing import Any

import httpx

from loopline.client.aio import AsyncLoopline
from loopline.contracts import RunKind, catalog
from loopline.contracts.catalog import Stream
from loopline.demo.story import RESULTS_BUCKET
from loopline.digests import digest_of, sha256_hex
from loopline.embedded.endpoints import Endpoints
from loopline.errors import Transient
from loopline.evaluation.report import Report
from loopline.store.blobs import S3Blobs
from loopline.store.commits import Committed
from loopline.store.objects import Area

WORKSPACE = "default"
POLL_S = 0.2
SETTLED_TIMEOUT_S = 240.0


@dataclass(frozen=True)
class Outcome:
    """What there is at the end.

    Attributes:
        versions: Of every artefact, by subject: the digest of each version's content, and the run
            that made it. A version too many, too few or different is seen here. Of an evaluation
            what was found, without how fast; of a recorded request not the run, which is named by
            the event's own id.
        trees: Digest of every dataset tree, by version.
        delivered: sha256 of every object in the customer's results bucket, by key.
        labels: Who submitted what for which item, in order, by job and asset.
        graph: Nodes of the lineage graph, by kind.
        dead: Messages that nobody could handle.
    """

    versions: dict[str, tuple[str, ...]]
    trees: dict[str, str]
    delivered: dict[str, str]
    labels: dict[str, tuple[tuple[str, str], ...]]
    graph: dict[str, int]
    dead: int

    def differences(self, other: Outcome) -> list[str]:
        """Return a line for each entry in which the two are not the same; none if they are."""
        lines: list[str] = []
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if not isinstance(ours, dict):
                ours, theirs = {"": ours}, {"": theirs}
            lines += [
                f"{field.name} {key}: {ours.get(key)} != {theirs.get(key)}"
                for key in sorted(ours.keys() | theirs.keys())
                if ours.get(key) != theirs.get(key)
            ]
        return lines


async def outcome(loopline: AsyncLoopline, endpoints: Endpoints) -> Outcome:
    """Wait until nothing is left to do, and return what there is."""
    await _settled(loopline, endpoints)
    versions: defaultdict[str, list[str]] = defaultdict(list)
    labels: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    trees = {}
    async for found in loopline.session.log.read(catalog.COMMITS):
        content = await _content(loopline, found)
        versions[found.subject].append(f"{content} by {_maker(found)}")
        if found.message.DESCRIPTOR is catalog.DATASET_COMMITTED.message.DESCRIPTOR:
            trees[f"{found.ref.name}@v{found.ref.version}"] = found.message.tree.digest
        if found.message.DESCRIPTOR is catalog.LABELS_SUBMITTED.message.DESCRIPTOR:
            labels[f"{found.message.job}/{found.message.asset}"].append(_labels(found))
    return Outcome(
        versions={subject: tuple(each) for subject, each in versions.items()},
        trees=trees,
        delivered=await asyncio.to_thread(_delivered, endpoints),
        labels={item: tuple(each) for item, each in labels.items()},
        graph=(await _lineage(loopline))["nodes"],
        dead=(await _streams(endpoints))[Stream.DEAD]["state"]["messages"],
    )


async def _content(loopline: AsyncLoopline, found: Committed[Any]) -> str:
    if found.message.DESCRIPTOR is not catalog.EVALUATION_COMMITTED.message.DESCRIPTOR:
        return found.ref.digest
    evaluation = found.message.evaluation
    data = await loopline.session.objects.get(Area.REPORTS, evaluation.report_digest)
    report = Report.model_validate_json(data).model_copy(update={"speed": None})
    return digest_of([report.model_dump(mode="json"), evaluation.outcomes_digest])


def _maker(found: Committed[Any]) -> str:
    run = found.commit.run
    is_recorded = run.kind == RunKind.RUN_KIND_IMPORT and "event" in run.parameters
    return "a recorded request" if is_recorded else run.id


def _labels(found: Committed[Any]) -> tuple[str, str]:
    said = ", ".join(f"{s.class_name} for {s.edited_from}" for s in found.message.shapes)
    return found.message.labeler, said


def _delivered(endpoints: Endpoints) -> dict[str, str]:
    bucket = S3Blobs(
        endpoints.s3_endpoint,
        endpoints.customer_access_key,
        endpoints.customer_secret_key,
        RESULTS_BUCKET,
    )
    return {info.key: sha256_hex(bucket.get(info.key)) for info in bucket.list("")}


async def _settled(loopline: AsyncLoopline, endpoints: Endpoints) -> None:
    """Wait until no message is on its way and the graph holds every commit."""
    left: Counter[str] = Counter()
    try:
        async with asyncio.timeout(SETTLED_TIMEOUT_S):
            while True:
                left = await _left(loopline, endpoints)
                if not left:
                    return
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise AssertionError(f"still to be done after {SETTLED_TIMEOUT_S:.0f} s: {left}") from None


def durables() -> set[str]:
    """Return the name of every durable consumer that is ours."""
    return {catalog.ADVISORY_DURABLE} | {
        event.durable_name(durable.service, WORKSPACE)
        for event in catalog.EVENTS
        for durable in event.durables
    }


async def _left(loopline: AsyncLoopline, endpoints: Endpoints) -> Counter[str]:
    try:
        streams, lineage = await _streams(endpoints), await _lineage(loopline)
    except (Transient, httpx.HTTPError) as error:
        return Counter({repr(error): 1})
    # Readers that follow a stream have consumers of the moment, which a killed one leaves behind.
    left = Counter(
        {
            consumer["name"]: consumer["num_pending"] + consumer["num_ack_pending"]
            for stream in streams.values()
            for consumer in stream.get("consumer_detail", [])
            if consumer["name"] in durables()
        }
    )
    left["lineage"] = lineage["behind"]
    return +left


async def _streams(endpoints: Endpoints) -> dict[str, dict[str, Any]]:
    query = {"accounts": "true", "streams": "true", "consumers": "true"}
    async with httpx.AsyncClient() as client:
        said = await client.get(f"{endpoints.nats_monitor_url}/jsz", params=query)
    return {
        stream["name"]: stream
        for account in said.raise_for_status().json()["account_details"]
        for stream in account.get("stream_detail", [])
    }


async def _lineage(loopline: AsyncLoopline) -> dict[str, Any]:
    session = loopline.session
    status: dict[str, Any] = (
        await session.http(session.settings.lineage_http, "GET", "/v1/status")
    ).json()
    return status
