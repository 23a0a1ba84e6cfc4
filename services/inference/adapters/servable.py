"""A loaded model version: its engine, its queue, its counts."""

from __future__ import annotations

from services.inference.adapters.batching import Batcher
from services.inference.adapters.engine import OnnxEngine
from services.inference.adapters.statistics import Statistics
from services.inference.domain.admission import Admission
from services.inference.domain.answers import outputs_of
from services.inference.domain.model import ModelVersion


class Servable:
    """What answers requests for one model version.

    Args:
        model: The version.
        engine: Its engine, warm.
        max_batch: Images in one execution.
        admitted_images: Images inside at once.
    """

    def __init__(
        self, model: ModelVersion, engine: OnnxEngine, max_batch: int, admitted_images: int
    ) -> None:
        self.model = model
        self.engine = engine
        self.signature = engine.signature
        self.outputs = outputs_of(model, engine.signature)
        self.max_batch = max_batch if engine.signature.batches else 1
        self.statistics = Statistics()
        self.batcher = Batcher(engine.run, self.max_batch, self.statistics, str(model.key))
        self.admission = Admission(admitted_images, self.batcher.close)

    def retire(self) -> None:
        """Take nothing more; those inside are answered, then the engine is let go."""
        self.admission.retire()
