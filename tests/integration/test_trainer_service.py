"""trainer over a real bus and real object storage, as the processes that users run."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from loopline.contracts import (
    ArtefactRef,
    ModelCommitted,
    RunKind,
    TrainModel,
    catalog,
)
from loopline.runtime.admin import declare
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
        await declare(client.jetstream(), settings.workspace)
        user = build(Trainer, settings, client)
        assert isinstance(user, Trainer)
        yield user
        await client.close()

    @asynccontextmanager
    async def machine(self, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a trainer with a disk of its own."""
        environment = os.environ | self._environment
        environment["LOOPLINE_DATA_DIR"] = str(self._folder / name)
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


async def ask(user: Trainer, number: int = 1) -> None:
    """Ask for a training that takes a few seconds."""
    command = TrainModel(model="products", recipe="slow", dataset=ArtefactRef(name="shop"))
    command.parameters.update({"epochs": EPOCHS, "batch_size": 11})
    await user.bus.send(catalog.TRAIN_MODEL, command, id=f"{user.bus.workspace}/{number}")


async def trained(user: Trainer) -> Committed[ModelCommitted]:
    """Wait for the model."""
    return await until(lambda: user.log.head(catalog.MODEL_COMMITTED, name="products"))


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
    async with stormy.user(monkeypatch) as user:
        await prepare(user, catalogue)
        async with stormy.machine("one") as first:
            await ask(user)
            run_id = undisturbed.commit.run.id  # equal work, equal id: in any workspace
            await until(lambda: user.chunks.completed(run_id, 1))
            first.send_signal(signal.SIGKILL)
            await first.wait()
        assert await user.log.head(catalog.MODEL_COMMITTED, name="products") is None
        # The first command comes again once its heartbeats are missed; a second one need not wait.
        await ask(user, 2)
        async with stormy.machine("two"):
            resumed = await trained(user)

    assert resumed.commit.run.id == run_id
    assert resumed.commit.run.figures["resumed_at_step"] > 0
    assert undisturbed.commit.run.figures["resumed_at_step"] == 0
    assert resumed.ref.digest == undisturbed.ref.digest
    assert resumed.message.evaluations == undisturbed.message.evaluations
    assert list(resumed.message.files) == list(undisturbed.message.files)
