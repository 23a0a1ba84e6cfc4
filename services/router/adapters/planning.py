"""Planning a routing run: what to route, by which version of which flow."""

from __future__ import annotations

from loopline.contracts import (
    Actor,
    ArtefactRef,
    BucketLocation,
    DeliveryCommitted,
    PredictionsCommitted,
    Run,
    RunKind,
    catalog,
)
from loopline.errors import Rejected
from loopline.flows import Deliver, Flow
from loopline.runtime.chunks import chunk_size
from loopline.runtime.service import Service
from loopline.store import runs
from loopline.store.commits import Committed
from loopline.tracing import current_trace_id
from services.router.adapters.history import parsed
from services.router.adapters.plans import Plans
from services.router.domain.plan import CHUNK_ITEMS, RoutingPlan, Version, slices


class Planner:
    """Makes the plan of a routing run.

    Args:
        service: Its log, its objects, its identity.
        plans: Where plans are kept.
    """

    def __init__(self, service: Service, plans: Plans) -> None:
        self._service = service
        self._log = service.log
        self._plans = plans

    async def plan(self, event: PredictionsCommitted, sequence: int) -> RoutingPlan | None:
        """Return the plan of what follows from committed predictions; None if nothing does.

        Nothing follows where no flow asked for them, where it routes nothing, and where this run
        was committed already.

        Raises:
            Rejected: Another flow delivers to the same place.
        """
        if not event.flow.name:
            return None
        flow = await self._log.version(catalog.FLOW_COMMITTED, event.flow, name=event.flow.name)
        document = parsed(flow)
        run = self.run(event, flow.ref)
        if not document.route or await self.done(flow.ref.name, run.id):
            return None
        await self._check_destination(document)
        model = await self._log.version(catalog.MODEL_COMMITTED, event.model, name=event.model.name)
        dataset = await self._log.version(
            catalog.DATASET_COMMITTED, event.dataset, name=event.dataset.name
        )
        chunks = await self._slices(event.selection_digest)
        return RoutingPlan(
            workspace=self._log.workspace,
            run_id=run.id,
            flow=_version(flow.ref),
            document=flow.message.document,
            predictions=_version(event.commit.artefact),
            predictions_root=event.tree.root_object,
            predictions_sequence=sequence,
            model=_version(model.ref),
            recipe=model.message.recipe,
            task=model.message.task,
            classes=tuple(model.message.classes),
            dataset=_version(dataset.ref),
            dataset_root=dataset.message.tree.root_object,
            selection_digest=event.selection_digest,
            selected=sum(map(len, chunks)),
            chunks=tuple(await self._plans.save_assets(chunks)),
        )

    async def done(self, flow: str, run_id: str) -> Committed[DeliveryCommitted] | None:
        """Return what the run committed, or None."""
        return await self._log.find_run(catalog.DELIVERY_COMMITTED, run_id, name=flow)

    def run(self, event: PredictionsCommitted, flow: ArtefactRef) -> Run:
        """Return the run that routes these predictions by this flow."""
        inputs = {
            "predictions": event.commit.artefact,
            "model": event.model,
            "dataset": event.dataset,
        }
        inputs["flow"] = flow
        return runs.new_run(
            RunKind.RUN_KIND_ROUTE,
            inputs=[in_role(ref, role) for role, ref in inputs.items()],
            parameters={"selection": event.selection_digest},
            actor=Actor(kind="flow", name=flow.name),
            agent=self._service.agent,
            environment=self._service.environment,
            clock=self._service.clock,
            trace_id=current_trace_id(),
        )

    async def _slices(self, selection_digest: str) -> list[list[str]]:
        assets = await self._plans.load_assets(selection_digest)
        return slices(assets, chunk_size(len(assets), CHUNK_ITEMS))

    async def _check_destination(self, flow: Flow) -> None:
        """Two flows that deliver to one place would overwrite each other's objects and manifest."""
        if flow.destination is None:
            return
        wanted = location(flow.destination)
        for other in await self._log.heads(catalog.DELIVERY_COMMITTED):
            if other.ref.name != flow.name and other.message.destination == wanted:
                raise Rejected(
                    f"the flow {other.ref.name!r} delivers to {wanted.bucket}/{wanted.prefix} "
                    f"already: give the flow {flow.name!r} another prefix or bucket",
                    flow=flow.name,
                    other=other.ref.name,
                )


def location(to: Deliver) -> BucketLocation:
    """Return a flow's destination as events name it."""
    return BucketLocation(connection=to.connection, bucket=to.bucket, prefix=to.prefix)


def in_role(ref: ArtefactRef, role: str) -> ArtefactRef:
    """Return `ref` with the part it plays in a run."""
    named = ArtefactRef()
    named.CopyFrom(ref)
    named.role = role
    return named


def _version(ref: ArtefactRef) -> Version:
    return Version(ref.name, ref.version, ref.digest)
