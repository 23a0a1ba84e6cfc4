"""trainer over a real bus and real object storage, as the processes that users run."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from loopline.contracts import (
    ArtefactRef,
    CancelRun,
    ModelCommitted,
    RunChanged,
    RunKind,
    RunState,
    TrainModel,
    catalog,
)
from loopline.runtime.admin import declare
from loopline.runtime.agents import known_agents
from loopline.runtime.service import build, connect
from loopline.store import runs
from loopline.store.commits import Committed
from loopline.store.datasets import Datasets
from loopline.store.objects import Area
from loopline.testing.products import Product, products
from loopline.testing.servers import PlatformServers
from services.trainer.service import Trainer
from services.trainer.settings import TrainerSettings
from tests.unit.trainer.workshop import CLASSES, ENTRY_POINTS, SOURCES, install

TIMEOUT_S = 150.0
EPOCHS = 6
T = TypeVar("T")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


async def until(ask: Callable[[], Awaitable[T | None]]) -> T:
    """Return the first answer that says something."""
    async with asyncio.timeout(TIMEOUT_S):
        while not (answer := await ask()):
            await asyncio.sleep(0.02)
        return answer


class Workspace:
    """A workspace of its own, and the machines in it."""

    def __init__(self, servers: PlatformServers, bucket: str, folder: Path, site: Path) -> None:
        self._folder = folder
        self._site = site
        self._environment = {
            "LOOPLINE_WORKSPACE": f"w-{secrets.token_hex(6)}",
            "LOOPLINE_NATS_URL": servers.nats.url,
            "LOOPLINE_S3_ENDPOINT": servers.s3.endpoint,
            "LOOPLINE_S3_ACCESS_KEY": servers.s3.access_key,
            "LOOPLINE_S3_SECRET_KEY": servers.s3.secret_key,
            "LOOPLINE_S3_BUCKET": bucket,
            "LOOPLINE_CHECKPOINT_UPLOAD_EVERY_S": "0",
        }

    @asynccontextmanager
    async def user(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Trainer]:
        """Connect as a user does; the service is not started, but has all that a user needs."""
        for name, value in self._environment.items():
            monkeypatch.setenv(name, value)
        settings = TrainerSettings()
        client = await connect(settings, "user")
        await declare(client.jetstream(), settings.workspace, agents=("one", "two"))
        user = build(Trainer, settings, client)
        assert isinstance(user, Trainer)
        try:
            yield user
        finally:
            await client.close()

    @asynccontextmanager
    async def machine(self, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a trainer with a disk of its own."""
        environment = os.environ | self._environment
        environment["LOOPLINE_DATA_DIR"] = str(self._folder / name)
        environment["LOOPLINE_AGENT"] = name
        environment["PYTHONPATH"] = str(self._site)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.trainer",
            env=environment,
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Installed recipes."""
    folder = tmp_path / "site"
    folder.mkdir()
    return install(folder, SOURCES, ENTRY_POINTS)


async def prepare(user: Trainer, catalogue: Sequence[Product]) -> None:
    """Commit a dataset of real images."""
    await user.objects.put_many(Area.ASSETS, [product.data for product in catalogue])
    run = runs.new_run(RunKind.RUN_KIND_IMPORT, parameters={"of": user.bus.workspace})
    items = [product.item() for product in catalogue]
    datasets = Datasets(user.log, user.objects)
    await datasets.commit_changes("shop", items, run=run, summary="imported", classes=CLASSES)


async def ask(user: Trainer, pool: str = "default", epochs: int = EPOCHS) -> None:
    """Ask for a training of a tenth of a second a step."""
    command = TrainModel(model="products", recipe="slow", dataset=ArtefactRef(name="shop"))
    command.parameters.update({"epochs": epochs, "batch_size": 11, "checkpoint_every_steps": 3})
    await user.bus.send(catalog.TRAIN_MODEL, command, pool=pool)


async def trained(user: Trainer) -> Committed[ModelCommitted]:
    """Wait for the model."""
    return await until(lambda: user.log.head(catalog.MODEL_COMMITTED, name="products"))


async def progress(user: Trainer, run_id: str) -> RunChanged | None:
    """Return the run's last report."""
    subject = catalog.RUN_CHANGED.subject(user.bus.workspace, run_id=run_id)
    records = await user.events.last(subject)
    return RunChanged.FromString(records[-1].data) if records else None


async def occupied(user: Trainer, *names: str) -> dict[str, list[str]] | None:
    """Return what each agent runs, once all of these have reported."""
    states = await known_agents(user.events, user.bus.workspace)
    found = {s.name: [work.run_id for work in s.reported.running] for s in states}
    return found if set(names) <= set(found) else None


async def test_a_training_whose_machine_dies_goes_on_elsewhere_and_makes_the_same_model(
    platform_servers: PlatformServers,
    s3_bucket: str,
    tmp_path: Path,
    site: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalogue = products(24, 16, CLASSES)
    calm = Workspace(platform_servers, s3_bucket, tmp_path / "calm", site)
    async with calm.user(monkeypatch) as user, calm.machine("one"):
        await prepare(user, catalogue)
        await ask(user)
        undisturbed = await trained(user)

    stormy = Workspace(platform_servers, s3_bucket, tmp_path / "stormy", site)
    async with (
        stormy.user(monkeypatch) as user,
        stormy.machine("one") as one,
        stormy.machine("two") as two,
    ):
        await prepare(user, catalogue)
        await until(lambda: occupied(user, "one", "two"))
        await ask(user)
        run_id = undisturbed.commit.run.id  # equal work, equal id: in any workspace

        async def stored() -> RunChanged | None:
            report = await progress(user, run_id)
            return report if report is not None and report.training.checkpoints else None

        report = await until(stored)
        agents = {"one": one, "two": two}
        victim, survivor = report.agent.id, *({"one", "two"} - {report.agent.id})
        running = await occupied(user, "one", "two")
        assert running == {victim: [run_id], survivor: []}
        agents[victim].send_signal(signal.SIGKILL)
        await agents[victim].wait()
        died = time.monotonic()

        async def taken_up() -> bool:
            running = await occupied(user)
            return running is not None and running[survivor] == [run_id]

        await until(taken_up)
        assert time.monotonic() - died < 30
        resumed = await trained(user)
        states = {s.name: s for s in await known_agents(user.events, user.bus.workspace)}
        now = states[victim].heard_at + timedelta(seconds=31)
        assert states[victim].state(now) == "gone"

    assert resumed.commit.run.id == run_id
    assert resumed.commit.run.agent.id == survivor
    assert resumed.commit.run.figures["resumed_at_step"] > 0
    assert undisturbed.commit.run.figures["resumed_at_step"] == 0
    assert resumed.ref.digest == undisturbed.ref.digest
    assert [e.metrics for e in resumed.message.evaluations] == [
        e.metrics for e in undisturbed.message.evaluations
    ]
    assert list(resumed.message.files) == list(undisturbed.message.files)


async def test_a_command_sent_to_an_agent_by_name_goes_to_no_other_and_can_be_cancelled(
    platform_servers: PlatformServers,
    s3_bucket: str,
    tmp_path: Path,
    site: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = Workspace(platform_servers, s3_bucket, tmp_path, site)
    async with here.user(monkeypatch) as user, here.machine("one"), here.machine("two"):
        await prepare(user, products(24, 16, CLASSES))
        await until(lambda: occupied(user, "one", "two"))
        await ask(user, pool="two", epochs=200)

        async def busy() -> list[str] | None:
            running = await occupied(user)
            return running["two"] if running is not None else None

        [run_id] = await until(busy)

        async def under_way() -> RunChanged | None:
            report = await progress(user, run_id)
            return report if report is not None and report.training.step else None

        await until(under_way)
        began = time.monotonic()
        message = CancelRun(run_id=run_id, reason="enough")
        await user.bus.send(catalog.CANCEL_RUN, message, run_id=run_id)

        async def ended() -> RunChanged | None:
            report = await progress(user, run_id)
            cancelled = RunState.RUN_STATE_CANCELLED
            return report if report is not None and report.state == cancelled else None

        report = await until(ended)
        assert time.monotonic() - began < 5
        assert report.message == "cancelled: enough"
        [checkpoint, *_] = report.training.checkpoints
        await user.objects.get(Area.CHECKPOINTS, checkpoint.digest)
        durable = catalog.TRAIN_MODEL.durable_name("trainer", user.bus.workspace, "two")
        assert user.client is not None
        stream = user.client.jetstream()

        async def settled() -> bool:
            consumer = await stream.consumer_info("WORK", durable)
            return (consumer.num_ack_pending, consumer.num_pending) == (0, 0)

        await until(settled)  # it does not come again
