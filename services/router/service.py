"""Every event the router reacts to, as thin handlers."""

from __future__ import annotations

import structlog

from loopline.contracts import (
    AliasMoved,
    ArtefactRef,
    DatasetCommitted,
    EvaluationCommitted,
    JoinRouting,
    ModelCommitted,
    PredictionsCommitted,
    RequestsSampled,
    RouteChunk,
    RunState,
    catalog,
)
from loopline.errors import Transient
from loopline.flows import Flow, TrainRule, observations
from loopline.runtime.bus import current_event
from loopline.runtime.processing import Delivery
from loopline.runtime.service import Service, on, work
from services.router.adapters import commands
from services.router.adapters.advisories import Advisories, Morgue
from services.router.adapters.destination import Destinations
from services.router.adapters.history import LogAsOf, parsed
from services.router.adapters.planning import Planner
from services.router.adapters.plans import Plans
from services.router.adapters.promotions import Promotions
from services.router.adapters.routing import Joined, RoutingRuns
from services.router.adapters.samples import Samples
from services.router.domain import advisories
from services.router.domain.plan import RoutingPlan
from services.router.domain.training import train_decisions
from services.router.settings import RouterSettings

log = structlog.get_logger(__name__)


class Router(Service):
    """Flows' rules: what trains, what is promoted, what is applied, where results go."""

    name = "router"
    code = ("services.router", "loopline.flows")
    settings: RouterSettings

    async def start(self) -> None:
        """Build the adapters; follow the server's advisories where there is a server."""
        self.plans = Plans(self.objects)
        self.planner = Planner(self, self.plans)
        self.promotions = Promotions(self)
        self.destinations = Destinations(
            self.settings.customer_blobs, self.settings.delivery_writes
        )
        self.samples = Samples(self)
        self.runs = RoutingRuns(self, self.plans, self.planner, self.destinations)
        self.advisories: Advisories | None = None
        if self.client is not None:
            self.morgue = Morgue(self.client, self.outlet)
            self.advisories = Advisories(self.client, self.on_delivery_exhausted)
            self.advisories.start()

    async def stop(self) -> None:
        """Let go of the bus and the customers' buckets."""
        if self.advisories is not None:
            await self.advisories.stop()
        self.destinations.close()

    @on(catalog.DATASET_COMMITTED)
    async def on_dataset_committed(self, event: DatasetCommitted, delivery: Delivery) -> None:
        """Send a training for every train rule that holds; apply champions to new items."""
        dataset = event.commit.artefact
        context = {"dataset": observations.dataset(event)}
        before = LogAsOf(self.log, delivery.sequence)
        for ref, flow in await before.flows():
            await self._apply_to_new_items(ref, flow, event, before)
            for decision in train_decisions(flow, dataset.name, context):
                rule = decision.rule
                if decision.failure:
                    await self._report_failure(rule, ref, dataset, decision.failure)
                if not decision.fires:
                    continue
                await self.bus.send(
                    catalog.TRAIN_MODEL,
                    commands.train_model(rule, ref, event),
                    id=commands.command_id(ref, rule.name, dataset),
                    pool=rule.pool,
                )

    @on(catalog.MODEL_COMMITTED)
    async def on_model_committed(self, event: ModelCommitted, delivery: Delivery) -> None:
        """Move the aliases whose promote rules hold for the version; say why the others stay."""
        model = event.commit.artefact
        for ref, flow in await LogAsOf(self.log, delivery.sequence).flows():
            for rule in flow.promote:
                if rule.model != model.name:
                    continue
                declined = await self.promotions.decide(rule, ref, event)
                if declined is None:
                    continue
                log.info("promotion_declined", alias=rule.name, reason=declined.reason)
                considered = commands.command_id(ref, rule.name, model)
                await self.bus.send(
                    catalog.PROMOTION_DECLINED,
                    declined,
                    id=f"{considered}/{declined.champion.digest}",
                    model=rule.model,
                )
                if (command := await self.promotions.to_measure(declined)) is not None:
                    needed = f"{considered}/{declined.champion.digest}/measure"
                    await self.bus.send(catalog.EVALUATE_MODEL, command, id=needed, pool="default")

    @on(catalog.EVALUATION_COMMITTED)
    async def on_evaluation_committed(self, event: EvaluationCommitted, delivery: Delivery) -> None:
        """Ask the promote rules again that could not compare before this was measured."""
        candidate = await self.promotions.awaiting(event)
        if candidate is None:
            return
        for ref, flow in await LogAsOf(self.log, delivery.sequence).flows():
            for rule in flow.promote:
                if rule.model != event.model.name:
                    continue
                declined = await self.promotions.decide(rule, ref, candidate)
                if declined is None:
                    continue
                log.info("promotion_declined", alias=rule.name, reason=declined.reason)
                considered = commands.command_id(ref, rule.name, candidate.commit.artefact)
                await self.bus.send(
                    catalog.PROMOTION_DECLINED,
                    declined,
                    id=f"{considered}/{event.commit.artefact.digest}",
                    model=rule.model,
                )

    @on(catalog.ALIAS_MOVED)
    async def on_alias_moved(self, event: AliasMoved, delivery: Delivery) -> None:
        """Apply the model version to the datasets of every apply rule on the alias."""
        if event.HasField("previous") and event.previous.digest == event.target.digest:
            return  # only the share of another version changed
        before = LogAsOf(self.log, delivery.sequence)
        for ref, flow in await before.flows():
            for rule in flow.apply:
                if (rule.model, rule.alias) != (event.model, event.alias):
                    continue
                dataset = await before.head(catalog.DATASET_COMMITTED, name=rule.dataset)
                if dataset is None:
                    log.info("nothing_to_apply_to", flow=ref.name, dataset=rule.dataset)
                    continue
                await self.bus.send(
                    catalog.APPLY_MODEL,
                    commands.apply_model(rule, ref, event, dataset.ref),
                    id=commands.command_id(ref, rule.name, event.commit.artefact),
                    pool=rule.pool,
                )

    @work(catalog.REQUESTS_SAMPLED)
    async def on_requests_sampled(self, event: RequestsSampled, delivery: Delivery) -> None:
        """Add recorded images to the datasets of the sample rules that want them."""
        for head in await self.log.heads(catalog.FLOW_COMMITTED):
            flow = parsed(head)
            for rule in flow.sample:
                if rule.model == event.model.name:
                    await self.samples.add(rule, head.ref, flow, event, delivery.event_id)

    @work(catalog.PREDICTIONS_COMMITTED)
    async def on_predictions_committed(
        self, event: PredictionsCommitted, delivery: Delivery
    ) -> None:
        """Plan the routing of what a flow asked to predict, and hand out its chunks."""
        plan = await self.planner.plan(event, delivery.sequence)
        if plan is None:
            return
        digest = await self.plans.save(plan)
        total = len(plan.chunks)
        await self.bus.report(commands.routing_changed(plan, RunState.RUN_STATE_QUEUED))
        await self.chunks.dispatch(
            catalog.ROUTE_CHUNK,
            plan.run_id,
            total,
            lambda index: RouteChunk(
                run_id=plan.run_id, plan_digest=digest, index=index, total=total
            ),
            pool=self.settings.pool,
        )
        if total == 0:
            await self._send_join(plan.run_id, digest)

    @work(catalog.ROUTE_CHUNK)
    async def on_route_chunk(self, command: RouteChunk, delivery: Delivery) -> None:
        """Route one slice: write what is delivered, note the rest, and join after the last one."""
        plan = await self.plans.load(command.plan_digest)
        done = await self.chunks.completed(command.run_id, command.index)
        digest = done.result_digest if done else await self._route(plan, command.index, delivery)
        if await self.chunks.complete(command.run_id, command.index, command.total, digest):
            await self._send_join(command.run_id, command.plan_digest)

    @work(catalog.JOIN_ROUTING)
    async def on_join_routing(self, command: JoinRouting, delivery: Delivery) -> None:
        """Commit the delivery, its manifest written, and open the labeling jobs."""
        plan = await self.plans.load(command.plan_digest)
        joined = await self.runs.join(plan)
        predictions = await self.runs.predictions(plan)
        run = self.planner.run(predictions.message, commands.flow_ref(plan.flow))
        committed = await self.runs.commit(joined, run)
        await self._open_jobs(joined, predictions.message)
        changed = commands.routing_changed(
            plan, RunState.RUN_STATE_COMPLETED, done=plan.selected, message=str(joined.counts)
        )
        changed.artefact.CopyFrom(committed.ref)
        await self.bus.report(changed)

    async def on_delivery_exhausted(self, advisory: bytes) -> None:
        """Move a message whose worker died every time to the dead letters."""
        exhausted = advisories.parse(advisory)
        moved = await self.morgue.move(exhausted)
        log.warning(
            "delivery_exhausted",
            stream=exhausted.stream,
            sequence=exhausted.sequence,
            consumer=exhausted.consumer,
            moved=moved,
        )

    async def _route(self, plan: RoutingPlan, index: int, delivery: Delivery) -> str:
        """Route a chunk; people see at once what the customer's bucket does not take."""
        try:
            chunk = await self.runs.route(plan, index)
        except Transient as error:
            last = delivery.attempt >= catalog.ROUTE_CHUNK.consumed_by(self.name).max_deliver
            state = RunState.RUN_STATE_FAILED if last else RunState.RUN_STATE_RUNNING
            await self.bus.report(commands.routing_changed(plan, state, message=error.message))
            raise
        digest = await self.plans.save_result(chunk.routed)
        reached = plan.selected * (index + 1) // len(plan.chunks)
        await self.bus.report(
            commands.routing_changed(plan, RunState.RUN_STATE_RUNNING, done=reached)
        )
        return digest

    async def _apply_to_new_items(
        self, ref: ArtefactRef, flow: Flow, event: DatasetCommitted, before: LogAsOf
    ) -> None:
        """Send an application to what a version added, for every apply rule that has a model."""
        if not event.changes.get("added"):
            return
        since = event.commit.parent if event.commit.HasField("parent") else None
        for rule in flow.apply:
            if rule.dataset != event.commit.artefact.name:
                continue
            alias = await before.head(catalog.ALIAS_MOVED, model=rule.model, alias=rule.alias)
            if alias is None:
                continue
            dataset = event.commit.artefact
            await self.bus.send(
                catalog.APPLY_MODEL,
                commands.apply_model(rule, ref, alias.message, dataset, since),
                id=commands.command_id(ref, rule.name, dataset),
                pool=rule.pool,
            )

    async def _report_failure(
        self, rule: TrainRule, flow: ArtefactRef, dataset: ArtefactRef, reason: str
    ) -> None:
        log.warning("rule_failed", flow=flow.name, rule=rule.name, reason=reason)
        await self.bus.report(commands.rule_failed(rule, flow, dataset, reason))

    async def _send_join(self, run_id: str, plan_digest: str) -> None:
        await self.bus.send(
            catalog.JOIN_ROUTING,
            JoinRouting(run_id=run_id, plan_digest=plan_digest),
            # By its cause too: a run that is asked for again must be joined again.
            id=f"{run_id}/join/{current_event.get()}",
            pool=self.settings.pool,
        )

    async def _open_jobs(self, joined: Joined, predictions: PredictionsCommitted) -> None:
        flow = Flow.parse(joined.plan.document)
        relabel = dict(flow.relabel_rules)
        dataset = await self.log.version(
            catalog.DATASET_COMMITTED, predictions.dataset, name=predictions.dataset.name
        )
        classes = list(dataset.message.classes) or list(joined.plan.classes)
        for job in joined.jobs:
            rule = relabel[job.rule]
            await self.bus.send(
                catalog.OPEN_LABELING_JOB,
                commands.open_labeling_job(
                    joined.plan,
                    rule,
                    job,
                    joined.items_digests[job.name],
                    predictions,
                    classes,
                    flow.threshold,
                ),
                id=f"{joined.plan.run_id}/{job.rule}",
                queue=rule.job,
            )
