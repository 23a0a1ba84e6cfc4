"""Predicting many stored images: read, decoded and inferred at once, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Final

import numpy as np

from loopline.errors import Rejected
from loopline.store.items import Prediction
from loopline.store.objects import Area, ObjectStore
from loopline.vision.geometry import Placement
from services.inference.adapters.engine.preprocessing import prepare
from services.inference.adapters.models.servable import Servable
from services.inference.domain.answers import predictions
from services.inference.domain.application import Scored
from services.inference.domain.model import INPUT
from services.inference.domain.tensors import UInt8Batch

_Image = tuple[UInt8Batch, Placement]
WINDOW_IMAGES: Final = 32  # held encoded at once, and as many being read ahead


class BulkPredictor:
    """Predicts assets.

    Args:
        objects: Where they are.
        pool: Decodes.
        max_pixels: Pixels of one image.
    """

    def __init__(self, objects: ObjectStore, pool: Executor, max_pixels: int) -> None:
        self._objects = objects
        self._pool = pool
        self._max_pixels = max_pixels

    async def predict(self, servable: Servable, assets: Sequence[str]) -> list[Scored]:
        """Return what the model says of each asset, in order.

        One that is missing, corrupt or no image gets a reason instead; the others go on.

        Raises:
            Transient: An asset cannot be read now.
        """
        windows = [
            assets[start : start + WINDOW_IMAGES] for start in range(0, len(assets), WINDOW_IMAGES)
        ]
        scored: list[Scored] = []
        reading = self._read_ahead(servable, windows, 0)
        try:
            for index, window in enumerate(windows):
                images = await reading
                reading = self._read_ahead(servable, windows, index + 1)
                scored += await self._infer(servable, window, images)
        finally:
            reading.cancel()
        return scored

    def _read_ahead(
        self, servable: Servable, windows: Sequence[Sequence[str]], index: int
    ) -> asyncio.Future[list[_Image | Rejected]]:
        window = windows[index] if index < len(windows) else ()
        return asyncio.gather(*(self._image(servable, asset) for asset in window))

    async def _image(self, servable: Servable, asset: str) -> _Image | Rejected:
        """Return one image as the network takes it, or why there is none."""
        try:
            file = await self._objects.get(Area.ASSETS, asset)
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, prepare, file, servable.model, self._max_pixels
            )
        except Rejected as error:
            return error

    async def _infer(
        self, servable: Servable, assets: Sequence[str], images: Sequence[_Image | Rejected]
    ) -> list[Scored]:
        good = [
            (asset, *image)
            for asset, image in zip(assets, images, strict=True)
            if not isinstance(image, Rejected)
        ]
        found = iter(await asyncio.to_thread(predict_in_equal_batches, servable, good))
        return [
            Scored(asset, reason=image.message)
            if isinstance(image, Rejected)
            else _scored(next(found))
            for asset, image in zip(assets, images, strict=True)
        ]


def predict_in_equal_batches(
    servable: Servable, images: Sequence[tuple[str, UInt8Batch, Placement]]
) -> list[Prediction]:
    """Return what is predicted of each image, every execution being of the same shape.

    Predictions are told by their digest, so what is said of an image must not depend on which
    others happened to be left to infer. The processor's kernels give the same bits for any batch;
    those of a GPU are chosen by shape, so the last batch is filled up with black images.

    Args:
        servable: What runs.
        images: Digest, `(H, W, C)` uint8 and placement of each.
    """
    size = servable.max_batch
    found: list[Prediction] = []
    for start in range(0, len(images), size):
        some = images[start : start + size]
        assets, pixels, placements = zip(*some, strict=True)
        batch = np.zeros((size, *servable.model.image_shape), np.uint8)
        batch[: len(some)] = pixels
        outputs = servable.engine.run({INPUT: batch})
        rows = {name: values[: len(some)] for name, values in outputs.items()}
        found += predictions(assets, servable.model, rows, placements)
    return found


def _scored(found: Prediction) -> Scored:
    """Return what a chunk keeps: a classifier's shape follows from its scores."""
    return Scored(found.asset, found.scores, () if found.scores else found.shapes)
