"""A loaded model version: its engine, its queue, its counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from services.inference.adapters.engine.batching import Batcher
from services.inference.adapters.engine.session import OnnxEngine
from services.inference.adapters.engine.statistics import Statistics
from services.inference.domain.admission import Admission
from services.inference.domain.answers import outputs_of
from services.inference.domain.model import ModelVersion, Signature, TensorSpec
from services.inference.domain.queueing import BatchPolicy
from services.inference.domain.serving import ServeTerms


class Served(Protocol):
    """What a request is asked of, whatever answers it."""

    model: ModelVersion
    signature: Signature
    outputs: tuple[TensorSpec, ...]
    statistics: Statistics

    @property
    def timeout_s(self) -> float | None:
        """The longest time for a request; None where only the service's limit holds."""
        ...


class Servable:
    """What answers requests for one model version.

    Args:
        model: The version.
        engine: Its engine, warm.
        policy: How requests share executions, where its flow says nothing else.
        admitted_images: Images inside at once, likewise.
        terms: What its flow says.
    """

    def __init__(
        self,
        model: ModelVersion,
        engine: OnnxEngine,
        policy: BatchPolicy,
        admitted_images: int,
        terms: ServeTerms | None = None,
    ) -> None:
        self.model = model
        self.engine = engine
        self.signature = engine.signature
        self.outputs = outputs_of(model, engine.signature)
        self._usual = policy
        self._usual_images = admitted_images
        self.terms = terms or ServeTerms()
        self.policy = self._policy()
        self.statistics = Statistics()
        self.batcher = Batcher(engine.run, self.policy, self.statistics, str(model.key))
        admitted_images = self.terms.queue_images or admitted_images
        self.admission = Admission(admitted_images, self.batcher.close)

    @property
    def max_batch(self) -> int:
        """Images in one execution."""
        return self.policy.max_batch

    @property
    def timeout_s(self) -> float | None:
        """The longest time for a request; None where only the service's limit holds."""
        return self.terms.timeout_s

    def use(self, terms: ServeTerms) -> None:
        """Serve as a flow says from now on; requests inside stay where they are."""
        if terms == self.terms:
            return
        self.terms = terms
        self.policy = self._policy()
        self.batcher.use(self.policy)
        self.admission.capacity_images = terms.queue_images or self._usual_images

    def retire(self) -> None:
        """Take nothing more; those inside are answered, then the engine is let go."""
        self.admission.retire()

    def _policy(self) -> BatchPolicy:
        policy = self.terms.policy(self._usual)
        return policy if self.signature.batches else replace(policy, max_batch=1)
