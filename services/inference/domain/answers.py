"""From what a graph gives to what clients and datasets are told, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from loopline.errors import Rejected
from loopline.store.items import Prediction
from loopline.vision.geometry import Placement
from loopline.vision.outputs import shapes_of
from services.inference.domain.classification import likeliest, prediction
from services.inference.domain.model import (
    BOXES,
    CLASS,
    CLASSIFICATION,
    CONFIDENCE,
    DETECTION,
    PROBABILITIES,
    ModelVersion,
    Signature,
    TensorSpec,
)
from services.inference.domain.tensors import BYTES, FP32, Array, Arrays, FloatBatch

_OF_CLASSES: Final = (TensorSpec(CLASS, BYTES, (-1,)), TensorSpec(CONFIDENCE, FP32, (-1,)))
Placements = Sequence[Placement]


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """One output of an answer.

    Args:
        name: Its name.
        datatype: The protocol's spelling.
        values: Its elements; of `bytes` objects where the datatype is BYTES.
    """

    name: str
    datatype: str
    values: Array


def outputs_of(model: ModelVersion, signature: Signature) -> tuple[TensorSpec, ...]:
    """Return what a client may ask of a model: the graph's outputs, and what is derived of them."""
    if model.task == CLASSIFICATION:
        probabilities = tuple(spec for spec in signature.outputs if spec.name == PROBABILITIES)
        return (*probabilities, *_OF_CLASSES)
    return signature.outputs


def answer(
    model: ModelVersion,
    outputs: Arrays,
    wanted: Sequence[TensorSpec],
    placements: Placements | None = None,
) -> list[OutputTensor]:
    """Return the outputs that were asked for.

    Args:
        model: Who answers.
        outputs: What its graph gave.
        wanted: Of `outputs_of`, in the order to give them.
        placements: How each image sat in the network's input, where images came encoded: boxes are
            then told in the image's own pixels, else in the input's.
    """
    values = dict(outputs)
    if model.task == CLASSIFICATION and any(spec.name in (CLASS, CONFIDENCE) for spec in wanted):
        top = likeliest(outputs[PROBABILITIES], model.classes)
        names = np.empty(len(top.class_names), object)
        names[:] = [name.encode() for name in top.class_names]
        values |= {CLASS: names, CONFIDENCE: top.confidences}
    if model.task == DETECTION and placements is not None:
        values[BOXES] = boxes_in_images(outputs[BOXES], placements)
    return [OutputTensor(spec.name, spec.datatype, values[spec.name]) for spec in wanted]


def classified(output: OutputTensor, count: int, classes: Sequence[str]) -> OutputTensor:
    """Return an output as its `count` largest values: "value:index:class" (Triton's extension).

    Raises:
        Rejected: It is not a row of numbers per image.
    """
    values = output.values
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise Rejected(f"output {output.name!r} of shape {list(values.shape)} has no classes")
    count = min(count, values.shape[1])
    order = np.argsort(-values.astype(np.float64), axis=1, kind="stable")[:, :count]
    text = np.empty((len(values), count), object)
    for row, indexes in enumerate(order):
        for column, index in enumerate(indexes):
            name = f":{classes[index]}" if values.shape[1] == len(classes) else ""
            text[row, column] = f"{values[row, index]:.6f}:{index}{name}".encode()
    return OutputTensor(output.name, BYTES, text)


def boxes_in_images(boxes: FloatBatch, placements: Placements) -> FloatBatch:
    """Return boxes `(N, K, 4)` of the network's input in the pixels of the images, cut to them."""
    found = [place.boxes_to_image(rows) for place, rows in zip(placements, boxes, strict=True)]
    return np.stack(found).astype(np.float32) if found else boxes


def predictions(
    assets: Sequence[str], model: ModelVersion, outputs: Arrays, placements: Placements
) -> list[Prediction]:
    """Return what a dataset's predictions keep of some images.

    Ids depend on the model alone: they must be unique within the item, and equal whoever infers it
    again.

    Args:
        assets: The images' digests.
        model: Who says so.
        outputs: What its graph gave, a row per image.
        placements: How each image sat in the network's input.
    """
    if model.task == CLASSIFICATION:
        rows = outputs[PROBABILITIES].tolist()
        return [
            prediction(asset, row, model.classes, model.digest)
            for asset, row in zip(assets, rows, strict=True)
        ]
    return [
        _shapes(asset, model, outputs, index, placements[index])
        for index, asset in enumerate(assets)
    ]


def _shapes(
    asset: str, model: ModelVersion, outputs: Arrays, index: int, placement: Placement
) -> Prediction:
    found = shapes_of(model.task, outputs, index, model.classes, placement)
    shapes = tuple(
        replace(shape, id=f"{model.digest[:16]}-{number}", source=f"model:{model.digest}")
        for number, shape in enumerate(found)
    )
    return Prediction(asset=asset, shapes=shapes, scores=())
