"""The figures of a training as curves of its report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loopline.evaluation.report import Curve


def training_curves(history: Iterable[Mapping[str, float]]) -> tuple[Curve, ...]:
    """Return a curve for each figure of a training, by epoch.

    Args:
        history: Of each epoch: its number as "epoch", and figures.
    """
    epochs = list(history)
    names = dict.fromkeys(name for one in epochs for name in one if name != "epoch")
    found = []
    for name in names:
        points = [(i + 1, one) for i, one in enumerate(epochs) if name in one]
        x = tuple(float(one.get("epoch", at)) for at, one in points)
        y = tuple(float(one[name]) for _, one in points)
        found.append(Curve(kind="training", name=name, x=x, y=y))
    return tuple(found)
