"""Made-up truths and predictions of them, of any size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from loopline.evaluation.boxes import Boxes

Random = np.random.Generator


def probabilities(
    random: Random, count: int, classes: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return softmaxes `(N, K)` that are often right, and targets `(N,)`."""
    targets = random.integers(0, classes, count)
    logits = random.normal(0, 1.2, (count, classes))
    logits[np.arange(count), targets] += 1.5
    exponents = np.exp(logits)
    return exponents / exponents.sum(axis=1, keepdims=True), targets


def boxes(
    random: Random, images: int, classes: int, objects: int = 12, invented: int = 15
) -> tuple[list[Boxes], list[Boxes]]:
    """Return predictions and truth of each image, of all sizes, with ties among the scores."""
    predicted, truth = [], []
    for _ in range(images):
        true = _true_boxes(random, int(random.integers(0, objects + 1)), classes)
        truth.append(true)
        predicted.append(_predictions_of(random, true, classes, int(random.integers(0, invented))))
    return predicted, truth


def _true_boxes(random: Random, count: int, classes: int) -> Boxes:
    sides = np.exp(random.uniform(np.log(8), np.log(200), (count, 2)))
    corner = random.uniform(0, 400, (count, 2))
    labels = random.integers(0, classes, count)
    return Boxes(np.concatenate([corner, corner + sides], axis=1), labels)


def _predictions_of(random: Random, true: Boxes, classes: int, invented: int) -> Boxes:
    kept = random.random(len(true)) < 0.85
    sides = np.tile(true.xyxy[kept, 2:] - true.xyxy[kept, :2], (1, 2))
    moved = true.xyxy[kept] + random.uniform(-0.12, 0.12, sides.shape) * sides
    named = np.where(
        random.random(kept.sum()) < 0.9,
        true.labels[kept],
        random.integers(0, classes, kept.sum()),
    )
    corner = random.uniform(0, 400, (invented, 2))
    new = np.concatenate([corner, corner + random.uniform(8, 120, (invented, 2))], axis=1)
    scores = np.concatenate([random.beta(5, 2, len(moved)), random.beta(2, 5, invented)])
    labels = np.concatenate([named, random.integers(0, classes, invented)])
    return Boxes(np.concatenate([moved, new]), labels, np.round(scores, 2))


def label_maps(
    random: Random, images: int, classes: int, side_px: int = 40
) -> list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
    """Return predicted and true label maps of each image: discs, somewhat moved."""
    made = []
    for _ in range(images):
        truth = np.zeros((side_px, side_px + 8), np.uint8)
        predicted = truth.copy()
        for _ in range(4):
            centre, radius = random.uniform(0, side_px, 2), random.uniform(3, 10)
            label = int(random.integers(1, classes + 1))
            truth[_disc(truth.shape, centre, radius)] = label
            said = label if random.random() < 0.9 else int(random.integers(1, classes + 1))
            predicted[_disc(truth.shape, centre + random.normal(0, 1, 2), radius)] = said
        made.append((predicted, truth))
    return made


def _disc(
    shape: tuple[int, ...], centre: npt.NDArray[np.float64], radius: float
) -> npt.NDArray[np.bool_]:
    rows, columns = np.indices(shape)
    return np.asarray((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2)
