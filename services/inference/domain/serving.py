"""What flows declare of serving, as inference needs it: batches of a model, pipelines of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.inference.domain.queueing import BatchPolicy


@dataclass(frozen=True, slots=True)
class ServeTerms:
    """How requests to a model share executions; None is the service's setting.

    Args:
        batch_max: Images in one execution.
        batch_preferred: Images taken together where more wait.
        delay_max_s: How long the first of a batch may wait for company.
        queue_images: Images inside at once.
        timeout_s: The longest time for a request.
        priority: Of requests that name none.
    """

    batch_max: int | None = None
    batch_preferred: int | None = None
    delay_max_s: float | None = None
    queue_images: int | None = None
    timeout_s: float | None = None
    priority: int | None = None

    def policy(self, usual: BatchPolicy) -> BatchPolicy:
        """Return the service's policy with what is declared in its place."""
        batch_max = self.batch_max or usual.max_batch
        delay_s = usual.max_delay_s if self.delay_max_s is None else self.delay_max_s
        return replace(
            usual,
            max_batch=batch_max,
            preferred=min(self.batch_preferred or usual.preferred, batch_max),
            max_delay_s=delay_s,
            direct=usual.direct and delay_s == 0,
            priority=self.priority or usual.priority,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """A model of a pipeline, by its alias."""

    model: str
    alias: str


@dataclass(frozen=True, slots=True)
class PipelineTerms:
    """A detector, then a classifier on its crops.

    Args:
        name: What clients ask for.
        flow: The flow that declares it.
        version: That flow's version.
        detector: Finds boxes.
        classifier: Names what is in them.
        score_min: Boxes less sure are left out.
        crops_max: Boxes of one image at most.
        margin: How much of its size a box is widened by on each side.
    """

    name: str
    flow: str
    version: int
    detector: Step
    classifier: Step
    score_min: float = 0.3
    crops_max: int = 32
    margin: float = 0.0

    @property
    def steps(self) -> tuple[Step, Step]:
        """Its models, in the order they are asked."""
        return (self.detector, self.classifier)


@dataclass(frozen=True, slots=True)
class Declared:
    """What one version of a flow, or all flows together, declare.

    Args:
        serve: By model.
        pipelines: By name.
    """

    serve: Mapping[str, ServeTerms] = field(default_factory=dict)
    pipelines: Mapping[str, PipelineTerms] = field(default_factory=dict)


def together(declared: Sequence[Declared]) -> Declared:
    """Return what several declare; where two speak of one name the first decides."""
    serve: dict[str, ServeTerms] = {}
    pipelines: dict[str, PipelineTerms] = {}
    for one in declared:
        serve = {**one.serve, **serve}
        pipelines = {**one.pipelines, **pipelines}
    return Declared(serve, pipelines)
