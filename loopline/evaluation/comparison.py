"""Whether one model is better than another: a paired bootstrap over the images of one frozen split.

Both models are measured again and again on the same random choices of the images (drawn with
replacement), so what makes some images harder than others falls out of the difference. The interval
is the middle 95% of the differences (Efron and Tibshirani, "An introduction to the bootstrap",
1993, the percentile method): if its lower end is above 0, the second model is better with 95%
confidence on images like these.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from loopline.errors import Rejected
from loopline.evaluation.figures import FloatArray
from loopline.evaluation.outcomes import Outcomes, in_order_of
from loopline.evaluation.report import COMPARED_MIN, Comparison, Difference

RESAMPLES: Final = 1000
RESAMPLES_MAX: Final = 100_000
CONFIDENCE: Final = 0.95
SEED: Final = 0
_WEIGHTS_AT_ONCE: Final = 5_000_000  # images times resamples in memory


def compare(
    a: Outcomes,
    b: Outcomes,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> Comparison:
    """Compare two models that were measured on the same images; the same call gives the same.

    Args:
        a: What the first found, image by image.
        b: What the second found.
        resamples: How many choices of the images are drawn.
        confidence: Of the intervals, in (0, 1).
        seed: Of the choices.

    Raises:
        Rejected: The tasks or the images differ, or there are none.
    """
    _check(a, b, resamples, confidence)
    b = in_order_of(b, a.images)
    count = len(a.images)
    once = np.ones((1, count), np.int64)
    first, second = a.measure(once), b.measure(once)
    rows_a, rows_b = _resampled(a, b, resamples, seed)
    tail = (1 - confidence) / 2
    metrics = {}
    for name in first:
        if name not in second:  # more classes than the other has: top-5 of one, not of the other
            continue
        drawn = rows_b[name] - rows_a[name]
        low, high = np.quantile(drawn, (tail, 1 - tail))
        metrics[name] = Difference(
            a=float(first[name][0]),
            b=float(second[name][0]),
            difference=float(second[name][0] - first[name][0]),
            low=float(low),
            high=float(high),
            better=float((drawn > 0).mean()),
        )
    return Comparison(
        task=a.task,
        count=count,
        confidence=confidence,
        resamples=resamples,
        metrics=metrics,
        notes=(few_images(count),) if count < COMPARED_MIN else (),
    )


def few_images(count: int) -> str:
    """Return why an interval over so few images says little."""
    plural = "" if count == 1 else "s"
    return (
        f"{count} image{plural} cannot tell how sure a difference is: the interval is too narrow "
        f"below {COMPARED_MIN}"
    )


def _check(a: Outcomes, b: Outcomes, resamples: int, confidence: float) -> None:
    if a.task != b.task:
        raise Rejected(f"a model of {a.task} and one of {b.task} do not compare")
    if not a.images:
        raise Rejected("there are no images to compare on")
    if not 1 <= resamples <= RESAMPLES_MAX:
        raise Rejected(f"resamples are 1 to {RESAMPLES_MAX:,}, not {resamples:,}")
    if not 0 < confidence < 1:
        raise Rejected(f"a confidence is between 0 and 1, not {confidence}")


def _resampled(
    a: Outcomes, b: Outcomes, resamples: int, seed: int
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Return the figures `(R,)` of both on the same choices of the images."""
    count = len(a.images)
    random = np.random.default_rng(seed)
    parts_a: list[dict[str, FloatArray]] = []
    parts_b: list[dict[str, FloatArray]] = []
    at_once = max(1, _WEIGHTS_AT_ONCE // count)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        chosen = random.integers(0, count, (rows, count))
        weights = np.stack([np.bincount(row, minlength=count) for row in chosen])
        parts_a.append(a.measure(weights))
        parts_b.append(b.measure(weights))
    return _joined(parts_a), _joined(parts_b)


def _joined(parts: list[dict[str, FloatArray]]) -> dict[str, FloatArray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
