"""How the learning rate goes, and when to stop: functions of parameters and figures alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from services.trainer.recipes.parameters import RecipeParameters

FIRST: Final = 0.1  # of the peak, where warming up begins
LAST: Final = 1e-3  # of the peak, where a decay ends
STEPS_AT: Final = (0.6, 0.85)  # of the training: where "step" divides by ten


def rate(parameters: RecipeParameters, step: int, steps: int) -> float:
    """Return the learning rate of a step as a share of its peak, in (0, 1].

    Args:
        parameters: `schedule` and `warm_up` count.
        step: From 0.
        steps: Of the whole training.

    Example:
        >>> [round(rate(RecipeParameters(warm_up=0.5), step, 5), 2) for step in range(5)]
        [0.1, 0.55, 1.0, 0.5, 0.0]
    """
    last = max(steps - 1, 1)
    warm = parameters.warm_up * last
    if step < warm:
        return FIRST + (1 - FIRST) * _eased(parameters, step / warm)
    done = min((step - warm) / max(last - warm, 1e-9), 1.0)
    if parameters.schedule == "constant":
        return 1.0
    if parameters.schedule == "step":
        return 0.1 ** sum(step / last >= at for at in STEPS_AT)
    return LAST + (1 - LAST) * (1 + math.cos(math.pi * done)) / 2


def should_stop(values: Sequence[float], patience: int) -> bool:
    """Tell whether the best of the values, one for each epoch, is `patience` epochs ago.

    Args:
        values: Higher is better; the first of equals counts as the best.
        patience: 0 never stops.
    """
    if not patience or len(values) <= patience:
        return False
    best = max(range(len(values)), key=lambda epoch: (values[epoch], -epoch))
    return len(values) - 1 - best >= patience


def improvement(figures: Mapping[str, float], headline: str) -> float:
    """Return what an epoch is judged by: the headline's figure, else the loss turned around."""
    return figures[headline] if headline in figures else -figures["loss"]


def _eased(parameters: RecipeParameters, done: float) -> float:
    """One cycle eases in as it eases out (Smith and Topin, 2018); the others rise in a line."""
    return (1 - math.cos(math.pi * done)) / 2 if parameters.schedule == "one_cycle" else done
