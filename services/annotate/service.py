"""annotate: what it hears, and what it answers over HTTP."""

from __future__ import annotations

import asyncio
import contextlib

import structlog
from fastapi import FastAPI

from loopline.contracts import (
    ItemReviewed,
    LabelingJobCommitted,
    LabelsSubmitted,
    NotificationSent,
    OpenLabelingJob,
    SendNotification,
    catalog,
)
from loopline.contracts.catalog import DEFAULT_POOL
from loopline.digests import digest_of
from loopline.errors import LooplineError, Rejected, Transient
from loopline.failpoints import current_handler
from loopline.runtime.processing import Delivery
from loopline.runtime.service import Service, work
from loopline.store.database import open_database
from loopline.store.datasets import Datasets
from loopline.store.log_reader import LogReader, StoreReader, StreamReader
from loopline.store.projections import Projector
from services.annotate.adapters.assist.toolbox import Toolbox
from services.annotate.adapters.board import Board
from services.annotate.adapters.desk import Desk
from services.annotate.adapters.histories import Histories
from services.annotate.adapters.image_links import ImageLinks
from services.annotate.adapters.insights import Insights
from services.annotate.adapters.items import ItemRows
from services.annotate.adapters.jobs import Jobs
from services.annotate.adapters.label_studio import LabelStudio
from services.annotate.adapters.messages import state_of
from services.annotate.adapters.models import Models, Preannotation
from services.annotate.adapters.notifications import Notifications, receivers_of, type_of
from services.annotate.adapters.opening import Opening
from services.annotate.adapters.progress import job_changed, labels_submitted
from services.annotate.adapters.provenance import Provenance
from services.annotate.adapters.reader import BoardReader, Job, SideBySide
from services.annotate.adapters.receivers import (
    Chats,
    GaveUp,
    Mail,
    Receivers,
    Webhooks,
    place_of,
)
from services.annotate.adapters.reviews import Reviews
from services.annotate.adapters.rows import moment
from services.annotate.adapters.settlement import Settlement
from services.annotate.adapters.sources import JobSources
from services.annotate.adapters.submissions import Accepted, OpenJob, Proposal, Submissions
from services.annotate.adapters.webhook import Unreachable, WebhookSender
from services.annotate.adapters.working import Working
from services.annotate.domain.jobs import State
from services.annotate.domain.webhooks import Notification, next_attempt_in_s
from services.annotate.routes import app_of
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
        self.desk = Desk(self._engine)
        self.opening = Opening(self.log, datasets, sources)
        self.submissions = Submissions(
            self.log, self.jobs, sources, self.rows, self.desk, provenance
        )
        self.reviews = Reviews(self.log, provenance)
        self.histories = Histories(self.log)
        self.insights = Insights(self.board, self.rows, SideBySide(self._engine))
        self.toolbox = Toolbox(self.objects, settings.assist_dir)
        self.models = Models(
            self.objects,
            settings.inference_grpc,
            settings.api_token,
            settings.predict_timeout_s,
            settings.predict_images,
        )
        self.preannotation = Preannotation(self.models, self.rows, self.desk, self.clock)
        self.label_studio = LabelStudio(
            settings.label_studio_url,
            settings.label_studio_token,
            settings.label_studio_secret,
            self.objects,
            self.rows,
            self._image_links() if settings.label_studio_images == "linked" else None,
        )
        self.working = Working(
            self.board, self.rows, self.desk, sources, self.clock, settings.lease_s
        )
        self.settlement = Settlement(
            self.log, self.objects, datasets, self.jobs, sources, provenance, self.board
        )
        self.webhooks = WebhookSender(
            self.clock, settings.webhook_secret, settings.webhook_timeout_s
        )
        mail = Mail(settings.mail(), self.clock)
        self.receivers = Receivers(Webhooks(self.webhooks), mail, Chats(settings.chats_file))
        self.notifications = Notifications(self.log, self.events)
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
        await self.preannotation.close()
        await self.models.close()
        await self.label_studio.close()
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
        if type_of(event):
            await self.send_notifications(name, event.commit.artefact.version, event)

    @work(catalog.SEND_NOTIFICATION, concurrency=WEBHOOKS_AT_ONCE)
    async def on_send_notification(self, command: SendNotification, delivery: Delivery) -> None:
        """Make one attempt; a failed one is made again by redelivery, until the schedule ends."""
        told = await self.notifications.asked(command)
        try:
            detail = await self.receivers.tell(command.receiver, told)
        except (Unreachable, GaveUp) as error:
            place = place_of(command.receiver)
            delay_s = next_attempt_in_s(delivery.attempt, self.settings.webhook_delays_s)
            if isinstance(error, Unreachable) and delay_s is not None:
                why = f"{place}: {error.message}"
                raise Transient(why, retry_after_s=delay_s, job=command.job) from error
            await self._tell_outcome(command, told, "failed", delivery.attempt, error.message)
            raise Rejected(
                f"{place} given up after {delivery.attempt} attempts: {error.message}",
                job=command.job,
            ) from error
        await self._tell_outcome(command, told, "delivered", delivery.attempt, detail)

    @work(catalog.LABELS_SUBMITTED, concurrency=LABELS_AT_ONCE)
    async def on_labels_submitted(self, event: LabelsSubmitted, delivery: Delivery) -> None:
        """Commit the dataset's next version once every item of the job has labels."""
        await self._went_on(event.job, delivery.sequence)

    @work(catalog.ITEM_REVIEWED, concurrency=LABELS_AT_ONCE)
    async def on_item_reviewed(self, event: ItemReviewed, delivery: Delivery) -> None:
        """Go on as after a submission: a review may be what was missing."""
        await self._went_on(event.job, delivery.sequence)

    def _image_links(self) -> ImageLinks:
        settings = self.settings
        links = ImageLinks(
            settings.annotate_url,
            settings.label_studio_secret,
            self.clock,
            settings.label_studio_link_s,
        )
        links.check_possible()
        return links

    def api(self) -> FastAPI:
        """Return the labeling API."""
        return app_of(self)

    async def submit(self, job: OpenJob, proposal: Proposal) -> Accepted:
        """Commit labels for one item; bulk requests take turns."""
        async with self._submitting:
            return await self.submissions.submit(job, proposal)

    async def seen(self, sequence: int) -> None:
        """Let a caller read what it wrote; what is in the log is accepted even if the rows lag."""
        with contextlib.suppress(Transient):
            await self.projector.wait_applied(sequence, self.settings.projection_wait_s)

    async def send_notifications(
        self,
        job: str,
        version: int,
        event: LabelingJobCommitted,
        *,
        receiver: str = "",
        redelivery: str = "",
    ) -> list[str]:
        """Tell receivers of a job's commit: each by itself, for as long as it takes.

        Args:
            job: The job.
            version: Of its commit.
            event: The commit.
            receiver: Only this one; everybody who wants to hear if empty.
            redelivery: Tells one redelivery from another.
        """
        wanted = receivers_of(event.specification)
        chosen = [one for one in wanted if receiver in ("", one)]
        for one in chosen:
            command = SendNotification(
                job=job, version=version, receiver=one, redelivery=redelivery
            )
            id_ = digest_of([self.settings.workspace, job, version, one, redelivery])
            await self.bus.send(catalog.SEND_NOTIFICATION, command, id=id_, pool=DEFAULT_POOL)
        return chosen

    async def _tell_outcome(
        self,
        command: SendNotification,
        told: Notification,
        outcome: str,
        attempts: int,
        detail: str,
    ) -> None:
        place = place_of(command.receiver)
        sent = NotificationSent(
            job=command.job,
            url=place,
            outcome=outcome,
            attempts=attempts,
            detail=detail,
            id=told.id,
            type=told.type,
            version=command.version,
        )
        id_ = f"{told.id}/{place}/{command.redelivery}/{outcome}"
        await self.bus.send(catalog.NOTIFICATION_SENT, sent, id=id_, job=command.job)

    def now_text(self) -> str:
        """Return the present moment as answers have it."""
        return moment(self.clock.now())

    async def _went_on(self, name: str, sequence: int) -> None:
        """Move a job on after a submission or a review: to review, back, or into the dataset."""
        await self.projector.wait_applied(sequence, self.settings.projection_wait_s)
        job = await self.board.job(name)
        if job is None:
            return
        if (progress := labels_submitted(job)) is not None:
            await self.bus.report(progress)
        if _needs_settling(job, sequence):
            await self._settle(name, sequence)
        elif job.state.accepts_labels and job.phase not in (State.COMPLETED, job.state):
            moved = await self.jobs.move(name, job.phase)
            await self.seen(moved.sequence)

    async def _settle(self, job: str, sequence: int = 0) -> None:
        """Settle a job, unless another message's settlement just included this submission."""
        async with self.settlement.lock(job):
            board = await self.board.job(job)
            if board is not None and 0 < sequence <= board.settled_sequence:
                return
            await self.settlement.settle(await self.jobs.get(job))
            committed = await self.jobs.get(job)
            await self.seen(committed.sequence)

    async def _settle_left_over(self) -> None:
        """Settle what messages that exhausted their deliveries left."""
        current_handler.set("on_labels_submitted")  # the same work, killed at the same steps
        for job in await self.board.jobs():
            if _is_left(job):
                try:
                    await self._settle(job.name)
                except LooplineError as error:
                    log.warning("settlement_left", job=job.name, reason=error.message)

    async def _report_end(self, event: LabelingJobCommitted, sequence: int) -> None:
        await self.seen(sequence)
        job = await self.board.job(event.commit.artefact.name)
        if job is not None:
            await self.bus.report(job_changed(job.run_id, event))

    def _reader(self) -> LogReader:
        workspace = self.settings.workspace
        if self.client is None:
            return StoreReader(self.log.store, workspace, Board.events, idle_s=MEMORY_IDLE_S)
        return StreamReader(self.client.jetstream(), workspace, Board.events)


def _needs_settling(job: Job, sequence: int) -> bool:
    if job.state is State.STOPPED:
        return sequence > job.sequence  # it was on its way when the job was stopped
    return job.phase is State.COMPLETED and sequence > job.settled_sequence


def _is_left(job: Job) -> bool:
    """Tell whether a job that takes labels is done and not settled: a message was lost on it."""
    if not job.state.accepts_labels or job.phase is not State.COMPLETED:
        return False
    return not job.options.keeps_filling
