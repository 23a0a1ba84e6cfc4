"""Running a routing plan: route a chunk, write what it delivers, and commit the whole.

The invariant that `loopline verify` relies on: once a delivery is committed, the objects in the
bucket are the ones its tree names. Two runs of one flow may overlap and write the same keys; so a
run that finds another one's commit since its predictions writes its own objects again before it
commits. The last to commit has then written last, whatever came between.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    Commit,
    DeliveryCommitted,
    PredictionsCommitted,
    Run,
    TreeRef,
    catalog,
)
from loopline.errors import NotFound
from loopline.flows import Flow
from loopline.runtime.service import Service
from loopline.store.commits import Committed, Unchanged, timestamp
from loopline.store.items import DELIVERIES, ITEMS, PREDICTIONS, DeliveredObject
from loopline.store.objects import Area
from loopline.store.trees import Tree, TreeStore
from services.router.adapters.destination import Destinations
from services.router.adapters.planning import Planner, location
from services.router.adapters.plans import Plans
from services.router.domain import documents, reports
from services.router.domain.chunks import Document, RoutedChunk, route_chunk
from services.router.domain.plan import RoutingPlan
from services.router.domain.reports import Counts, Job
from services.router.domain.results import Summary

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Joined:
    """A run whose chunks are put together.

    Args:
        plan: The run.
        summary: What became of its predictions.
        jobs: The labeling jobs it opens.
        items_digests: Object digest of each job's items, by the job's name.
    """

    plan: RoutingPlan
    summary: Summary
    jobs: list[Job]
    items_digests: dict[str, str]

    @property
    def counts(self) -> Counts:
        """Every selected prediction, counted once."""
        return reports.counts_of(self.summary, self.jobs)


class RoutingRuns:
    """Runs routing plans.

    Args:
        service: Its log, its objects, its identity.
        plans: Where plans are kept.
        planner: Knows the runs.
        destinations: Customers' buckets.
    """

    def __init__(
        self, service: Service, plans: Plans, planner: Planner, destinations: Destinations
    ) -> None:
        self._service = service
        self._log = service.log
        self._plans = plans
        self._planner = planner
        self._destinations = destinations
        self._items = TreeStore(service.objects, ITEMS)
        self._predictions = TreeStore(service.objects, PREDICTIONS)
        self._deliveries = TreeStore(service.objects, DELIVERIES)

    async def route(self, plan: RoutingPlan, index: int) -> RoutedChunk:
        """Decide on a chunk and write what it delivers; again gives the same bytes.

        Raises:
            Transient: The customer's bucket does not take them.
        """
        assets = await self._plans.load_assets(plan.chunks[index])
        items = await (await self._items.open(plan.dataset_root)).get(assets)
        predictions = await (await self._predictions.open(plan.predictions_root)).get(assets)
        chunk = route_chunk(plan, assets, items, predictions)
        if (to := Flow.parse(plan.document).destination) and chunk.documents:
            await self._destinations.write(to, chunk.documents)
        return chunk

    async def join(self, plan: RoutingPlan) -> Joined:
        """Put the chunks' results together and store what the jobs are about.

        Raises:
            Transient: Some chunks are not done yet.
        """
        done = await self._service.chunks.results(plan.run_id, len(plan.chunks))
        summary = await self._plans.summary([chunk.result_digest for chunk in done])
        jobs = reports.jobs_of(Flow.parse(plan.document), summary, plan.run_id)
        digests = await self._plans.save_assets([job.selected.assets for job in jobs])
        names = (job.name for job in jobs)
        return Joined(plan, summary, jobs, dict(zip(names, digests, strict=True)))

    async def commit(self, joined: Joined, run: Run) -> Committed[DeliveryCommitted]:
        """Write the manifest and commit the delivery, once per run."""
        plan = joined.plan
        if done := await self._planner.done(plan.flow.name, plan.run_id):
            return done
        run.id = plan.run_id  # also where the router's code changed while the run was under way
        run.outputs.append(await self._report(joined))
        run.finished_at.CopyFrom(timestamp(self._service.clock))
        run.figures.update({**_figures(joined.counts), "selected": float(plan.selected)})

        async def build(head: Committed[DeliveryCommitted] | None) -> DeliveryCommitted:
            if head and await self._planner.done(plan.flow.name, plan.run_id):
                raise Unchanged("another worker committed this run")
            if head and head.sequence > plan.predictions_sequence:
                await self._deliver_again(plan)
            tree = await self._tree(head, joined)
            await self._write_manifest(joined, tree)
            return _delivery(joined, run, tree.ref(), head)

        committed = await self._log.commit(catalog.DELIVERY_COMMITTED, build, name=plan.flow.name)
        return await self._planner.done(plan.flow.name, plan.run_id) or committed

    async def predictions(self, plan: RoutingPlan) -> Committed[PredictionsCommitted]:
        """Return the commit whose predictions the run routes."""
        name = plan.predictions.name
        for found in reversed(await self._log.history(catalog.PREDICTIONS_COMMITTED, name=name)):
            if found.sequence == plan.predictions_sequence:
                return found
        raise NotFound(f"there are no predictions {plan.predictions}", name=name)

    async def _deliver_again(self, plan: RoutingPlan) -> None:
        log.info("delivery_overlapped", run_id=plan.run_id, flow=plan.flow.name)
        for index in range(len(plan.chunks)):
            await self.route(plan, index)

    async def _tree(
        self, head: Committed[DeliveryCommitted] | None, joined: Joined
    ) -> Tree[DeliveredObject]:
        """Return what is at the destination now: what was there, with this run's objects."""
        plan = joined.plan
        to = Flow.parse(plan.document).destination
        before = None
        if head and (to is None or head.message.destination == location(to)):
            before = await self._deliveries.open(head.message.tree.root_object)
        rows = (
            DeliveredObject(
                one.asset, one.key, one.digest, plan.model.digest, plan.predictions.digest
            )
            for one in joined.summary.delivered
        )
        return await self._deliveries.apply(before, rows)

    async def _write_manifest(self, joined: Joined, tree: Tree[DeliveredObject]) -> None:
        to = Flow.parse(joined.plan.document).destination
        if to is None:
            return
        data = documents.manifest(joined.plan, joined.summary.delivered, tree.digest)
        manifest = Document(documents.manifest_key(to.prefix), data)
        await self._destinations.write(to, [manifest])

    async def _report(self, joined: Joined) -> ArtefactRef:
        data = reports.report(joined.plan, joined.summary, joined.jobs, joined.items_digests)
        return ArtefactRef(
            kind=ArtefactKind.ARTEFACT_KIND_REPORT,
            name=f"{joined.plan.flow.name}/routing",
            digest=await self._service.objects.put(Area.REPORTS, data),
            role="routing_report",
        )


def _delivery(
    joined: Joined, run: Run, tree: TreeRef, head: Committed[DeliveryCommitted] | None
) -> DeliveryCommitted:
    plan, counts = joined.plan, joined.counts
    to = Flow.parse(plan.document).destination
    before = head.message.destination if head else None
    ref = ArtefactRef(
        kind=ArtefactKind.ARTEFACT_KIND_DELIVERY, name=plan.flow.name, digest=tree.digest
    )
    return DeliveryCommitted(
        commit=Commit(
            artefact=ref, run=run, summary=f"{counts} by {plan.flow} from {plan.predictions}"
        ),
        destination=location(to) if to else before,
        tree=tree,
        delivered=counts.delivered,
        relabeled=counts.relabeled,
        unrouted=counts.unrouted,
    )


def _figures(counts: Counts) -> dict[str, float]:
    return {
        "delivered": float(counts.delivered),
        "relabeled": float(counts.relabeled),
        "unrouted": float(counts.unrouted),
        "over_limit": float(counts.over_limit),
    }
