"""What is known of the images that a model was measured on, and how they are divided."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from loopline.evaluation.report import SLICES_MAX, Slice

By = Literal["tag", "size", "source"]
Indices = npt.NDArray[np.int64]

SMALL_SIDE_PX: Final = 128  # square root of the area, below which an image is small
LARGE_SIDE_PX: Final = 640  # from here on it is large


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image that was measured.

    Args:
        asset: sha256 of its file; "" where nobody asks which it is.
        width_px: Of the decoded image; 0 if not known.
        height_px: Likewise.
        tags: Of the item.
        source: URI it came from.
    """

    asset: str = ""
    width_px: int = 0
    height_px: int = 0
    tags: tuple[str, ...] = ()
    source: str = ""

    @property
    def size(self) -> str:
        """One of "small", "medium" and "large"; "" if it is not known."""
        side_px = (self.width_px * self.height_px) ** 0.5
        if not side_px:
            return ""
        if side_px < SMALL_SIDE_PX:
            return "small"
        return "medium" if side_px < LARGE_SIDE_PX else "large"

    @property
    def folder(self) -> str:
        """Where it came from, without its own name."""
        return self.source.rpartition("/")[0]


def slices(
    images: Sequence[ImageFacts], measure: Callable[[Indices], dict[str, float]]
) -> tuple[Slice, ...]:
    """Measure the images that have something in common, the largest groups first.

    Args:
        images: All of them, in the order that `measure` counts them.
        measure: From places of images to figures.

    Returns:
        At most `SLICES_MAX` slices. A way to divide that leaves all images in one group is left
        out: it would say again what is known of all.
    """
    found = [
        Slice(by=by, value=value, count=len(places), metrics=measure(np.asarray(places, np.int64)))
        for by, value, places in _largest(images)
    ]
    return tuple(sorted(found, key=lambda one: (one.by, -one.count, one.value)))


def _largest(images: Sequence[ImageFacts]) -> list[tuple[By, str, list[int]]]:
    groups: list[tuple[By, str, list[int]]] = []
    divisions: tuple[tuple[By, Callable[[ImageFacts], Sequence[str]]], ...] = (
        ("tag", lambda image: image.tags),
        ("size", lambda image: (image.size,)),
        ("source", lambda image: (image.folder,)),
    )
    for by, values in divisions:
        members: defaultdict[str, list[int]] = defaultdict(list)
        for place, image in enumerate(images):
            for value in values(image):
                members[value].append(place)
        members.pop("", None)
        if any(len(places) < len(images) for places in members.values()):
            groups.extend((by, value, places) for value, places in members.items())
    return sorted(groups, key=lambda group: -len(group[2]))[:SLICES_MAX]


def facts_or_blank(images: Sequence[ImageFacts], count: int) -> Sequence[ImageFacts]:
    """Return `images`, or `count` images of which nothing is known if there are none."""
    return images or [ImageFacts()] * count
