"""Inference: serves models over the Open Inference Protocol, and applies them to datasets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import cv2
import structlog

from loopline.contracts import (
    ApplyModel,
    JoinPredictions,
    PredictChunk,
    PredictionsCommitted,
    RunChanged,
    RunKind,
    RunState,
    catalog,
)
from loopline.errors import Cancelled, Rejected
from loopline.runtime.bus import current_event
from loopline.runtime.processing import Delivery
from loopline.runtime.service import Service, work
from loopline.store.commits import Committed
from loopline.store.log_reader import StreamReader
from services.inference.adapters import process_tuning, telemetry
from services.inference.adapters.applications import Applications, ChunkResult
from services.inference.adapters.bulk import BulkPredictor
from services.inference.adapters.data_plane import now_ms
from services.inference.adapters.engine.session import EngineOptions, OnnxEngine, cores
from services.inference.adapters.fronts.fronts import Fronts
from services.inference.adapters.models.aliases import AliasFollower
from services.inference.adapters.models.committed_models import CommittedModels
from services.inference.adapters.models.declarations import Declarations
from services.inference.adapters.models.repository import ModelRepository
from services.inference.adapters.models.rollouts import Rollouts, report_for_ever
from services.inference.adapters.models.servable import Servable
from services.inference.adapters.pipelines import Pipelines
from services.inference.adapters.sampling import Sampler, SamplingPolicy
from services.inference.adapters.scheduling import Scheduler
from services.inference.domain.admission import Limits
from services.inference.domain.application import ApplicationPlan
from services.inference.domain.model import ModelVersion
from services.inference.domain.queueing import BatchPolicy
from services.inference.domain.residency import Budget
from services.inference.settings import InferenceSettings

CHUNKS_AT_ONCE = 2  # one infers while the other reads; more only fight for the cores

log = structlog.get_logger()


class Inference(Service):
    """Serves models by their aliases; predicts datasets in chunks."""

    name = "inference"
    code = ("services.inference", "loopline.vision")
    settings: InferenceSettings

    async def start(self) -> None:
        """Load what the aliases point to, then take calls."""
        settings = self.settings
        process_tuning.keep_large_blocks()
        cv2.setNumThreads(1)  # the pool is the parallelism; more threads below it only compete
        self._pool = ThreadPoolExecutor(
            settings.decode_threads or cores(), thread_name_prefix="decode"
        )
        self.declarations = Declarations()
        self.declarations.changed = self._serve_as_declared
        self.repository = ModelRepository(
            CommittedModels(self.log, self.objects),
            self._servable,
            Budget(settings.models_max, settings.models_max_bytes),
            self.clock,
        )
        bulk = BulkPredictor(self.objects, self._pool, settings.image_pixels_max)
        self.applications = Applications(
            self.log,
            self.objects,
            self.repository,
            bulk,
            environment=self.environment,
            agent=self.agent,
            clock=self.clock,
        )
        telemetry.export(self.repository)
        await self._start_following()
        await self._start_front()

    async def stop(self) -> None:
        """Finish open calls, then let the models go."""
        await asyncio.to_thread(self.fronts.stop, self.settings.drain_s)
        self.pipelines.close()
        await self.sampler.flush()
        await self.aliases.stop()
        self._reporting.cancel()
        await asyncio.gather(self._reporting, return_exceptions=True)
        self.repository.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    @work(catalog.APPLY_MODEL)
    async def on_apply_model(self, command: ApplyModel, delivery: Delivery) -> None:
        """Plan the application and hand out its chunks."""
        application = await self.applications.resolve(command)
        async with self._failing(application.run_id):
            done = await self.applications.committed(application.run_id, application.model)
            if done is not None:
                await self._report_committed(done)
                return
            plan = await self.cancellations.unless_cancelled(
                application.run_id, delivery, self.applications.plan(application)
            )
            await self._report(plan, done=0)
            plan_digest = await self.applications.keep(plan)
            await self._dispatch(plan, plan_digest)

    @work(catalog.PREDICT_CHUNK, concurrency=CHUNKS_AT_ONCE)
    async def on_predict_chunk(self, command: PredictChunk, delivery: Delivery) -> None:
        """Predict one chunk with the plan's model version."""
        async with self._failing(command.run_id):
            plan = await self.applications.read(command.plan_digest)
            known = await self.chunks.completed(plan.work_id, command.index)
            if known is not None:
                result = ChunkResult(known.result_digest, dict(known.counts))
            else:
                # Of the whole run, whose chunks may have been handed out after it was cancelled.
                begun = replace(delivery, stored_at=datetime.fromisoformat(plan.started_at))
                result = await self.cancellations.unless_cancelled(
                    plan.run_id, begun, self.applications.predict(plan, command.index)
                )
        # Chunks are handed out in order: the last index done says about how far the run is. Told
        # before the chunk counts as done, so that it never comes after the report of the join.
        await self._report(plan, done=plan.images_through(command.index))
        if await self.chunks.complete(
            plan.work_id, command.index, len(plan.chunks), result.digest, result.counts
        ):
            await self._join(plan, command.plan_digest)

    @work(catalog.JOIN_PREDICTIONS)
    async def on_join_predictions(self, command: JoinPredictions, delivery: Delivery) -> None:
        """Commit what the chunks found."""
        async with self._failing(command.run_id):
            plan = await self.applications.read(command.plan_digest)
            committed = await self.applications.committed(plan.run_id, plan.model)
            if committed is None:
                chunks = await self.chunks.results(plan.work_id, len(plan.chunks))
                committed = await self.applications.commit(plan, chunks)
            await self._report_committed(committed)

    async def _dispatch(self, plan: ApplicationPlan, plan_digest: str) -> None:
        total = len(plan.chunks)

        def chunk(index: int) -> PredictChunk:
            return PredictChunk(
                run_id=plan.run_id, plan_digest=plan_digest, index=index, total=total
            )

        pool = self.settings.pool
        await self.chunks.dispatch(catalog.PREDICT_CHUNK, plan.work_id, total, chunk, pool=pool)
        if total == 0:  # all of it was predicted before; that it was selected is still to be told
            await self._join(plan, plan_digest)

    async def _join(self, plan: ApplicationPlan, plan_digest: str) -> None:
        message = JoinPredictions(run_id=plan.run_id, plan_digest=plan_digest)
        # Named by its cause too: a run that is asked for again must be joined again.
        id_ = f"{plan.work_id}/join/{current_event.get()}"
        await self.bus.send(catalog.JOIN_PREDICTIONS, message, id=id_, pool=self.settings.pool)

    async def _report(self, plan: ApplicationPlan, done: int) -> None:
        await self.bus.report(
            RunChanged(
                run_id=plan.run_id,
                kind=RunKind.RUN_KIND_PREDICT,
                state=RunState.RUN_STATE_RUNNING,
                title=plan.title,
                done=done,
                total=plan.inferred,
                unit="images",
                figures=self.applications.pace(plan, done),
            )
        )

    async def _report_committed(self, committed: Committed[PredictionsCommitted]) -> None:
        run = committed.commit.run
        await self.bus.report(
            RunChanged(
                run_id=run.id,
                kind=run.kind,
                state=RunState.RUN_STATE_COMPLETED,
                title=committed.commit.summary,
                done=committed.message.inferred,
                total=committed.message.inferred,
                unit="images",
                figures=run.figures,
                artefact=committed.ref,
            )
        )

    @asynccontextmanager
    async def _failing(self, run_id: str) -> AsyncIterator[None]:
        """Report the run as failed where its work is rejected for good, as cancelled if it is."""
        try:
            yield
        except (Rejected, Cancelled) as error:
            is_cancelled = isinstance(error, Cancelled)
            state = RunState.RUN_STATE_CANCELLED if is_cancelled else RunState.RUN_STATE_FAILED
            await self.bus.report(
                RunChanged(
                    run_id=run_id,
                    kind=RunKind.RUN_KIND_PREDICT,
                    state=state,
                    message=error.message,
                )
            )
            raise

    def _servable(self, model: ModelVersion, onnx: bytes) -> Servable:
        """Return a version, loaded and warm. Blocks."""
        settings = self.settings
        options = EngineOptions(
            threads=settings.engine_threads,
            providers=settings.engine_providers,
            max_batch=settings.engine_batch_max,
        )
        engine = OnnxEngine(onnx, model, options)
        policy = BatchPolicy(
            max_batch=settings.engine_batch_max,
            preferred=settings.engine_batch_preferred or engine.preferred_batch,
            max_delay_s=settings.engine_delay_max_ms / 1000,
            instances=settings.engine_instances or engine.instances,
            direct=engine.image_s * 1e6 < settings.engine_direct_us,
        )
        terms = self.declarations.terms(model.name)
        return Servable(model, engine, policy, settings.queue_images_max, terms)

    def _serve_as_declared(self) -> None:
        """Serve what is loaded as the flows say now."""
        for servable in self.repository.loaded():
            servable.use(self.declarations.terms(servable.model.name))

    async def _start_following(self) -> None:
        reader = None
        if self.client is not None:
            js = self.client.jetstream()
            reader = StreamReader(
                js, self.settings.workspace, [catalog.ALIAS_MOVED, catalog.FLOW_COMMITTED]
            )
        self.aliases = AliasFollower(self.log, reader, self.repository, self.declarations)
        await self.aliases.start()

    async def _start_front(self) -> None:
        settings = self.settings
        limits = Limits(
            batch_images=settings.request_images_max,
            image_pixels=settings.image_pixels_max,
            request_timeout_s=settings.request_timeout_s,
        )
        self.rollouts = Rollouts(self.repository)
        policy = SamplingPolicy(
            settings.sample_share, settings.sample_per_minute, settings.sample_every_s
        )
        self.sampler = Sampler(policy, self.objects, self.bus, self.agent, self.clock)
        scheduler = Scheduler(self.repository, self._pool, limits, self.rollouts, self.sampler)
        self.pipelines = Pipelines(
            scheduler,
            self.declarations,
            self.repository.knows,
            lambda: now_ms(self.clock),
            settings.queue_images_max,
        )
        fronts = Fronts(
            settings, self.repository, scheduler, self.access, self.clock, self.pipelines
        )
        await asyncio.to_thread(fronts.start)
        self.fronts = fronts
        self._reporting = asyncio.gather(
            report_for_ever(self.rollouts, self.bus, self.agent), self.sampler.run_for_ever()
        )
