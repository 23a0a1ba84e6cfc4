"""From what a model's graph gives to shapes on the image, in the image's own pixels.

Serving, applying and evaluation all read a model's outputs through `shapes_of`, so that none of
them sees something else. What each graph gives is in the README of the trainer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from loopline.errors import Rejected
from loopline.store.items import Shape
from loopline.vision import masks
from loopline.vision.geometry import Placement

CLASSIFICATION: Final = "classification"
DETECTION: Final = "detection"
SEGMENTATION: Final = "segmentation"

OUTPUTS: Final[Mapping[str, tuple[str, ...]]] = {
    CLASSIFICATION: ("probabilities",),
    DETECTION: ("boxes", "scores", "labels"),
    SEGMENTATION: ("mask", "confidence"),
}
"""The outputs of a task's graph, in order."""

SCORE_MIN: Final = 0.05
PARTS_MAX: Final = 1000  # connected parts of one image; the largest are kept
PART_AREA_MIN_PX: Final = 4.0  # of the image; smaller parts are noise of the raster

Outputs = Mapping[str, npt.NDArray[Any]]


def shapes_of(
    task: str,
    outputs: Outputs,
    index: int,
    classes: Sequence[str],
    placement: Placement,
    *,
    score_min: float = SCORE_MIN,
) -> tuple[Shape, ...]:
    """Return what a model says of one image of a batch, the surest first.

    Shapes have ids "0", "1", ...: whoever keeps them makes them unique, and adds the source.

    Args:
        task: One of `OUTPUTS`.
        outputs: The graph's outputs by name, each with the batch first.
        index: Which image of the batch.
        classes: Class names in the model's order.
        placement: Where the image lies in the network's input.
        score_min: Boxes and parts that are less sure are left out; a whole image's class never is.

    Returns:
        Classification: one shape without geometry. Detection: a box each, cut to the image.
        Segmentation: a mask for each connected part of a class, its confidence the mean over it.

    Raises:
        Rejected: The task is not known.
    """
    if task == CLASSIFICATION:
        found = _likeliest(outputs["probabilities"][index], classes)
    elif task == DETECTION:
        rows = [outputs[name][index] for name in OUTPUTS[DETECTION]]
        found = _boxes(rows[0], rows[1], rows[2], classes, placement, score_min)
    elif task == SEGMENTATION:
        mask, confidence = (outputs[name][index] for name in OUTPUTS[SEGMENTATION])
        found = _parts(mask, confidence, classes, placement, score_min)
    else:
        raise Rejected(f"task {task!r} is not known; there are {', '.join(OUTPUTS)}")
    return tuple(found)


def _likeliest(probabilities: npt.NDArray[Any], classes: Sequence[str]) -> list[Shape]:
    top = int(probabilities.argmax())
    return [Shape("0", classes[top], confidence=float(probabilities[top]))]


def _boxes(
    boxes: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    classes: Sequence[str],
    placement: Placement,
    score_min: float,
) -> list[Shape]:
    kept = np.flatnonzero((scores >= score_min) & (scores > 0))
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    found: list[Shape] = []
    for row, corners in zip(kept, placement.boxes_to_image(boxes[kept]), strict=True):
        x_min, y_min, x_max, y_max = (float(value) for value in corners)
        if x_min < x_max and y_min < y_max:
            found.append(
                Shape(
                    str(len(found)),
                    classes[int(labels[row])],
                    bbox_xyxy=(x_min, y_min, x_max, y_max),
                    confidence=float(scores[row]),
                )
            )
    return found


def _parts(
    mask: npt.NDArray[Any],
    confidence: npt.NDArray[Any],
    classes: Sequence[str],
    placement: Placement,
    score_min: float,
) -> list[Shape]:
    in_image = placement.mask_to_image(np.asarray(mask, np.uint8))
    sure = placement.mask_to_image(np.asarray(confidence, np.float32))
    found: list[tuple[float, str, str]] = []
    for value in np.unique(in_image):
        if value:
            name = classes[int(value) - 1]
            found += [
                (score, name, rle)
                for score, rle in _connected(in_image == value, sure)
                if score >= score_min
            ]
    found.sort(key=lambda part: -part[0])
    return [
        Shape(str(at), name, mask_rle=rle, confidence=score)
        for at, (score, name, rle) in enumerate(found)
    ]


def _connected(
    mask: npt.NDArray[np.bool_], confidence: npt.NDArray[np.float32]
) -> list[tuple[float, str]]:
    """Return mean confidence and RLE of each connected part that is large enough."""
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    areas = statistics[1:count, cv2.CC_STAT_AREA]
    largest = np.argsort(-areas, kind="stable")[:PARTS_MAX] + 1
    found = []
    for part in largest:
        if statistics[part, cv2.CC_STAT_AREA] < PART_AREA_MIN_PX:
            break
        x, y, width, height = (int(value) for value in statistics[part, :4])
        window = parts[y : y + height, x : x + width] == part
        mean = float(confidence[y : y + height, x : x + width][window].mean(dtype=np.float64))
        found.append((min(mean, 1.0), encode_window(window, x, y, *mask.shape)))
    return found


def encode_window(
    window: npt.NDArray[np.bool_], x_px: int, y_px: int, height_px: int, width_px: int
) -> str:
    """Return the RLE of a mask that is set within a window alone, at the window's cost.

    Args:
        window: `(h, w)`.
        x_px: Column of the image where it begins.
        y_px: Row where it begins.
        height_px: Of the image.
        width_px: Of the image.
    """
    height, width = window.shape
    # A row of zeros below keeps the runs of two columns apart; they are joined where they touch.
    padded = np.zeros((height + 1, width), np.int8)
    padded[:height] = window
    steps = np.diff(padded.ravel(order="F"), prepend=np.int8(0))
    places = np.concatenate([np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)])
    columns, rows = np.divmod(places, height + 1)
    in_image = np.sort((columns + x_px) * height_px + rows + y_px)
    edges, counts = np.unique(in_image, return_counts=True)
    edges = edges[counts == 1]  # where one run ends and the next begins there is no edge
    ends = np.concatenate(([0], edges, [height_px * width_px]))
    runs = np.diff(ends)
    return masks.rle_of_runs(runs if runs[-1] else runs[:-1])
