"""annotate: what it hears, and what it answers over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, FastAPI, Query, Response

from loopline.contracts import (
    LabelingJobCommitted,
    LabelsSubmitted,
    NotificationSent,
    OpenLabelingJob,
    catalog,
)
from loopline.digests import is_digest
from loopline.errors import LooplineError, NotFound, Rejected, Transient
from loopline.failpoints import current_handler
from loopline.runtime.processing import Delivery
from loopline.runtime.service import Service, work
from loopline.store.database import open_database
from loopline.store.datasets import Datasets
from loopline.store.log_reader import LogReader, StoreReader, StreamReader
from loopline.store.objects import Area
from loopline.store.projections import Projector
from services.annotate.adapters import http
from services.annotate.adapters.board import Board, BoardReader, Job
from services.annotate.adapters.images import media_type_of
from services.annotate.adapters.items import ItemRows, ItemState
from services.annotate.adapters.jobs import Jobs
from services.annotate.adapters.messages import state_of
from services.annotate.adapters.notifications import notification_of
from services.annotate.adapters.progress import job_changed, labels_submitted
from services.annotate.adapters.provenance import Provenance, person
from services.annotate.adapters.settlement import Settlement
from services.annotate.adapters.sources import JobSources
from services.annotate.adapters.submissions import Accepted, OpenJob, Proposal, Submissions
from services.annotate.adapters.webhook import Unreachable, WebhookSender
from services.annotate.domain.jobs import State
from services.annotate.domain.webhooks import (
    GONE,
    Notification,
    is_delivered,
    next_attempt_in_s,
    without_secrets,
)
from services.annotate.settings import AnnotateSettings

log = structlog.get_logger()

WEBHOOKS_AT_ONCE = 64  # a receiver that hangs holds one of these for `webhook_timeout_s`
LABELS_AT_ONCE = 32
MEMORY_IDLE_S = 0.01  # how often the log is read where nothing announces news: in tests


class Annotate(Service):
    """Opens labeling jobs, tells of them, takes labels, commits the dataset's next version."""

    name = "annotate"
    settings: AnnotateSettings

    async def start(self) -> None:
        """Build adapters and bring the database up to the log."""
        settings = self.settings
        self._engine = open_database(settings.sqlite_url(self.name))
        provenance = Provenance(self.agent, self.environment, self.clock)
        datasets = Datasets(self.log, self.objects)
        self.rows = ItemRows(self._engine)
        self.board = BoardReader(self._engine)
        sources = JobSources(self.log, self.objects, datasets, self.rows)
        self.jobs = Jobs(self.log, sources, provenance, settings.job_items_max)
        self.sources = sources
        self.submissions = Submissions(self.log, self.jobs, sources, self.rows, provenance)
        self.settlement = Settlement(
            self.log, self.objects, datasets, self.jobs, sources, provenance
        )
        self.webhooks = WebhookSender(
            self.clock, settings.webhook_secret, settings.webhook_timeout_s
        )
        self._submitting = asyncio.Semaphore(settings.submit_concurrency)
        await self.rows.open()
        self.projector = Projector(self._engine, Board(), self._reader())
        await self.projector.open()
        await self.projector.catch_up()
        self._following = asyncio.create_task(self.projector.follow(), name="follow the log")
        self._left_over = asyncio.create_task(self._settle_left_over(), name="settle left over")

    async def stop(self) -> None:
        """Stop following, close the database and connections."""
        for task in (self._following, self._left_over):
            task.cancel()
        await asyncio.gather(self._following, self._left_over, return_exceptions=True)
        await self.webhooks.close()
        self._engine.dispose()

    def ready(self) -> str:
        """Return why the service is not ready, or ""."""
        if self._following.done() and not self._following.cancelled():
            return f"the database is not kept: {self._following.exception()}"
        return ""

    @work(catalog.OPEN_LABELING_JOB)
    async def on_open_labeling_job(self, command: OpenLabelingJob, delivery: Delivery) -> None:
        """Open a labeling job; the same command again changes nothing."""
        job = await self.jobs.open(command)
        if state_of(job.message.state) is State.IN_PROGRESS:
            await self.bus.report(job_changed(job.commit.run.id, job.message))

    @work(catalog.LABELING_JOB_COMMITTED, concurrency=WEBHOOKS_AT_ONCE)
    async def on_labeling_job_committed(
        self, event: LabelingJobCommitted, delivery: Delivery
    ) -> None:
        """Keep the labels of a stopped job, then tell the job's webhook."""
        name, state = event.commit.artefact.name, state_of(event.state)
        if state is State.STOPPED:
            await self._settle(name)
        if state.over and delivery.attempt == 1:
            await self._report_end(event, delivery.sequence)
        notification = notification_of(event)
        if notification is not None:
            await self._notify(name, notification, delivery.attempt)

    @work(catalog.LABELS_SUBMITTED, concurrency=LABELS_AT_ONCE)
    async def on_labels_submitted(self, event: LabelsSubmitted, delivery: Delivery) -> None:
        """Commit the dataset's next version once every item of the job has labels."""
        await self.projector.wait_applied(delivery.sequence, self.settings.projection_wait_s)
        job = await self.board.job(event.job)
        if job is None:
            return
        if (progress := labels_submitted(job)) is not None:
            await self.bus.report(progress)
        if _needs_settling(job, delivery.sequence):
            await self._settle(event.job, delivery.sequence)

    def api(self) -> FastAPI:
        """Return the labeling API."""
        app = FastAPI(title="Loopline labeling", docs_url=None, redoc_url=None)
        app.add_middleware(http.BodyLimit, size_max_bytes=self.settings.body_size_max_bytes)
        token = Depends(http.token_check(self.settings.api_token))
        router = APIRouter(prefix="/v1", dependencies=[token])
        router.add_api_route("/jobs", self.get_jobs)
        router.add_api_route("/jobs/{job}", self.get_job)
        router.add_api_route("/jobs/{job}/items", self.get_items)
        router.add_api_route("/jobs/{job}/labels", self.post_labels, methods=["POST"])
        router.add_api_route(
            "/jobs/{job}/items/{asset}/labels", self.post_item_labels, methods=["POST"]
        )
        router.add_api_route("/jobs/{job}/stop", self.post_stop, methods=["POST"])
        router.add_api_route("/assets/{digest}", self.get_asset, response_class=Response)
        app.include_router(router)
        return app

    async def get_jobs(self) -> http.JobsOut:
        """List every labeling job, the latest first."""
        return http.JobsOut(jobs=[http.job_out(job) for job in await self.board.jobs()])

    async def get_job(self, job: str) -> http.JobOut:
        """Show a labeling job."""
        return http.job_out(await self._job(job))

    async def get_items(
        self,
        job: str,
        state: ItemState | None = None,
        limit: Annotated[int, Query(ge=1)] = 100,
        cursor: str = "",
    ) -> http.ItemsOut:
        """List the items of a job in the order to label, with predictions and labels."""
        after, limit = http.position_of(cursor), min(limit, self.settings.page_items_max)
        found = await self._job(job)
        await self.sources.ensure(found.digest, found.specification)
        rows = await self.rows.page(job, found.digest, state=state, after=after, limit=limit)
        more = http.cursor_of(rows[-1][0].position) if len(rows) == limit else None
        return http.ItemsOut(items=[http.item_out(*row) for row in rows], next_cursor=more)

    async def get_asset(self, digest: str) -> Response:
        """Return the bytes of an image."""
        if not is_digest(digest):
            raise Rejected(f"{digest!r} is not the digest of an asset")
        data = await self.objects.get(Area.ASSETS, digest)
        headers = {
            "cache-control": "private, max-age=31536000, immutable",
            "etag": f'"{digest}"',
            "x-content-type-options": "nosniff",
            "content-security-policy": "default-src 'none'; sandbox",
        }
        return Response(data, media_type=media_type_of(data), headers=headers)

    async def post_item_labels(
        self, job: str, asset: str, labels: http.LabelsIn
    ) -> http.AcceptedOut:
        """Submit labels for one item; the same again changes nothing."""
        opened = await self.submissions.open_job(job, [asset])
        accepted = await self._submit(opened, labels.proposal(asset))
        await self._seen(accepted.sequence)
        return http.accepted_out(accepted)

    async def post_labels(self, job: str, bulk: http.BulkIn) -> http.BulkOut:
        """Submit labels for many items; each is accepted or refused by itself.

        Where the bus does not answer, the whole request fails: what was accepted is known by then,
        and the same again changes nothing.
        """
        proposals = bulk.proposals()
        assets = [proposal.asset for proposal in proposals]
        if len(proposals) > self.settings.bulk_items_max:
            raise Rejected(
                f"{len(proposals)} items; one request may hold {self.settings.bulk_items_max}"
            )
        if len(set(assets)) != len(assets):
            raise Rejected("an asset is in the request twice")
        opened = await self.submissions.open_job(job, assets)
        tries = (self._try_submit(opened, proposal) for proposal in proposals)
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        accepted = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
        await self._seen(max((a.sequence for a in accepted), default=0))
        return http.BulkOut(
            accepted=[http.accepted_out(outcome) for outcome in accepted],
            refused=[outcome for outcome in outcomes if isinstance(outcome, http.RefusedOut)],
        )

    async def post_stop(self, job: str, stop: http.StopIn | None = None) -> http.JobOut:
        """Stop a job; the labels made so far go into the dataset unless told otherwise."""
        stop = stop or http.StopIn()
        committed = await self.jobs.stop(job, person(stop.actor), keep_labels=stop.keep_labels)
        await self._seen(committed.sequence)
        return http.job_out(await self._job(job))

    async def _job(self, name: str) -> Job:
        found = await self.board.job(name)
        if found is None:
            raise NotFound(f"there is no labeling job {name}", job=name)
        return found

    async def _submit(self, job: OpenJob, proposal: Proposal) -> Accepted:
        async with self._submitting:
            return await self.submissions.submit(job, proposal)

    async def _try_submit(self, job: OpenJob, proposal: Proposal) -> Accepted | http.RefusedOut:
        try:
            return await self._submit(job, proposal)
        except Rejected as error:
            return http.RefusedOut(asset=proposal.asset, error=error.message)

    async def _seen(self, sequence: int) -> None:
        """Let a caller read what it wrote; what is in the log is accepted even if the rows lag."""
        with contextlib.suppress(Transient):
            await self.projector.wait_applied(sequence, self.settings.projection_wait_s)

    async def _settle(self, job: str, sequence: int = 0) -> None:
        """Settle a job, unless another message's settlement just included this submission."""
        async with self.settlement.lock(job):
            board = await self.board.job(job)
            if board is not None and 0 < sequence <= board.settled_sequence:
                return
            await self.settlement.settle(await self.jobs.get(job))
            committed = await self.jobs.get(job)
            await self._seen(committed.sequence)

    async def _settle_left_over(self) -> None:
        """Settle what messages that exhausted their deliveries left."""
        current_handler.set("on_labels_submitted")  # the same work, killed at the same steps
        for job in await self.board.jobs():
            if job.state is State.IN_PROGRESS and job.all_submitted:
                try:
                    await self._settle(job.name)
                except LooplineError as error:
                    log.warning("settlement_left", job=job.name, reason=error.message)

    async def _report_end(self, event: LabelingJobCommitted, sequence: int) -> None:
        await self._seen(sequence)
        job = await self.board.job(event.commit.artefact.name)
        if job is not None:
            await self.bus.report(job_changed(job.run_id, event))

    async def _notify(self, job: str, notification: Notification, attempt: int) -> None:
        """Make one attempt; a failed one is made again by redelivery, until the schedule ends."""
        try:
            status = await self.webhooks.send(notification)
            delivered, detail = is_delivered(status), f"HTTP {status}"
        except Unreachable as error:
            status, delivered, detail = 0, False, error.message
        if delivered:
            await self._tell(job, notification, "delivered", attempt, detail)
            return
        delay_s = next_attempt_in_s(attempt, self.settings.webhook_delays_s)
        place = without_secrets(notification.url)
        if status != GONE and delay_s is not None:
            raise Transient(f"webhook {place}: {detail}", retry_after_s=delay_s, job=job)
        await self._tell(job, notification, "failed", attempt, detail)
        raise Rejected(f"webhook {place} given up after {attempt} attempts: {detail}", job=job)

    async def _tell(
        self, job: str, notification: Notification, outcome: str, attempts: int, detail: str
    ) -> None:
        sent = NotificationSent(
            job=job,
            url=without_secrets(notification.url),
            outcome=outcome,
            attempts=attempts,
            detail=detail,
        )
        id_ = f"{notification.id}/{outcome}"
        await self.bus.send(catalog.NOTIFICATION_SENT, sent, id=id_, job=job)

    def _reader(self) -> LogReader:
        workspace = self.settings.workspace
        if self.client is None:
            return StoreReader(self.log.store, workspace, Board.events, idle_s=MEMORY_IDLE_S)
        return StreamReader(self.client.jetstream(), workspace, Board.events)


def _needs_settling(job: Job, sequence: int) -> bool:
    if job.state is State.STOPPED:
        return sequence > job.sequence  # it was on its way when the job was stopped
    return job.all_submitted and sequence > job.settled_sequence
