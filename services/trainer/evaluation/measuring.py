"""Measures a network on examples: what a training, and a run that evaluates, both do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from loopline.evaluation.evaluators import evaluator
from loopline.evaluation.findings import Findings
from loopline.evaluation.images import ImageFacts
from loopline.evaluation.report import Report, Speed
from services.trainer.domain.job import Placed
from services.trainer.domain.manifest import InputFormat
from services.trainer.evaluation.network import BATCH, Network, Read, batches

ALONE: Final = 32  # images that are asked about one at a time, for the latency
TELL_EVERY_S: Final = 1.0

Tell = Callable[[int, float], None]
"""Told how many images are done, and how many a second."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found, and how fast."""

    findings: Findings
    speed: Speed


@dataclass
class _Clock:
    """Seconds spent in the network, and for how many images."""

    began: float = field(default_factory=time.perf_counter)
    network_s: float = 0.0
    images: int = 0
    alone_ms: list[float] = field(default_factory=list)

    @property
    def images_per_s(self) -> float:
        return self.images / max(time.perf_counter() - self.began - sum(self.alone_ms) / 1e3, 1e-9)

    def speed(self, threads: int) -> Speed:
        alone = np.asarray(self.alone_ms or [0.0])
        return Speed(
            images_per_s=self.images_per_s,
            network_images_per_s=self.images / max(self.network_s, 1e-9),
            p50_ms=float(np.percentile(alone, 50)),
            p95_ms=float(np.percentile(alone, 95)),
            batch=BATCH,
            threads=threads,
            device="cpu",
        )


def measure(
    network: Network,
    task: str,
    classes: Sequence[str],
    input_format: InputFormat,
    examples: Sequence[Placed],
    tell: Tell = lambda done, images_per_s: None,
) -> Measured:
    """Ask the network about every image, and compare with its labels.

    Raises:
        Rejected: An image cannot be read, a label is unknown, or none can be used.
    """
    found = evaluator(task, classes)
    clock = _Clock()
    told_at = time.monotonic()
    for some, pixels in batches(examples, input_format):
        began = time.perf_counter()
        outputs = network.run(pixels)
        clock.network_s += time.perf_counter() - began
        clock.images += len(some)
        for index, one in enumerate(some):
            found.add(facts_of(one), one.placed.example.annotations, outputs, index, one.placement)
        _time_alone(network, some, clock)
        if time.monotonic() - told_at >= TELL_EVERY_S:
            told_at = time.monotonic()
            tell(clock.images, clock.images_per_s)
    speed = clock.speed(network.threads)
    return Measured(found.finish(), speed)


def facts_of(one: Read) -> ImageFacts:
    """Return what is known of an image; its size is that of its pixels."""
    example = one.placed.example
    height, width = one.original.shape[:2]
    return ImageFacts(example.asset, width, height, example.tags, example.source)


def named(
    report: Report, *, model: str, dataset: str, split: str, notes: Iterable[str] = ()
) -> Report:
    """Return a report that says what was measured on what."""
    about = {"model": model, "dataset": dataset, "split": split}
    return report.model_copy(update={**about, "notes": (*report.notes, *notes)})


def _time_alone(network: Network, some: Sequence[Read], clock: _Clock) -> None:
    """Time some images by themselves; the first batch has warmed the network up."""
    for one in some[: ALONE - len(clock.alone_ms)]:
        began = time.perf_counter()
        network.run(one.pixels[None])
        clock.alone_ms.append((time.perf_counter() - began) * 1e3)
