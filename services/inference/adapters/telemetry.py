"""Figures of the loaded models for /metrics, read when asked for: a request costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from services.inference.adapters.repository import ModelRepository
from services.inference.adapters.statistics import Figures

_NS: Final = 1e-9
_COUNTERS: Final[Mapping[str, tuple[str, Callable[[Figures], float]]]] = {
    "loopline_inference_requests": ("Requests answered.", lambda f: f.success.count),
    "loopline_inference_failures": ("Requests refused or failed.", lambda f: f.fail.count),
    "loopline_inference_images": ("Images inferred for requests.", lambda f: f.images),
    "loopline_inference_executions": ("Executions of the engine.", lambda f: f.executions),
    "loopline_inference_queue_seconds": ("Time waiting.", lambda f: f.queue.ns * _NS),
    "loopline_inference_input_seconds": ("Time decoding.", lambda f: f.input.ns * _NS),
    "loopline_inference_engine_seconds": ("Time in the engine.", lambda f: f.infer.ns * _NS),
}


def export(repository: ModelRepository) -> None:
    """Offer the statistics of the loaded models as counters by model and version."""
    meter = metrics.get_meter("loopline")
    for name, (description, value) in _COUNTERS.items():
        meter.create_observable_counter(
            name, callbacks=[_observer(repository, value)], description=description
        )


def _observer(
    repository: ModelRepository, value: Callable[[Figures], float]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterator[Observation]:
        for servable in repository.loaded():
            labels = {"model": servable.model.name, "version": str(servable.model.version)}
            yield Observation(value(servable.statistics.snapshot()), labels)

    return observe
