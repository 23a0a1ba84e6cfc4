"""What a recipe says of a network's outputs while it trains.

What is measured of a finished model is `loopline.evaluation`'s, through the file that is served.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.evaluation.classification import evaluate_classification


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found on one split.

    Attributes:
        metrics: Figures by name: "accuracy", "macro_f1", "f1:<class>", ...
    """

    metrics: dict[str, float]


def judge_classification(
    probabilities: npt.NDArray[np.floating[Any]],
    targets: npt.NDArray[np.int64],
    classes: Sequence[str],
    assets: Sequence[str] = (),
) -> Judgement:
    """Judge predicted probabilities `(N, K)` against the true class indices `(N,)`."""
    report = evaluate_classification(probabilities, targets, classes).report
    return Judgement(dict(report.metrics))
