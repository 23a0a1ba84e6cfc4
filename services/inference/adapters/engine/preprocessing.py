"""From encoded images to the network's input: off the event loop, in parallel with the engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np

from loopline.errors import LooplineError, Rejected
from loopline.vision.geometry import Placement
from loopline.vision.headers import read_header
from loopline.vision.images import decode
from services.inference.domain.admission import Exhausted
from services.inference.domain.model import ModelVersion
from services.inference.domain.tensors import UInt8Batch


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch that was decoded.

    Args:
        pixels: `(M, H, W, C)` uint8: a row for each image without an error, in order.
        placements: How each of these sits in the input.
        errors: What is wrong with the others, by index in the request.
        elapsed_ns: From the first image taken up to the last one ready.
    """

    pixels: UInt8Batch
    placements: list[Placement] = field(default_factory=list)
    errors: dict[int, LooplineError] = field(default_factory=dict)
    elapsed_ns: int = 0


def prepare(file: bytes, model: ModelVersion, max_pixels: int) -> tuple[UInt8Batch, Placement]:
    """Return one image as the network takes it, `(H, W, C)` uint8, and how it sits in there.

    Raises:
        Rejected: It is no image, ends early, or has more than `max_pixels` pixels.
    """
    header = read_header(file)
    if header.pixels > max_pixels:
        raise Rejected(
            f"the image is {header.width_px} x {header.height_px} pixels: "
            f"at most {max_pixels} are decoded"
        )
    pixels = decode(file, model.channels)
    height, width = pixels.shape[:2]
    placement = Placement(height, width, model.height_px, model.width_px, model.fit)
    return placement.image_to_input(pixels, model.interpolation), placement


class Preparation:
    """Decodes the images of one request, each as its own task of a pool.

    Args:
        files: The encoded images.
        model: Whose input they become.
        max_pixels: Pixels of one image.
        done: Called once, from the pool, with what came out.
        cancelled: Tells whether nobody waits any more: what is not decoded yet then is left.
    """

    def __init__(
        self,
        files: Sequence[bytes],
        model: ModelVersion,
        max_pixels: int,
        done: Callable[[Prepared], None],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._files = files
        self._model = model
        self._max_pixels = max_pixels
        self._done = done
        self._cancelled = cancelled
        self._pixels = np.empty((len(files), *model.image_shape), np.uint8)
        self._placements: dict[int, Placement] = {}
        self._errors: dict[int, LooplineError] = {}
        self._left = len(files)
        self._lock = threading.Lock()
        self._started_ns = time.perf_counter_ns()

    def start(self, pool: Executor) -> None:
        """Queue every image."""
        for index in range(len(self._files)):
            pool.submit(self._prepare, index)

    def _prepare(self, index: int) -> None:
        try:
            if self._cancelled():
                raise Rejected("nobody waits for it")
            self._pixels[index], self._placements[index] = prepare(
                self._files[index], self._model, self._max_pixels
            )
        except LooplineError as error:
            self._errors[index] = error
        except MemoryError:
            self._errors[index] = Exhausted("not enough memory to decode it now")
        except Exception as error:  # a decoder's bug must not leave the request waiting
            self._errors[index] = Rejected(f"the image cannot be decoded: {error}")
        with self._lock:
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            self._done(self._prepared())

    def _prepared(self) -> Prepared:
        pixels = self._pixels
        if self._errors:
            pixels = pixels[[index not in self._errors for index in range(len(pixels))]]
        placements = [place for _, place in sorted(self._placements.items())]
        errors = dict(sorted(self._errors.items()))
        return Prepared(pixels, placements, errors, time.perf_counter_ns() - self._started_ns)
