"""Predicting many stored images: read, decoded and inferred at once, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Final

import numpy as np

from loopline.errors import Rejected
from loopline.store.objects import Area, ObjectStore
from services.inference.adapters.preprocessing import prepare
from services.inference.adapters.servable import Servable
from services.inference.domain.application import Scored
from services.inference.domain.tensors import FloatBatch, UInt8Batch

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
    ) -> asyncio.Future[list[UInt8Batch | Rejected]]:
        window = windows[index] if index < len(windows) else ()
        return asyncio.gather(*(self._image(servable, asset) for asset in window))

    async def _image(self, servable: Servable, asset: str) -> UInt8Batch | Rejected:
        """Return one image as the network takes it, or why there is none."""
        try:
            file = await self._objects.get(Area.ASSETS, asset)
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, prepare, file, servable.model, self._max_pixels
            )
        except Rejected as error:
            return error

    async def _infer(
        self, servable: Servable, assets: Sequence[str], images: Sequence[UInt8Batch | Rejected]
    ) -> list[Scored]:
        good = [image for image in images if not isinstance(image, Rejected)]
        rows = iter(await asyncio.to_thread(run_in_equal_batches, servable, good))
        return [
            Scored(asset, reason=image.message)
            if isinstance(image, Rejected)
            else Scored(asset, tuple(next(rows).tolist()))
            for asset, image in zip(assets, images, strict=True)
        ]


def run_in_equal_batches(servable: Servable, images: Sequence[UInt8Batch]) -> FloatBatch:
    """Return the probabilities of each image, every execution being of the same shape.

    Predictions are told by their digest, so an image's scores must not depend on which others
    happened to be left to infer. The processor's kernels give the same bits for any batch; those of
    a GPU are chosen by shape, so the last batch is filled up with black images.

    Args:
        servable: What runs.
        images: `(H, W, C)` uint8 each.

    Returns:
        `(N, classes)` float32.
    """
    size = servable.max_batch
    rows = [np.empty((0, len(servable.model.classes)), np.float32)]
    for start in range(0, len(images), size):
        some = images[start : start + size]
        batch = np.zeros((size, *servable.model.image_shape), np.uint8)
        batch[: len(some)] = some
        rows.append(servable.engine.run(batch)[: len(some)])
    return np.concatenate(rows)
