"""Ingest: brings images from a customer's bucket into a dataset."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import cv2

from loopline.contracts import AugmentDataset, ImportChunk, ImportImages, JoinImport, catalog
from loopline.contracts.catalog import Event
from loopline.digests import digest_of
from loopline.errors import LooplineError, Rejected
from loopline.runtime.processing import Delivery, describe
from loopline.runtime.service import Service, work
from loopline.store.datasets import Datasets
from loopline.store.objects import Area
from services.ingest.adapters import provenance
from services.ingest.adapters.augmenting import Augmenting
from services.ingest.adapters.augmenting import request_of as request_to_augment
from services.ingest.adapters.commands import asker, request_of
from services.ingest.adapters.fetching import Fetcher
from services.ingest.adapters.joining import Joiner
from services.ingest.adapters.planning import Planner
from services.ingest.domain.plan import Plan, decode_slice, encode_findings
from services.ingest.domain.ports import Sources
from services.ingest.settings import IngestSettings

CHUNKS_AT_ONCE = 2  # one fetches while the other decodes; both share the fetcher's threads


class Ingest(Service):
    """Lists, fetches, checks and stores images; drops what is bad; commits dataset versions."""

    name = "ingest"
    code = ("services.ingest", "loopline.vision")
    settings: IngestSettings

    async def start(self) -> None:
        """Make the threads that fetch and decode."""
        settings = self.settings
        cv2.setNumThreads(1)  # the fetcher's threads are the parallelism
        self.sources: Sources = settings.customer_blobs
        self.planner = Planner(self.objects, settings, self.code_digest, self.clock)
        self.fetcher = Fetcher(
            self.objects,
            threads=settings.import_fetch_threads,
            decoders=settings.import_decode_threads,
            batch_bytes=settings.import_batch_bytes,
        )
        self.datasets = Datasets(self.log, self.objects)
        self.joiner = Joiner(
            self.datasets,
            self.objects,
            environment=self.environment,
            agent=self.agent,
            clock=self.clock,
        )

        self.augmenting = Augmenting(
            self.datasets,
            self.objects,
            environment=self.environment,
            agent=self.agent,
            clock=self.clock,
        )

    async def stop(self) -> None:
        """Let the threads go."""
        self.fetcher.close()

    @work(catalog.IMPORT_IMAGES)
    async def on_import_images(self, command: ImportImages, delivery: Delivery) -> None:
        """Survey the bucket, plan, and hand out the chunks."""
        command_run_id = digest_of(["import", delivery.event_id])  # until the run's key is known
        title = f"{command.dataset} from {command.source.connection}/{command.source.bucket}"
        async with self._telling(catalog.IMPORT_IMAGES, delivery, command_run_id, title):
            request = request_of(command, self.settings, delivery.source)
            source = self.sources(request.connection, request.bucket)
            survey = await self.planner.survey(request, source)
            done = await self.log.find_run(
                catalog.DATASET_COMMITTED, survey.run_id, name=request.dataset
            )
            if done is not None:
                await self.bus.report(provenance.completed(done))
                return
            plan = await self.planner.plan(survey)
            plan_digest = await self.planner.keep(plan)
            await self.bus.report(provenance.running(plan, done=0))
            await self._dispatch(plan, plan_digest)

    @work(catalog.IMPORT_CHUNK, concurrency=CHUNKS_AT_ONCE)
    async def on_import_chunk(self, command: ImportChunk, delivery: Delivery) -> None:
        """Fetch, check and store the objects of one slice."""
        async with self._telling(catalog.IMPORT_CHUNK, delivery, command.run_id):
            plan = await self._plan(command.plan_digest)
            known = await self.chunks.completed(plan.work_id, command.index)
            result_digest = known.result_digest if known else await self._fetch(plan, command.index)
            is_last = await self.chunks.complete(
                plan.work_id, command.index, len(plan.slices), result_digest
            )
            # Chunks are handed out in order: the last index done says about how far the run is.
            done = plan.objects_through(command.index)
            await self.bus.report(provenance.running(plan, done))
            if is_last:
                await self._join(plan, command.plan_digest, delivery)

    @work(catalog.JOIN_IMPORT, concurrency=1)
    async def on_join_import(self, command: JoinImport, delivery: Delivery) -> None:
        """Decide over all slices and commit the dataset's next version."""
        async with self._telling(catalog.JOIN_IMPORT, delivery, command.run_id):
            plan = await self._plan(command.plan_digest)
            name = plan.request.dataset
            committed = await self.log.find_run(catalog.DATASET_COMMITTED, plan.run_id, name=name)
            if committed is None:
                chunks = await self.chunks.results(plan.work_id, len(plan.slices))
                findings = await self.joiner.findings(chunks)
                committed = await self.joiner.commit(plan, findings)
            await self.bus.report(provenance.completed(committed))

    @work(catalog.AUGMENT_DATASET, concurrency=1)
    async def on_augment_dataset(self, command: AugmentDataset, delivery: Delivery) -> None:
        """Commit augmented copies of a dataset's items, as items of another one."""
        title = f"{command.dataset} from {command.source.name}"
        run_id = digest_of(["augment", delivery.event_id])  # until the run's key is known
        async with self._telling(catalog.AUGMENT_DATASET, delivery, run_id, title):
            source = await self.datasets.version(command.source)
            request = request_to_augment(command, source)
            run = self.augmenting.run_of(request, asker(command, delivery.source))

            async def told(done: int, total: int) -> None:
                await self.bus.report(provenance.augmenting(run, title, done, total))

            committed = await self.log.find_run(
                catalog.DATASET_COMMITTED, run.id, name=request.dataset
            )
            if committed is None:
                committed = await self.augmenting.commit(request, run, told)
            await self.bus.report(provenance.augmented(committed))

    async def _fetch(self, plan: Plan, index: int) -> str:
        """Do one slice; return the object digest of what was found."""
        request = plan.request
        entries = decode_slice(await self.objects.get(Area.PLANS, plan.slices[index]))
        source = self.sources(request.connection, request.bucket)
        findings = await self.fetcher.fetch(entries, source, request.rules)
        return await self.objects.put(Area.PLANS, encode_findings(findings))

    async def _plan(self, digest: str) -> Plan:
        return Plan.decode(await self.objects.get(Area.PLANS, digest))

    async def _dispatch(self, plan: Plan, plan_digest: str) -> None:
        total = len(plan.slices)

        def chunk(index: int) -> ImportChunk:
            return ImportChunk(
                run_id=plan.run_id, plan_digest=plan_digest, index=index, total=total
            )

        pool = self.settings.pool
        await self.chunks.dispatch(catalog.IMPORT_CHUNK, plan.work_id, total, chunk, pool=pool)

    async def _join(self, plan: Plan, plan_digest: str, cause: Delivery) -> None:
        # Named by the chunk's message: a run that is asked for again must be joined again.
        message = JoinImport(run_id=plan.run_id, plan_digest=plan_digest)
        message_id = f"{plan.work_id}/join/{cause.event_id}"
        await self.bus.send(catalog.JOIN_IMPORT, message, id=message_id, pool=self.settings.pool)

    @asynccontextmanager
    async def _telling(
        self, event: Event[Any], delivery: Delivery, run_id: str, title: str = "import"
    ) -> AsyncIterator[None]:
        """Report the run as failed when its message is about to be dead-lettered."""
        try:
            yield
        except LooplineError as error:
            last = delivery.attempt >= event.consumed_by(self.name).max_deliver
            if last or isinstance(error, Rejected):
                await self.bus.report(provenance.failed(run_id, title, describe(error)))
            raise
