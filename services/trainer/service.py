"""trainer: what it hears."""

from __future__ import annotations

import structlog

from loopline.contracts import EvaluateModel, QuantizeModel, TrainModel, catalog
from loopline.runtime.processing import Delivery
from loopline.runtime.service import Service, work
from services.trainer.execution import Executions
from services.trainer.measurements import Measurements
from services.trainer.settings import TrainerSettings

log = structlog.get_logger()


class Trainer(Service):
    """Trains models, one at a time, in a process of their own; this one never imports torch."""

    name = "trainer"
    settings: TrainerSettings

    async def start(self) -> None:
        """Build adapters."""
        self.executions = Executions(self, self.settings)
        self.executions.prune()
        self.measurements = Measurements(
            self, self.settings, self.executions.folders, self.executions.cache
        )

    @work(catalog.TRAIN_MODEL, concurrency=1)
    async def on_train_model(self, command: TrainModel, delivery: Delivery) -> None:
        """Train, evaluate, export and commit a model version, unless that run is committed."""
        committed = await self.executions.carry_out(command, delivery)
        log.info(
            "model_trained",
            model=command.model,
            version=committed.ref.version,
            digest=committed.ref.digest,
            run_id=committed.commit.run.id,
        )

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
