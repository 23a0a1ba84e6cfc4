"""The objects on an image, as a detector or a segmenter learns them: in pixels of its input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from loopline.errors import Rejected
from loopline.vision import masks
from loopline.vision.augmentation import IGNORED, Scene
from loopline.vision.geometry import Placement
from loopline.vision.images import UInt8Image
from loopline.vision.rings import (
    FloatPoints,
    bounds_of,
    hull_of_mask,
    ring_in_box,
    ring_of_box,
    ring_of_polygon,
)
from services.trainer.domain.examples import Annotation, Example
from services.trainer.domain.manifest import InputFormat

CLASSES_MAX: Final = 250  # of a segmentation: a mask has 8 bits, 255 says nothing is known


def placement_of(example: Example, input_format: InputFormat) -> Placement:
    """Return how an example lies in the network's input."""
    return Placement(
        example.height_px,
        example.width_px,
        input_format.height_px,
        input_format.width_px,
        input_format.fit,
    )


class Objects:
    """Outlines of the objects of one image, and their classes.

    Args:
        rings: An outline `(M, 2)` of each, px of the network's input.
        labels: The class index of each.
    """

    __slots__ = ("labels", "rings")

    def __init__(self, rings: tuple[FloatPoints, ...], labels: tuple[int, ...]) -> None:
        self.rings = rings
        self.labels = labels

    @property
    def boxes(self) -> FloatPoints:
        """`(N, 4)` xyxy."""
        return np.array([bounds_of(ring) for ring in self.rings], np.float64).reshape(-1, 4)

    def on(self, image: UInt8Image) -> Scene:
        """Return them with their image."""
        return Scene(image, self.rings, self.labels)


def objects_of(
    example: Example,
    input_format: InputFormat,
    index: Mapping[str, int],
    *,
    turned: bool = False,
) -> Objects | None:
    """Return what is on an image; None if its labels speak only of the whole image.

    An image that was labeled and has no shapes shows nothing, which is worth learning too.

    Args:
        example: The image and its labels.
        input_format: The network's input.
        index: Of each class.
        turned: Whether they will be turned by more than quarters: see `outline`.
    """
    shapes = [a for a in example.annotations if not a.is_whole_image]
    if example.annotations and not shapes:
        return None
    placement = placement_of(example, input_format)
    found = [(outline(shape, example, turned=turned), index[shape.class_name]) for shape in shapes]
    rings = [(placement.to_input(ring), label) for ring, label in found if len(ring)]
    return Objects(tuple(ring for ring, _ in rings), tuple(label for _, label in rings))


def outline(shape: Annotation, example: Example, *, turned: bool = False) -> FloatPoints:
    """Return points of the image whose box is the shape's, however both are turned.

    Of a shape that is known by its box alone, that holds for its corners until they are turned;
    for what will be, it is the ellipse in the box.
    """
    if shape.mask_rle is not None:
        with _named(example):
            return hull_of_mask(shape.mask_rle, example.width_px, example.height_px)
    if shape.polygon is not None:
        return ring_of_polygon(shape.polygon)
    assert shape.bbox_xyxy is not None
    return ring_in_box(shape.bbox_xyxy) if turned else ring_of_box(shape.bbox_xyxy)


class ClassMask:
    """The class of every pixel of one image, drawn when it is first asked for.

    Kept as PNG: a tenth of a raster, and read in a tenth of the time that drawing takes.

    Args:
        example: The image and its labels.
        input_format: What the mask is brought to.
        index: Of each class; its pixels are this plus one, and 0 is background.
    """

    __slots__ = ("_encoded", "_example", "_format", "_index")

    def __init__(
        self, example: Example, input_format: InputFormat, index: Mapping[str, int]
    ) -> None:
        self._example = example
        self._format = input_format
        self._index = index
        self._encoded: npt.NDArray[np.uint8] | None = None

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Return `(H, W)` uint8 of the network's input; IGNORED where the image does not reach."""
        if self._encoded is None:
            ok, self._encoded = cv2.imencode(".png", self._drawn())
            assert ok
        return np.asarray(cv2.imdecode(self._encoded, cv2.IMREAD_GRAYSCALE), np.uint8)

    def _drawn(self) -> npt.NDArray[np.uint8]:
        example = self._example
        drawn = np.zeros((example.height_px, example.width_px), np.uint8)
        for shape in example.annotations:
            if shape.polygon is not None:
                seen = masks.from_polygons([shape.polygon], example.width_px, example.height_px)
            elif shape.mask_rle is not None:
                with _named(example):
                    seen = masks.decode(shape.mask_rle, example.width_px, example.height_px)
            else:
                continue
            drawn[seen] = self._index[shape.class_name] + 1
        placement = placement_of(example, self._format)
        return np.asarray(placement.mask_to_input(drawn, border=IGNORED), np.uint8)


class _named:  # noqa: N801 - reads as a function
    """Names the image in what goes wrong with its labels."""

    def __init__(self, example: Example) -> None:
        self._asset = example.asset

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, ValueError):
            raise Rejected(f"image {self._asset[:12]}: its mask is damaged: {error}") from error
