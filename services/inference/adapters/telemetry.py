"""Figures of the loaded models for /metrics, read when asked for: a request costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from services.inference.adapters.engine.statistics import LATENCY_BOUNDS_S, Figures
from services.inference.adapters.models.repository import ModelRepository
from services.inference.adapters.models.servable import Servable

_NS: Final = 1e-9
_COUNTERS: Final[Mapping[str, tuple[str, Callable[[Figures], float]]]] = {
    "loopline_inference_requests": ("Requests answered.", lambda f: f.success.count),
    "loopline_inference_failures": ("Requests refused or failed.", lambda f: f.fail.count),
    "loopline_inference_images": ("Images inferred for requests.", lambda f: f.images),
    "loopline_inference_executions": ("Executions of the engine.", lambda f: f.executions),
    "loopline_inference_request_seconds": ("Time to answer.", lambda f: f.success.ns * _NS),
    "loopline_inference_queue_seconds": ("Time waiting.", lambda f: f.queue.ns * _NS),
    "loopline_inference_input_seconds": ("Time decoding.", lambda f: f.input.ns * _NS),
    "loopline_inference_engine_seconds": ("Time in the engine.", lambda f: f.infer.ns * _NS),
}


_GAUGES: Final[Mapping[str, tuple[str, Callable[[Servable], float]]]] = {
    "loopline_inference_inside": ("Images let in and not answered.", lambda s: s.admission.inside),
    "loopline_inference_capacity": (
        "Images let in at most; requests beyond that are refused.",
        lambda s: s.admission.capacity_images,
    ),
}
_BOUNDS: Final = (*(f"{bound:g}" for bound in LATENCY_BOUNDS_S), "+Inf")


def export(repository: ModelRepository) -> None:
    """Offer the statistics of the loaded models by model and version."""
    meter = metrics.get_meter("loopline")
    for name, (about, value) in _COUNTERS.items():
        callback = _observer(repository, _figure(value))
        meter.create_observable_counter(name, callbacks=[callback], description=about)
    for name, (about, reading) in _GAUGES.items():
        callback = _observer(repository, reading)
        meter.create_observable_gauge(name, callbacks=[callback], description=about)
    meter.create_observable_counter(
        "loopline_inference_refusals",
        callbacks=[_observer(repository, lambda servable: servable.admission.refused)],
        description="Requests refused because too much waited.",
    )
    meter.create_observable_counter(
        "loopline_inference_latency_bucket",
        callbacks=[_latencies(repository)],
        description="Requests answered within `le` seconds.",
    )


def _figure(value: Callable[[Figures], float]) -> Callable[[Servable], float]:
    return lambda servable: value(servable.statistics.snapshot())


def _observer(
    repository: ModelRepository, value: Callable[[Servable], float]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterator[Observation]:
        for servable in repository.loaded():
            yield Observation(value(servable), _labels(servable))

    return observe


def _latencies(repository: ModelRepository) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """Counted, not measured by a histogram's `record`: that costs a request 6 us, this 0.1."""

    def observe(_: CallbackOptions) -> Iterator[Observation]:
        for servable in repository.loaded():
            labels = _labels(servable)
            counts = accumulate(servable.statistics.snapshot().latencies)
            for bound, count in zip(_BOUNDS, counts, strict=True):
                yield Observation(count, {**labels, "le": bound})

    return observe


def _labels(servable: Servable) -> dict[str, str]:
    return {"model": servable.model.name, "version": str(servable.model.version)}
