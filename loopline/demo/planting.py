"""Bad files, made from real images: what an import has to find and drop.

Decides how each kind is made and how many there are. Which images they are made from, and under
which keys they lie, is decided in `images`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from loopline.errors import Rejected
from loopline.vision.images import decode

BRIGHTER_GAIN: Final = 1.1
BRIGHTER_OFFSET: Final = 8.0  # grey levels of 255
SHIFT_PX: Final = 1
THUMBNAIL_SIDE_PX: Final = 8
TRUNCATED_TO: Final = 0.6  # of the bytes

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of bad file.

    Args:
        name: What was done to it; part of its key.
        reason: The reason for which an import must drop it.
        count: How many are planted, where there are images enough.
        fresh: Made from an image that is nowhere else in the bucket; else from one that is.
        make: The bad file's bytes, from a good file's name and bytes.
    """

    name: str
    reason: str
    count: int
    fresh: bool
    make: Callable[[str, bytes], bytes]


@dataclass(frozen=True, slots=True)
class Source:
    """A real image to make a bad file from."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Planted:
    """A bad file."""

    name: str
    reason: str
    data: bytes


def brighter(name: str, data: bytes) -> bytes:
    """The image a little brighter, with a little more contrast."""
    pixels = _decoded(data).astype(np.float32) * BRIGHTER_GAIN + BRIGHTER_OFFSET
    return _encoded(name, np.clip(pixels, 0, 255).astype(np.uint8))


def shifted(name: str, data: bytes) -> bytes:
    """The image one pixel further right; the left edge is repeated, the right one lost."""
    pixels = _decoded(data)
    moved = np.concatenate([pixels[:, :SHIFT_PX], pixels[:, :-SHIFT_PX]], axis=1)
    return _encoded(name, np.ascontiguousarray(moved))


def thumbnail(name: str, data: bytes) -> bytes:
    """The image at 8x8 pixels."""
    side = (THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX)
    small = cv2.resize(_decoded(data), side, interpolation=cv2.INTER_AREA)
    return _encoded(name, np.asarray(small, np.uint8))


KINDS: Final = (
    Kind("copy", "exact_duplicate", 120, False, lambda name, data: data),
    Kind("brighter", "near_duplicate", 60, False, brighter),
    Kind("shifted", "near_duplicate", 60, False, shifted),
    Kind("thumbnail", "too_small", 60, True, thumbnail),
    Kind(
        "truncated", "corrupt", 50, True, lambda name, data: data[: int(len(data) * TRUNCATED_TO)]
    ),
    Kind("empty", "empty", 10, True, lambda name, data: b""),
    Kind("text", "not_an_image", 5, True, lambda name, data: f"No picture of {name}.\n".encode()),
)
"""Every kind, with its count: 365 files."""


def plant(good: Sequence[Source], spare: Sequence[Source], share: float = 1.0) -> Iterator[Planted]:
    """Yield the bad files.

    Args:
        good: Images that are in the bucket; each is used once at most.
        spare: Images that are not; each is used once at most.
        share: Of each kind's count, for small sets of images.
    """
    originals, fresh = iter(good), iter(spare)
    for kind in KINDS:
        made = _made(kind, fresh if kind.fresh else originals)
        yield from islice(made, round(kind.count * share))


def _made(kind: Kind, sources: Iterator[Source]) -> Iterator[Planted]:
    """Yield bad files of one kind; images that cannot be read themselves are passed over."""
    for source in sources:
        with contextlib.suppress(Rejected):
            data = kind.make(source.name, source.data)
            yield Planted(f"{kind.name}/{source.name}", kind.reason, data)


def _decoded(data: bytes) -> Pixels:
    """The image as it is seen, `(H, W, 1)` if it is grey, else BGR `(H, W, 3)`."""
    pixels = decode(data, 3)
    is_grey = bool((pixels == pixels[:, :, :1]).all())
    return np.ascontiguousarray(pixels[:, :, :1] if is_grey else pixels[:, :, ::-1])


def _encoded(name: str, pixels: Pixels) -> bytes:
    extension = "." + name.rpartition(".")[2].lower()
    done, encoded = cv2.imencode(extension, pixels)
    if not done:
        raise Rejected(f"{name} cannot be written as {extension}", file=name)
    return encoded.tobytes()
