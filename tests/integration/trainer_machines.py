"""Trainers as the processes that users run, over a real bus and real object storage."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loopline.contracts import (
    ArtefactRef,
    ModelCommitted,
    RunChanged,
    RunKind,
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
from loopline.testing.products import Product
from loopline.testing.servers import PlatformServers
from services.trainer.service import Trainer
from services.trainer.settings import TrainerSettings
from tests.integration.waiting import Waiting
from tests.unit.trainer.workshop import CLASSES, ENTRY_POINTS, SOURCES, install

TIMEOUT_S = 150.0
EPOCHS = 6
until = Waiting(TIMEOUT_S)


class Workspace:
    """A workspace of its own, and the machines in it, on which recipes are installed.

    Args:
        servers: The bus and storage.
        bucket: Its own.
        folder: Where the machines' disks are.
        ack_wait_s: How soon a killed machine's commands are taken up; 0 is what the catalog says.
    """

    def __init__(
        self, servers: PlatformServers, bucket: str, folder: Path, ack_wait_s: float = 0.0
    ) -> None:
        self._folder = folder
        (folder / "site").mkdir(parents=True)
        self._site = install(folder / "site", SOURCES, ENTRY_POINTS)
        self._environment = {
            "LOOPLINE_WORKSPACE": f"w-{secrets.token_hex(6)}",
            "LOOPLINE_NATS_URL": servers.nats.url,
            "LOOPLINE_S3_ENDPOINT": servers.s3.endpoint,
            "LOOPLINE_S3_ACCESS_KEY": servers.s3.access_key,
            "LOOPLINE_S3_SECRET_KEY": servers.s3.secret_key,
            "LOOPLINE_S3_BUCKET": bucket,
            "LOOPLINE_CHECKPOINT_UPLOAD_EVERY_S": "0",
            "LOOPLINE_ACK_WAIT_S": str(ack_wait_s),
        }

    @asynccontextmanager
    async def user(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Trainer]:
        """Connect as a user does; the service is not started, but has all that a user needs."""
        for name, value in self._environment.items():
            monkeypatch.setenv(name, value)
        settings = TrainerSettings()
        client = await connect(settings, "user")
        await declare(
            client.jetstream(),
            settings.workspace,
            agents=("one", "two", "three"),
            ack_wait_s=settings.ack_wait_s,
        )
        user = build(Trainer, settings, client)
        assert isinstance(user, Trainer)
        try:
            yield user
        finally:
            await client.close()

    @asynccontextmanager
    async def machine(self, name: str, **more: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a trainer with a disk of its own, and what else it is to be told."""
        environment = os.environ | self._environment | more
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


async def prepare(user: Trainer, catalogue: Sequence[Product]) -> None:
    """Commit a dataset of real images."""
    await user.objects.put_many(Area.ASSETS, [product.data for product in catalogue])
    run = runs.new_run(RunKind.RUN_KIND_IMPORT, parameters={"of": user.bus.workspace})
    items = [product.item() for product in catalogue]
    datasets = Datasets(user.log, user.objects)
    await datasets.commit_changes("shop", items, run=run, summary="imported", classes=CLASSES)


async def ask(
    user: Trainer,
    pool: str = "default",
    epochs: int = EPOCHS,
    model: str = "products",
    **more: int,
) -> None:
    """Ask for a training of a tenth of a second a step."""
    command = TrainModel(model=model, recipe="slow", dataset=ArtefactRef(name="shop"))
    command.parameters.update({"epochs": epochs, "batch_size": 11, "checkpoint_every_steps": 3})
    command.parameters.update(more)
    await user.bus.send(catalog.TRAIN_MODEL, command, pool=pool)


async def trained(user: Trainer, model: str = "products") -> Committed[ModelCommitted]:
    """Wait for the model."""
    return await until(lambda: user.log.head(catalog.MODEL_COMMITTED, name=model))


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
