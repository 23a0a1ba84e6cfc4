"""trainer: what it hears."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from loopline.contracts import EvaluateModel, QuantizeModel, ReproduceModel, TrainModel, catalog
from loopline.contracts.catalog import Event
from loopline.runtime.processing import Delivery
from loopline.runtime.service import Service, work
from services.trainer.attendance import Attendance
from services.trainer.execution import Executions
from services.trainer.measurements import Measurements
from services.trainer.reproductions import Reproductions
from services.trainer.settings import TrainerSettings

TRAININGS = frozenset({catalog.TRAIN_MODEL.key, catalog.REPRODUCE_MODEL.key})

log = structlog.get_logger()


class Trainer(Service):
    """Trains models, one at a time, in a process of their own; this one never imports torch."""

    name = "trainer"
    settings: TrainerSettings

    async def start(self) -> None:
        """Build adapters."""
        self.attendance = Attendance(self, self.settings)
        bench = self.attendance.bench
        bench.prune()
        self.executions = Executions(self, self.attendance)
        self.reproductions = Reproductions(self, self.attendance)
        self.measurements = Measurements(self, self.settings, bench.folders, bench.cache)
        self._training = asyncio.Lock()
        memberships = self.attendance.memberships
        self._following = asyncio.create_task(memberships.follow(self._training), name="following")

    async def stop(self) -> None:
        """Leave the training that another agent leads: it goes on with whoever is there."""
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)

    @work(catalog.TRAIN_MODEL, concurrency=1)
    async def on_train_model(self, command: TrainModel, delivery: Delivery) -> None:
        """Train, evaluate, export and commit a model version, unless that run is committed."""
        async with self._training:
            committed = await self.executions.carry_out(command, delivery)
        log.info(
            "model_trained",
            model=command.model,
            version=committed.ref.version,
            digest=committed.ref.digest,
            run_id=committed.commit.run.id,
        )

    @work(catalog.REPRODUCE_MODEL, concurrency=1)
    async def on_reproduce_model(self, command: ReproduceModel, delivery: Delivery) -> None:
        """Train a model version again from the log alone, and commit what that proved."""
        async with self._training:
            committed = await self.reproductions.carry_out(command, delivery)
        log.info(
            "model_reproduced",
            model=command.model.name,
            version=committed.message.model.version,
            identical=committed.message.is_identical,
            run_id=committed.commit.run.id,
        )

    def capacity(self) -> int:
        """See `Service`: one training at a time."""
        return 1

    def is_free(self, event: Event[Any]) -> bool:
        """See `Service`: what trains waits for nothing else that trains here."""
        return event.key not in TRAININGS or not self._training.locked()

    @work(catalog.EVALUATE_MODEL, concurrency=1)
    async def on_evaluate_model(self, command: EvaluateModel, delivery: Delivery) -> None:
        """Measure a model version and commit the evaluation, unless that run is committed."""
        committed = await self.measurements.evaluate(command, delivery)
        log.info(
            "model_evaluated",
            model=committed.ref.name,
            evaluation=committed.ref.version,
            report=committed.ref.digest,
            run_id=committed.commit.run.id,
        )

    @work(catalog.QUANTIZE_MODEL, concurrency=1)
    async def on_quantize_model(self, command: QuantizeModel, delivery: Delivery) -> None:
        """Commit a model version in 8 bit integers, unless that run is committed."""
        committed = await self.measurements.quantize(command, delivery)
        log.info(
            "model_quantized",
            model=committed.ref.name,
            version=committed.ref.version,
            digest=committed.ref.digest,
            run_id=committed.commit.run.id,
        )
