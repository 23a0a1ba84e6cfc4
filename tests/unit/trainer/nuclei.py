"""The nuclei scene as examples, for tests of what learns boxes and masks."""

from __future__ import annotations

from pathlib import Path

from loopline.formats import coco
from loopline.vision.images import UInt8Image, decode
from services.trainer.domain.examples import Annotation, Example
from services.trainer.domain.job import Placed

SCENES = Path(__file__).parents[3] / "examples" / "data"
NUCLEUS = ("nucleus",)


def placed(scene: str = "nuclei", split: str = "test") -> list[Placed]:
    """Return the examples of a split, in the order of the file."""
    root = SCENES / scene
    return [
        Placed(
            Example(
                image.file_name,
                image.split,
                tuple(
                    Annotation(s.class_name, s.bbox_xyxy, s.polygon, s.mask_rle)
                    for s in image.shapes
                ),
                image.width_px,
                image.height_px,
                (root / image.file_name).stat().st_size,
            ),
            root / image.file_name,
        )
        for image in coco.read(root / "labels.json")
        if image.split == split
    ]


def pixels(some: list[Placed], channels: int = 1) -> list[UInt8Image]:
    """Return their images as they are."""
    return [decode(one.path.read_bytes(), channels) for one in some]
