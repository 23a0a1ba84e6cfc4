"""trainer: what it hears."""

from __future__ import annotations

import structlog

from loopline.contracts import TrainModel, catalog
from loopline.runtime.processing import Delivery
from loopline.runtime.service import Service, work
from services.trainer.execution import Executions
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
