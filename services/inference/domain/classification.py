"""From a classifier's probabilities to what clients and datasets are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loopline.store.items import Prediction, Shape
from services.inference.domain.tensors import FloatBatch


@dataclass(frozen=True, slots=True)
class Classified:
    """The likeliest class of each image of a batch: `(N,)` each."""

    class_names: tuple[str, ...]
    confidences: FloatBatch


def likeliest(probabilities: FloatBatch, classes: Sequence[str]) -> Classified:
    """Return the class with the highest probability of each row; the first of equals.

    Args:
        probabilities: `(N, classes)` float32.
        classes: Class names in the order of the columns.
    """
    top = probabilities.argmax(axis=1)
    confidences = probabilities[np.arange(len(top)), top]
    return Classified(tuple(classes[index] for index in top), confidences)


def prediction(
    asset: str, scores: Sequence[float], classes: Sequence[str], model_digest: str
) -> Prediction:
    """Return what a dataset's predictions keep of one image.

    The shape's id depends on the model alone: it must be unique within the item, and equal whoever
    infers it again.

    Args:
        asset: The image's digest.
        scores: A probability per class.
        classes: Class names in the same order.
        model_digest: Whose they are.
    """
    top = max(range(len(scores)), key=scores.__getitem__)
    shape = Shape(
        id=f"{model_digest[:16]}-0",
        class_name=classes[top],
        confidence=scores[top],
        source=f"model:{model_digest}",
    )
    return Prediction(asset=asset, shapes=(shape,), scores=tuple(scores))
