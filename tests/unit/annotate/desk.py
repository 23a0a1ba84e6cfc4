"""annotate over in-memory twins, with a dataset and predictions to make jobs of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from loopline.contracts import (
    Actor,
    DatasetCommitted,
    LabelingJobCommitted,
    LabelsSubmitted,
    OpenLabelingJob,
    catalog,
)
from loopline.digests import canonical_json
from loopline.runtime.http import HttpServer
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import Committed
from loopline.store.objects import Area
from loopline.testing.flywheel import Flywheel, asset, item, prediction
from loopline.testing.memory import ManualClock, MemoryBus, delivery, memory_service
from services.annotate.adapters.receivers import Webhooks
from services.annotate.adapters.webhook import WebhookSender
from services.annotate.service import Annotate
from services.annotate.settings import AnnotateSettings

TOKEN = "test-token"
JOB = "relabel"


@dataclass
class Receiver:
    """A webhook receiver that answers what it is told to, and remembers."""

    status: int = 200
    down: bool = False
    requests: list[httpx.Request] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.requests.append(request)
        if self.down:
            raise httpx.ConnectError("connection refused")
        return httpx.Response(self.status)


@dataclass
class Desk:
    """A running annotate with what a test needs around it."""

    service: Annotate
    bus: MemoryBus
    blobs: MemoryBlobs
    clock: ManualClock
    receiver: Receiver
    client: httpx.AsyncClient
    flywheel: Flywheel

    async def command(self, count: int = 4, job: str = JOB, **fields: Any) -> OpenLabelingJob:
        """Return a command over the first `count` images, which the model thinks are shirts."""
        dataset = await self.flywheel.dataset("catalogue", [item(n) for n in range(count)])
        model = await self.flywheel.model("catalogue", "weights", {"accuracy": 0.8})
        rows = [prediction(n, 0.4 + n / 100) for n in range(count)]
        predictions = await self.flywheel.predictions(model, dataset, rows)
        shown = {
            "dataset": dataset.ref,
            "predictions": predictions.ref,
            "predictions_tree": predictions.message.tree,
        }
        assets = [asset(n) for n in range(count)]
        return await self.command_over(assets, **{"job": job, **shown, **fields})

    async def command_over(self, assets: Sequence[str], **fields: Any) -> OpenLabelingJob:
        """Return a command over `assets`."""
        digest = await self.service.objects.put(Area.PLANS, canonical_json(list(assets)))
        given = {"job": JOB, "webhook_url": "http://receiver/hook", **fields}
        actor = Actor(kind="flow", name="catalogue")
        return OpenLabelingJob(items_digest=digest, items_count=len(assets), actor=actor, **given)

    async def open(self, command: OpenLabelingJob) -> Committed[LabelingJobCommitted]:
        """Open a job and wait until the API shows it."""
        await self.service.on_open_labeling_job(command, delivery())
        job = await self.job(command.job)
        await self.caught_up()
        return job

    async def job(self, name: str = JOB) -> Committed[LabelingJobCommitted]:
        """Return the job's last commit."""
        return await self.service.jobs.get(name)

    async def head(self) -> Committed[DatasetCommitted]:
        """Return the dataset's last version."""
        head = await self.flywheel.datasets.head("catalogue")
        assert head is not None
        return head

    async def caught_up(self) -> None:
        """Wait until the database holds what the log holds."""
        last = await self.service.log.store.last_sequence()
        await self.service.projector.wait_applied(last, timeout_s=5)

    async def label(self, number: int, class_name: str = "coat", **fields: Any) -> httpx.Response:
        """Submit one whole-image label."""
        body = {"labeler": "ada", "shapes": [{"class_name": class_name}], "spent_s": 2, **fields}
        return await self.client.post(f"/v1/jobs/{JOB}/items/{asset(number)}/labels", json=body)

    async def tell(self, job: Committed[LabelingJobCommitted], attempt: int = 1) -> None:
        """Hand a job's commit to the handler, and what it asks to be told at an attempt."""
        before = len(self.bus.sent(catalog.SEND_NOTIFICATION))
        await self.service.on_labeling_job_committed(job.message, delivery(job.sequence))
        sent = self.bus.sent(catalog.SEND_NOTIFICATION)
        for command in sent[before:] or sent[-1:]:
            await self.service.on_send_notification(command, delivery(attempt=attempt))

    async def handle_reviews(self) -> None:
        """Hand every review so far to the handler, as its consumer would."""
        async for committed in self.service.log.read([catalog.ITEM_REVIEWED]):
            await self.service.on_item_reviewed(committed.message, delivery(committed.sequence))

    async def handle_submissions(self) -> None:
        """Hand every submission so far to the handler, as its consumer would."""
        log = self.service.log
        event = catalog.LABELS_SUBMITTED
        async for committed in log.read([event]):
            assert isinstance(committed.message, LabelsSubmitted)
            await self.service.on_labels_submitted(committed.message, delivery(committed.sequence))


def annotate_service(
    bus: MemoryBus, blobs: MemoryBlobs, folder: Path, clock: ManualClock, **settings: Any
) -> Annotate:
    """Return annotate over twins, its database in `folder`; not started."""
    given = AnnotateSettings(data_dir=folder, api_token=SecretStr(TOKEN), **settings)
    return memory_service(Annotate, given, bus, blobs, clock=clock)


@asynccontextmanager
async def running_desk(folder: Path, **settings: Any) -> AsyncIterator[Desk]:
    """Run annotate, its API on a port of its own."""
    bus, blobs, clock, receiver = MemoryBus(), MemoryBlobs(), ManualClock(), Receiver()
    limits = {"bulk_items_max": 50, "page_items_max": 3}
    service = annotate_service(bus, blobs, folder, clock, **limits, **settings)
    await service.start()
    await service.webhooks.close()
    transport = httpx.MockTransport(receiver)
    service.webhooks = WebhookSender(clock, service.settings.webhook_secret, 1.0, transport)
    service.receivers.webhooks = Webhooks(service.webhooks)
    server = HttpServer(service.api(), service.ready, "127.0.0.1", 0)
    await server.start()
    url = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(
        base_url=url, headers={"authorization": f"Bearer {TOKEN}"}
    ) as client:
        flywheel = Flywheel(service.log, service.objects)
        yield Desk(service, bus, blobs, clock, receiver, client, flywheel)
    await server.stop()
    await service.stop()
    service.objects.close()
