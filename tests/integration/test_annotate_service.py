"""annotate over a real bus, real object storage, a real webhook receiver and both databases."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from loopline.contracts import JobState, OpenLabelingJob, catalog
from loopline.contracts.catalog import Stream
from loopline.digests import canonical_json
from loopline.runtime.admin import declare
from loopline.runtime.service import Host, build, connect
from loopline.store.commits import CommitLog
from loopline.store.objects import Area
from loopline.testing.flywheel import Flywheel, asset, item, prediction
from loopline.testing.postgres import PostgresServer
from loopline.testing.servers import PlatformServers
from services.annotate.service import Annotate
from services.annotate.settings import AnnotateSettings
from tests.integration.waiting import Waiting

TIMEOUT_S = 60.0
KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
JOB = "relabel"
until = Waiting(TIMEOUT_S)


class Receiver:
    """A webhook receiver on a port of its own."""

    def __init__(self) -> None:
        received = self.received = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                received.append((dict(self.headers.items()), self.rfile.read(length)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    received: list[tuple[dict[str, str], bytes]]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass
class Process:
    """One running annotate."""

    service: Annotate
    client: httpx.AsyncClient


class Platform:
    """Starts annotates of one workspace."""

    def __init__(self, servers: PlatformServers, bucket: str, folder: Path) -> None:
        self.workspace = f"w-{secrets.token_hex(6)}"
        self._given: dict[str, Any] = {
            "workspace": self.workspace,
            "nats_url": servers.nats.url,
            "s3_endpoint": servers.s3.endpoint,
            "s3_access_key": servers.s3.access_key,
            "s3_secret_key": SecretStr(servers.s3.secret_key),
            "s3_bucket": bucket,
            "webhook_secret": SecretStr(SECRET),
            "data_dir": folder,
        }

    @asynccontextmanager
    async def annotate(self, **settings: Any) -> AsyncIterator[Process]:
        """Run one annotate as its own process would."""
        given = AnnotateSettings(**(self._given | settings))
        client = await connect(given, "annotate")
        await declare(client.jetstream(), self.workspace)
        service = build(Annotate, given, client)
        assert isinstance(service, Annotate)
        host = Host(service, client)
        await host.start()
        assert host._http is not None
        url = f"http://127.0.0.1:{host._http.port}"
        async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) as http:
            yield Process(service, http)
        await host.stop()


@pytest.fixture
def platform(platform_servers: PlatformServers, s3_bucket: str, tmp_path: Path) -> Platform:
    """A workspace of the test's own."""
    return Platform(platform_servers, s3_bucket, tmp_path)


async def send_job(process: Process, count: int, webhook_url: str = "") -> None:
    """Ask for a job over `count` images, over the bus."""
    service = process.service
    flywheel = Flywheel(service.log, service.objects)
    dataset = await flywheel.dataset("catalogue", [item(n) for n in range(count)])
    model = await flywheel.model("catalogue", "weights", {"accuracy": 0.8})
    rows = [prediction(n, 0.5) for n in range(count)]
    predictions = await flywheel.predictions(model, dataset, rows)
    assets = [asset(n) for n in range(count)]
    command = OpenLabelingJob(
        job=JOB,
        dataset=dataset.ref,
        items_digest=await service.objects.put(Area.PLANS, canonical_json(assets)),
        items_count=count,
        predictions=predictions.ref,
        predictions_tree=predictions.message.tree,
        webhook_url=webhook_url,
    )
    unique = service.bus.workspace  # the stream drops repetitions of an id, whoever sends it
    await service.bus.send(catalog.OPEN_LABELING_JOB, command, id=unique, queue="people")


async def job_state(process: Process) -> dict[str, Any] | None:
    """Return the job as the API shows it, or None if it does not yet."""
    answer = await process.client.get(f"/v1/jobs/{JOB}")
    return dict(answer.json()) if answer.status_code == 200 else None


def labels(numbers: range, class_name: str = "coat") -> dict[str, Any]:
    """Return a bulk request."""
    shapes = [{"class_name": class_name}]
    rows = [{"asset": asset(n), "labeler": "ada", "shapes": shapes} for n in numbers]
    return {"labels": rows}


async def completed(process: Process) -> dict[str, Any] | None:
    """Return the job once it is completed."""
    job = await job_state(process)
    return job if job and job["state"] == "completed" else None


async def test_a_job_from_command_to_dataset(platform: Platform) -> None:
    receiver = Receiver()
    async with platform.annotate() as process:
        await send_job(process, 20, receiver.url)
        await until(lambda: job_state(process))
        answer = await process.client.post(f"/v1/jobs/{JOB}/labels", json=labels(range(20)))
        assert len(answer.json()["accepted"]) == 20, answer.text
        await until(lambda: completed(process))
        head = await Flywheel(process.service.log, process.service.objects).datasets.head(
            "catalogue"
        )
        assert head is not None
        assert head.ref.version == 2
        assert head.message.statistics["labeled:train"] == 20

        async def both() -> bool:
            return len(receiver.received) == 2

        await until(both)
    receiver.close()
    told = [json.loads(body)["type"] for _, body in receiver.received]
    assert sorted(told) == ["labeling_job.completed", "labeling_job.opened"]
    for headers, body in receiver.received:
        sent = {name.lower(): value for name, value in headers.items()}
        signed = f"{sent['webhook-id']}.{sent['webhook-timestamp']}.".encode() + body
        mac = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert sent["webhook-signature"] == f"v1,{mac}"


async def test_a_thousand_labels_at_once_take_seconds(platform: Platform) -> None:
    async with platform.annotate() as process:
        await send_job(process, 1000)
        await until(lambda: job_state(process))
        began = time.monotonic()
        answer = await process.client.post(f"/v1/jobs/{JOB}/labels", json=labels(range(1000)))
        took_s = time.monotonic() - began
        assert len(answer.json()["accepted"]) == 1000, answer.text
        job = await job_state(process)
        assert job is not None
        assert job["submitted"] == 1000, "a caller reads what it wrote"
        await until(lambda: completed(process))
        assert took_s < 20, f"{took_s:.1f} s"
        print(f"1,000 labels in {took_s:.2f} s, settled after {time.monotonic() - began:.2f} s")


async def test_webhook_that_is_down_holds_nothing_up(platform: Platform) -> None:
    """Nothing listens at the URL: the job is worked and completed all the same."""
    async with platform.annotate(webhook_delays_s=(0.2, 0.2)) as process:
        await send_job(process, 3, "http://127.0.0.1:9/hook")
        await until(lambda: job_state(process))
        await process.client.post(f"/v1/jobs/{JOB}/labels", json=labels(range(3)))
        await until(lambda: completed(process))

        async def given_up() -> bool:
            subject = catalog.NOTIFICATION_SENT.subject(platform.workspace, job=JOB)
            return bool(await process.service.events.last(subject))

        await until(given_up)


async def test_annotate_that_comes_back_without_its_database_goes_on(
    platform: Platform, tmp_path: Path
) -> None:
    async with platform.annotate(data_dir=tmp_path / "first") as process:
        await send_job(process, 5)
        await until(lambda: job_state(process))
        await process.client.post(f"/v1/jobs/{JOB}/labels", json=labels(range(4)))
    async with platform.annotate(data_dir=tmp_path / "second") as process:
        job = await job_state(process)
        assert job is not None
        assert job["submitted"] == 4
        page = (await process.client.get(f"/v1/jobs/{JOB}/items?state=todo")).json()
        assert [row["asset"] for row in page["items"]] == [asset(4)]
        await process.client.post(f"/v1/jobs/{JOB}/labels", json=labels(range(4, 5)))
        await until(lambda: completed(process))


async def test_processes_share_a_postgresql_database(
    platform: Platform, postgres_server: PostgresServer
) -> None:
    url = postgres_server.new_database()
    async with (
        platform.annotate(database_url=url) as one,
        platform.annotate(database_url=url) as two,
    ):
        await send_job(one, 200)
        await until(lambda: job_state(two))
        answers = await asyncio.gather(
            one.client.post(f"/v1/jobs/{JOB}/labels", json=labels(range(120))),
            two.client.post(f"/v1/jobs/{JOB}/labels", json=labels(range(80, 200))),
        )
        for answer in answers:
            assert answer.json()["refused"] == [], answer.text
        for process in (one, two):
            job = await until(partial(completed, process))
            assert job["submitted"] == 200
        history = await _log(one).history(catalog.LABELING_JOB_COMMITTED, name=JOB)
        assert [c.message.state for c in history] == [
            JobState.JOB_STATE_IN_PROGRESS,
            JobState.JOB_STATE_COMPLETED,
        ]
        datasets = await _log(one).history(catalog.DATASET_COMMITTED, name="catalogue")
        assert len(datasets) == 2


async def test_poison_is_buried_and_blocks_nothing(platform: Platform) -> None:
    async with platform.annotate() as process:
        js = process.service.client.jetstream()  # type: ignore[union-attr]  # it is connected
        subject = catalog.OPEN_LABELING_JOB.subject(platform.workspace, queue="people")
        headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "test",
                   "ce-type": catalog.OPEN_LABELING_JOB.type}  # fmt: skip
        await js.publish(subject, b"\xff\xff not protobuf", headers=headers)
        await send_job(process, 2)
        await until(lambda: job_state(process))
        dead = catalog.dead_subject(platform.workspace, "annotate", "open_labeling_job")

        async def buried() -> object:
            return await js.get_last_msg(Stream.DEAD, dead)

        message: Any = await until(buried)
        assert "Loopline-Dead-Reason" in message.headers


def _log(process: Process) -> CommitLog:
    return process.service.log
