"""Joins an import's slices and commits what they found."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np

from loopline.clock import Clock
from loopline.contracts import Agent, ChunkCompleted, DatasetCommitted, Environment
from loopline.errors import Rejected
from loopline.store.commits import Committed
from loopline.store.datasets import Change, Datasets
from loopline.store.items import Item
from loopline.store.objects import Area, ObjectStore
from loopline.store.trees import Tree
from loopline.vision.duplicates import Candidates, Newcomers
from loopline.vision.perceptual import stack
from services.ingest.adapters import provenance
from services.ingest.domain.decision import (
    Decision,
    Head,
    Repeat,
    Unique,
    decide,
    merged,
    without_copies,
)
from services.ingest.domain.plan import Arrival, Findings, Plan, decode_findings


class Joiner:
    """Decides over all slices at once, against the dataset's head, and commits.

    Args:
        datasets: Where to commit.
        objects: Where findings and reports are kept.
        environment: What this process runs on.
        agent: This process.
        clock: Time.
    """

    def __init__(
        self,
        datasets: Datasets,
        objects: ObjectStore,
        *,
        environment: Environment,
        agent: Agent,
        clock: Clock,
    ) -> None:
        self._datasets = datasets
        self._objects = objects
        self._environment = environment
        self._agent = agent
        self._clock = clock

    async def findings(self, chunks: Sequence[ChunkCompleted]) -> Findings:
        """Return what all slices found."""
        digests = [chunk.result_digest for chunk in chunks]
        encoded = await self._objects.get_many(Area.PLANS, digests)
        return await asyncio.to_thread(lambda: merged(map(decode_findings, encoded)))

    async def commit(self, plan: Plan, findings: Findings) -> Committed[DatasetCommitted]:
        """Commit the dataset's next version; decided again if another writer was first.

        Raises:
            Rejected: Nothing can be kept of a dataset's first import, or its classes contradict.
        """
        unique = without_copies(findings.arrivals)

        async def change(head: Committed[DatasetCommitted] | None) -> Change:
            decision = await self._decide(plan, findings, unique, head)
            report_digest = await self._objects.put(Area.REPORTS, decision.report(plan))
            if head is None and not decision.items:
                raise Rejected(
                    f"none of the {plan.objects} objects at {plan.uri} can be kept; "
                    f"the reasons are in report {report_digest}",
                    dataset=plan.request.dataset,
                )
            run = provenance.finished_run(
                plan,
                decision.counts,
                report_digest,
                environment=self._environment,
                agent=self._agent,
                clock=self._clock,
            )
            summary = _summary(plan, decision)
            return Change(run, summary, decision.items, classes=decision.classes)

        return await self._datasets.commit_decided(plan.request.dataset, change)

    async def _decide(
        self,
        plan: Plan,
        findings: Findings,
        unique: Unique,
        committed: Committed[DatasetCommitted] | None,
    ) -> Decision:
        head, tree = Head(), None
        if committed is not None:
            tree = await self._datasets.tree(committed)
            head = Head(
                classes=tuple(committed.message.classes),
                has_test_split=bool(tree.statistics.get("split:test")),
                items=await tree.get([arrival.asset for arrival in unique.arrivals]),
            )
        known = head.items or {}
        fresh = [arrival for arrival in unique.arrivals if arrival.asset not in known]
        repeats = await _repeats(plan, fresh, tree)
        return await asyncio.to_thread(decide, plan, findings, unique, head, repeats)


async def _repeats(
    plan: Plan, fresh: Sequence[Arrival], tree: Tree[Item] | None
) -> Mapping[str, Repeat]:
    """Return the images that show the same as another, by asset, with the image that stays.

    Asked for even where they are kept: they must not be divided between splits.
    """
    if not fresh:
        return {}
    thumbprints = stack([arrival.thumbprint for arrival in fresh])
    bits = plan.request.rules.near_duplicate_bits
    newcomers = await asyncio.to_thread(Newcomers, thumbprints, bits)
    known, candidates = await _known(newcomers, tree)
    prints = {place: item.thumbprint for place, item in known.items()}
    repeats = await asyncio.to_thread(newcomers.repeats, candidates, prints)

    def of(earlier: int) -> Repeat:
        if earlier >= 0:
            return Repeat(fresh[earlier].key, fresh[earlier].asset)
        item = known[-1 - earlier]
        return Repeat(item.asset, item.asset, item.split)

    return {fresh[new].asset: of(earlier) for new, earlier in repeats.items()}


async def _known(
    newcomers: Newcomers, tree: Tree[Item] | None
) -> tuple[dict[int, Item], Candidates | None]:
    """Return the dataset's items that are candidates, by the place that the candidates name."""
    if tree is None:
        return {}, None
    table = await tree.table(["asset", "phash"])
    ids: list[str] = table.column("asset").to_pylist()
    hashes = table.column("phash").to_numpy().astype(np.uint64)
    known = await asyncio.to_thread(newcomers.like, hashes)
    places = np.unique(known.earlier).tolist()
    items = await tree.get([ids[place] for place in places])
    return {place: items[ids[place]] for place in places}, known


def _summary(plan: Plan, decision: Decision) -> str:
    counts = decision.counts
    return (
        f"{counts['added']} images added from {plan.uri}; "
        f"{counts['known']} known, {counts['dropped']} dropped"
    )
