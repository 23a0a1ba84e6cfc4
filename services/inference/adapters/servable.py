"""A loaded model version: its engine, its queue, its counts."""

from __future__ import annotations

from dataclasses import replace

from services.inference.adapters.batching import Batcher
from services.inference.adapters.engine import OnnxEngine
from services.inference.adapters.statistics import Statistics
from services.inference.domain.admission import Admission
from services.inference.domain.answers import outputs_of
from services.inference.domain.model import ModelVersion
from services.inference.domain.queueing import BatchPolicy


class Servable:
    """What answers requests for one model version.

    Args:
        model: The version.
        engine: Its engine, warm.
        policy: How requests share executions.
        admitted_images: Images inside at once.
    """

    def __init__(
        self, model: ModelVersion, engine: OnnxEngine, policy: BatchPolicy, admitted_images: int
    ) -> None:
        self.model = model
        self.engine = engine
        self.signature = engine.signature
        self.outputs = outputs_of(model, engine.signature)
        self.policy = policy if engine.signature.batches else replace(policy, max_batch=1)
        self.max_batch = self.policy.max_batch
        self.statistics = Statistics()
        self.batcher = Batcher(engine.run, self.policy, self.statistics, str(model.key))
        self.admission = Admission(admitted_images, self.batcher.close)

    def retire(self) -> None:
        """Take nothing more; those inside are answered, then the engine is let go."""
        self.admission.retire()
