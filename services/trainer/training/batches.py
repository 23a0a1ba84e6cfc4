"""Which images a step sees, in which order, one batch ahead of the loop.

The order of an epoch is a pure function of (seed, epoch), and what happens to an image one of
(seed, epoch, its place): any step can be made again from its number alone, which is what resuming
does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from loopline.errors import Rejected
from loopline.vision.images import UInt8Image
from loopline.vision.randomness import permutation
from services.trainer.recipes.balance import image_weights, weighted_order
from services.trainer.recipes.interface import Batch, Draw, Recipe
from services.trainer.training.pixels import Pixels

AHEAD = 3
"""Batches made before they are asked for."""


PLAIN_BATCH = 128
"""Images of a batch that nothing is learned from."""


@dataclass(frozen=True, slots=True)
class Split:
    """The usable images of one split."""

    pixels: Pixels
    targets: tuple[Any, ...]
    assets: tuple[str, ...]
    classes: tuple[tuple[int, ...], ...] = ()
    """The classes seen on each."""

    def __len__(self) -> int:
        return len(self.assets)

    def lacks(self, classes: Sequence[str]) -> list[str]:
        """Return the classes of which nothing is learned here."""
        seen = {index for some in self.classes for index in some}
        return [name for index, name in enumerate(classes) if index not in seen]

    def batches(self, recipe: Recipe[Any]) -> Iterator[Batch]:
        """Yield every image once, in order, with nothing random."""
        for start in range(0, len(self), PLAIN_BATCH):
            places = range(start, min(start + PLAIN_BATCH, len(self)))
            images = [self.pixels[place] for place in places]
            yield recipe.transform(images, [self.targets[place] for place in places], None)


class TrainingBatches:
    """The batches of a whole training, by step.

    The last images of an epoch that fill no batch are left out of that epoch (another few in each),
    unless there is less than one batch of them in all.
    """

    def __init__(self, recipe: Recipe[Any], split: Split, rank: int = 0, count: int = 1) -> None:
        self._recipe = recipe
        self._split = split
        self._seed = recipe.parameters.seed
        self.batch_size = min(recipe.parameters.batch_size, len(split))
        if self.batch_size % count:
            raise Rejected(
                f"a batch of {self.batch_size} images cannot be shared evenly by {count} processes"
            )
        self._part = slice(rank, None, count)
        self.steps_per_epoch = len(split) // self.batch_size
        self._weights = self._image_weights()
        self._order: tuple[int, npt.NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def batch(self, step: int) -> Batch:
        """Return the batch of step `step`, counted from 0 over all epochs."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, self._epoch_order(epoch))
        start = place * self.batch_size
        indices = self._order[1][start : start + self.batch_size][self._part]
        images: list[UInt8Image] = [self._split.pixels[int(index)] for index in indices]
        targets = [self._split.targets[index] for index in indices]
        draw = Draw(epoch, indices, self._other, len(self._split))
        return self._recipe.transform(images, targets, draw)

    def _other(self, place: int) -> tuple[UInt8Image, Any]:
        return self._split.pixels[place], self._split.targets[place]

    def _epoch_order(self, epoch: int) -> npt.NDArray[np.int64]:
        if self._weights is None:
            return permutation(self._seed, epoch, len(self._split))
        return weighted_order(self._seed, epoch, self._weights)

    def _image_weights(self) -> npt.NDArray[np.float64] | None:
        if self._recipe.parameters.balance != "sampling":
            return None
        return image_weights(self._split.classes, self._recipe.survey.class_counts)

    def from_step(self, first: int, stop: int) -> BatchesAhead:
        """Return the batches of steps `first` to `stop` - 1, made in a thread a little ahead."""
        return BatchesAhead(self.batch, first, stop)


class BatchesAhead:
    """Batches made in a thread, `AHEAD` of them before they are asked for.

    Making one and a step's forward pass and update take Python's lock from each other; a backward
    pass needs none of it. Who calls `refill` just before that has batches for next to nothing.

    Args:
        make: Returns the batch of a step.
        first: The first step.
        stop: The step after the last.
    """

    def __init__(self, make: Callable[[int], Batch], first: int, stop: int) -> None:
        self._make = make
        self._next, self._stop = first, stop
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: deque[Future[Batch]] = deque()

    def __enter__(self) -> Self:
        self.refill()
        return self

    def __exit__(self, *_: object) -> None:
        for future in self._ahead:
            future.cancel()
        self._thread.shutdown(wait=True)

    def refill(self) -> None:
        """Have as many made as there may be."""
        while self._next < self._stop and len(self._ahead) < AHEAD:
            self._ahead.append(self._thread.submit(self._make, self._next))
            self._next += 1

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches in order; wait where one is not made yet."""
        while self._ahead or self._next < self._stop:
            if not self._ahead:
                self.refill()
            yield self._ahead.popleft().result()
