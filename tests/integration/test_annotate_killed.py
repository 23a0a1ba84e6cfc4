"""annotate, killed at every named step of its handlers: nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from loopline.contracts import JobState, OpenLabelingJob, catalog
from loopline.contracts.catalog import EVENTS
from loopline.digests import canonical_json
from loopline.runtime.admin import declare
from loopline.runtime.service import build, connect
from loopline.runtime.settings import ServiceSettings
from loopline.store.objects import Area
from loopline.testing.flywheel import Flywheel, asset, item, prediction
from loopline.testing.servers import PlatformServers
from services.annotate.service import Annotate
from services.annotate.settings import AnnotateSettings
from tests.integration.waiting import Waiting

ITEMS = 6
JOB = "relabel"
TIMEOUT_S = 90.0
ACK_WAIT_S = 1.0  # a killed process's message is taken up again this soon, not after a minute
ROUNDS = {
    # A step without a handler's name is one of a request: a submission being committed.
    "written": (
        "on_open_labeling_job/after_write",
        "/after_write",
        "on_labels_submitted/before_write",
    ),
    "published": ("on_open_labeling_job/after_publish", "/after_publish"),
    "merged": ("on_labels_submitted/after_write",),
    "committed": ("on_labels_submitted/after_publish",),
}
"""Steps that are passed in one round; a killed settlement is taken up at the next start."""
until = Waiting(TIMEOUT_S)


@dataclass
class Restarted:
    """annotate as a process that is started again whenever it dies."""

    environment: dict[str, str]
    kills: int = 0
    _process: asyncio.subprocess.Process | None = field(default=None)

    async def run(self) -> None:
        """Start it, for ever."""
        while True:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.annotate",
                env=self.environment, stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            status = await self._process.wait()
            assert status == -signal.SIGKILL, f"annotate ended by itself: {status}"
            self.kills += 1

    async def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


@asynccontextmanager
async def restarted(environment: dict[str, str]) -> AsyncIterator[Restarted]:
    """Run annotate with these variables until the block ends."""
    process = Restarted(environment)
    task = asyncio.create_task(process.run())
    try:
        yield process
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await process.stop()


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("steps", ROUNDS.values(), ids=ROUNDS)
async def test_killed_at_a_step_it_commits_once(
    platform_servers: PlatformServers, s3_bucket: str, tmp_path: Path, steps: tuple[str, ...]
) -> None:
    (tmp_path / "failpoints").mkdir()
    workspace, port = f"w-{secrets.token_hex(6)}", free_port()
    variables = {
        "LOOPLINE_WORKSPACE": workspace,
        "LOOPLINE_NATS_URL": platform_servers.nats.url,
        "LOOPLINE_S3_ENDPOINT": platform_servers.s3.endpoint,
        "LOOPLINE_S3_ACCESS_KEY": platform_servers.s3.access_key,
        "LOOPLINE_S3_SECRET_KEY": platform_servers.s3.secret_key,
        "LOOPLINE_S3_BUCKET": s3_bucket,
        "LOOPLINE_DATA_DIR": str(tmp_path),
        "LOOPLINE_HTTP_PORT": str(port),
        "LOOPLINE_FAILPOINTS": ",".join(steps),
        "LOOPLINE_FAILPOINTS_DIR": str(tmp_path / "failpoints"),
    }
    given = AnnotateSettings(
        workspace=workspace,
        nats_url=platform_servers.nats.url,
        s3_endpoint=platform_servers.s3.endpoint,
        s3_access_key=platform_servers.s3.access_key,
        s3_secret_key=SecretStr(platform_servers.s3.secret_key),
        s3_bucket=s3_bucket,
    )
    observer, close = await _observer(given)
    async with (
        restarted({**os.environ, **variables}) as annotate,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
    ):
        await _send_job(observer)

        async def submit_rest() -> bool:
            """Submit what has no labels yet, as a client would that hears nothing or an error."""
            with contextlib.suppress(httpx.HTTPError):
                page = await client.get(f"/v1/jobs/{JOB}/items", params={"state": "todo"})
                if page.status_code != 200:
                    return False
                todo = [row["asset"] for row in page.json()["items"]]
                if not todo:
                    return True
                rows = [{"asset": one, "shapes": [{"class_name": "coat"}]} for one in todo]
                body = {"labeler": "ada", "labels": rows}
                await client.post(f"/v1/jobs/{JOB}/labels", json=body)
            return False

        await until(submit_rest)

        async def completed() -> bool:
            head = await observer.log.head(catalog.LABELING_JOB_COMMITTED, name=JOB)
            return head is not None and head.message.state == JobState.JOB_STATE_COMPLETED

        await until(completed)

        async def all_died() -> bool:
            return annotate.kills == len(steps)

        await until(all_died)
    await _check_once(observer)
    await close()


async def _observer(given: ServiceSettings) -> tuple[Annotate, Callable[[], Awaitable[None]]]:
    """Return a service that is never started: its log and storage serve to look and to prepare."""
    client = await connect(given, "annotate")
    js = client.jetstream()
    await declare(js, given.workspace)
    for event in EVENTS:
        for durable in event.durables:
            if durable.service == "annotate":
                name = event.durable_name("annotate", given.workspace)
                config = (await js.consumer_info(event.stream, name)).config
                await js.add_consumer(event.stream, config.evolve(ack_wait=ACK_WAIT_S))
    observer = build(Annotate, given, client)
    assert isinstance(observer, Annotate)

    async def close() -> None:
        observer.objects.close()
        await client.close()

    return observer, close


async def _send_job(observer: Annotate) -> None:
    flywheel = Flywheel(observer.log, observer.objects)
    dataset = await flywheel.dataset("catalogue", [item(n) for n in range(ITEMS)])
    model = await flywheel.model("catalogue", "weights", {"accuracy": 0.8})
    predictions = await flywheel.predictions(
        model, dataset, [prediction(n, 0.5) for n in range(ITEMS)]
    )
    assets = [asset(n) for n in range(ITEMS)]
    command = OpenLabelingJob(
        job=JOB,
        dataset=dataset.ref,
        items_digest=await observer.objects.put(Area.PLANS, canonical_json(assets)),
        items_count=ITEMS,
        predictions=predictions.ref,
        predictions_tree=predictions.message.tree,
    )
    id_ = observer.bus.workspace
    await observer.bus.send(catalog.OPEN_LABELING_JOB, command, id=id_, queue="people")


async def _check_once(observer: Annotate) -> None:
    jobs = await observer.log.history(catalog.LABELING_JOB_COMMITTED, name=JOB)
    assert [JobState.Name(job.message.state)[10:] for job in jobs] == ["IN_PROGRESS", "COMPLETED"]
    datasets = await observer.log.history(catalog.DATASET_COMMITTED, name="catalogue")
    assert len(datasets) == 2
    assert datasets[-1].message.statistics["labeled"] == ITEMS
    for number in range(ITEMS):
        said = await observer.log.history(catalog.LABELS_SUBMITTED, job=JOB, asset=asset(number))
        assert len(said) == 1, "the same submission again is no version of its own"
