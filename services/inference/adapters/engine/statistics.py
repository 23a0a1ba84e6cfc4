"""Counts and nanoseconds per model version, as Triton's statistics extension tells them."""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import Final

LATENCY_BOUNDS_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Upper bounds of the classes that answered requests are counted in, by how long they took."""
_BOUNDS_NS: Final = [round(bound * 1e9) for bound in LATENCY_BOUNDS_S]


@dataclass(slots=True)
class Duration:
    """How often, and how long in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        """Count `count` more that took `ns` together."""
        self.count += count
        self.ns += ns


@dataclass(slots=True)
class RequestTimes:
    """Where one request's time went, nanoseconds."""

    total_ns: int
    queue_ns: int
    input_ns: int
    infer_ns: int
    output_ns: int


@dataclass(slots=True)
class BatchTimes:
    """Executions at one batch size."""

    input: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class Figures:
    """All figures of one model version."""

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    input: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)
    batches: dict[int, BatchTimes] = field(default_factory=dict)
    images: int = 0
    executions: int = 0
    last_inference_ms: int = 0
    latencies: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS_NS) + 1))
    """Answered requests in each class of latency; the last one has no upper bound."""


class Statistics:
    """Counts what a model version did since it was loaded. Thread-safe."""

    def __init__(self) -> None:
        self._figures = Figures()
        self._lock = threading.Lock()

    def answered(self, times: RequestTimes, images: int, now_ms: int) -> None:
        """Count a request that was answered."""
        with self._lock:
            figures = self._figures
            for duration, ns in (
                (figures.success, times.total_ns),
                (figures.queue, times.queue_ns),
                (figures.input, times.input_ns),
                (figures.infer, times.infer_ns),
                (figures.output, times.output_ns),
            ):
                duration.count += 1
                duration.ns += ns
            figures.latencies[bisect_left(_BOUNDS_NS, times.total_ns)] += 1
            figures.images += images
            figures.last_inference_ms = now_ms

    def failed(self, total_ns: int) -> None:
        """Count a request that was refused or failed."""
        with self._lock:
            self._figures.fail.add(total_ns)

    def executed(self, images: int, input_ns: int, infer_ns: int, output_ns: int) -> None:
        """Count an execution of the engine."""
        with self._lock:
            self._figures.executions += 1
            batch = self._figures.batches.setdefault(images, BatchTimes())
            batch.input.add(input_ns)
            batch.infer.add(infer_ns)
            batch.output.add(output_ns)

    def snapshot(self) -> Figures:
        """Return a copy of the figures as they are now."""
        with self._lock:
            figures = self._figures
            return replace(
                figures,
                success=replace(figures.success),
                fail=replace(figures.fail),
                queue=replace(figures.queue),
                input=replace(figures.input),
                infer=replace(figures.infer),
                output=replace(figures.output),
                latencies=figures.latencies.copy(),
                batches={
                    size: BatchTimes(replace(b.input), replace(b.infer), replace(b.output))
                    for size, b in figures.batches.items()
                },
            )
