"""How models of a flow are served: their batches, and pipelines of two of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from loopline.flows.part import Part
from loopline.names import Name

MAX_BATCH = 1_024
MAX_DELAY_MS = 1_000.0
MAX_QUEUE_IMAGES = 100_000
MAX_TIMEOUT_MS = 3_600_000
MAX_PRIORITY = 1_000
MAX_CROPS = 256
CHAMPION = "champion"


class ServeRule(Part):
    """How requests to a model share executions; what is left out is the service's own setting."""

    model: Name
    batch_max: Annotated[int, Field(ge=1, le=MAX_BATCH)] | None = None
    batch_preferred: Annotated[int, Field(ge=1, le=MAX_BATCH)] | None = None
    delay_max_ms: Annotated[float, Field(strict=False, ge=0.0, le=MAX_DELAY_MS)] | None = None
    queue_images: Annotated[int, Field(ge=1, le=MAX_QUEUE_IMAGES)] | None = None
    timeout_ms: Annotated[int, Field(ge=1, le=MAX_TIMEOUT_MS)] | None = None
    priority: Annotated[int, Field(ge=1, le=MAX_PRIORITY)] | None = None

    @property
    def name(self) -> str:
        """What the rule is called: its model."""
        return self.model

    @model_validator(mode="after")
    def _batch_holds_preferred(self) -> ServeRule:
        if self.batch_max and self.batch_preferred and self.batch_preferred > self.batch_max:
            raise ValueError("batch_preferred is larger than batch_max")
        return self


class PipelineStep(Part):
    """A model of a pipeline: whatever version its alias points to."""

    model: Name
    alias: Name = CHAMPION


class PipelineRule(Part):
    """A detector, then a classifier on what it found, asked like a model of that name."""

    name: Name
    detector: PipelineStep
    classifier: PipelineStep
    score_min: Annotated[float, Field(strict=False, ge=0.0, le=1.0)] = 0.3
    crops_max: Annotated[int, Field(ge=1, le=MAX_CROPS)] = 32
    margin: Annotated[float, Field(strict=False, ge=0.0, le=1.0)] = 0.0

    @model_validator(mode="after")
    def _is_none_of_its_steps(self) -> PipelineRule:
        if self.name in (self.detector.model, self.classifier.model):
            raise ValueError(f"the pipeline needs a name of its own: {self.name!r} is a step of it")
        return self
