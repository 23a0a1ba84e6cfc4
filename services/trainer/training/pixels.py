"""Training images, decoded once and kept at the network's size as long as there is room."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from loopline.errors import Rejected
from loopline.vision.geometry import Placement
from loopline.vision.images import UInt8Image, decode
from services.trainer.domain.job import Placed
from services.trainer.domain.manifest import InputFormat
from services.trainer.domain.supply import LOOKED_AT
from services.trainer.recipes.interface import Survey

LOOK_EVERY_S: Final = 0.002  # for an image that is on its way
ARRIVAL_TIMEOUT_S: Final = 600.0  # the service ends this process long before, if it cannot fetch


class Room:
    """What is left of the memory for decoded images."""

    def __init__(self, memory_bytes: int) -> None:
        self._left_bytes = memory_bytes

    def take(self, size_bytes: int) -> bool:
        """Tell whether there is room for so many bytes more, and if so, take it."""
        if size_bytes > self._left_bytes:
            return False
        self._left_bytes -= size_bytes
        return True


class Pixels:
    """Images by their place.

    Args:
        paths: Files with the encoded images.
        input_format: What they are brought to.
        room: Without any left, images are decoded again each time.
    """

    def __init__(self, paths: Sequence[Path], input_format: InputFormat, room: Room) -> None:
        self._paths = paths
        self._format = input_format
        self._room = room
        self._kept: dict[int, UInt8Image] = {}

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> UInt8Image:
        """Return image `index`, `(height_px, width_px, channels)` uint8."""
        image = self._kept.get(index)
        if image is None:
            image = self._read(index)
            if self._room.take(image.nbytes):
                self._kept[index] = image
        return image

    def _read(self, index: int) -> UInt8Image:
        wanted = self._format
        image = read(self._paths[index], wanted.channels)
        height, width = image.shape[:2]
        placement = Placement(height, width, wanted.height_px, wanted.width_px, wanted.fit)
        return placement.image_to_input(image, wanted.interpolation)


def read(path: Path, channels: int) -> UInt8Image:
    """Decode a file whose name is its asset; Rejected names it if it is no image."""
    arrived([path])
    try:
        return decode(path.read_bytes(), channels)
    except Rejected as error:
        raise Rejected(f"image {path.name[:12]}: {error.message}", asset=path.name) from error


def arrived(paths: Iterable[Path]) -> None:
    """Wait for files that are fetched beside the training; Rejected if one never comes."""
    for path in paths:
        deadline_s = time.monotonic() + ARRIVAL_TIMEOUT_S
        while not path.exists():
            if time.monotonic() > deadline_s:
                raise Rejected(f"image {path.name[:12]} did not arrive", asset=path.name)
            time.sleep(LOOK_EVERY_S)


def survey(placed: Sequence[Placed], classes: Sequence[str] = ()) -> Survey:
    """Return the median size of the training images, their classes, and whether they are grey."""
    examples = [one.example for one in placed]
    sample = placed[:: max(1, len(placed) // LOOKED_AT)]
    return Survey(
        height_px=int(statistics.median(example.height_px for example in examples)),
        width_px=int(statistics.median(example.width_px for example in examples)),
        grey=all(_is_grey(read(one.path, 3)) for one in sample),
        class_counts=tuple(sum(name in e.class_names for e in examples) for name in classes),
    )


def _is_grey(image: UInt8Image) -> bool:
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    return bool((red == green).all() and (green == blue).all())
