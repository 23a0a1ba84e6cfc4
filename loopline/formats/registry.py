"""The formats there are, by the name that people give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loopline.errors import Rejected
from loopline.formats import coco, cvat, label_studio, supervisely, voc, yolo
from loopline.formats.labeled import LabeledImage


class Write(Protocol):
    """Writes the labels of a folder."""

    def __call__(
        self, images: Iterable[LabeledImage], path: Path, classes: Sequence[str] | None = None
    ) -> None:
        """Write; see `coco.write`."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        name: What people call it.
        read: Yields the images of a file or folder.
        write: Writes the labels of a folder that is there.
        image_path: Where an image's file goes in the folder.
    """

    name: str
    read: Callable[[Path], Iterator[LabeledImage]]
    write: Write
    image_path: Callable[[LabeledImage], str]


FORMATS = {
    made.name: made
    for made in (
        Format("coco", coco.read, coco.write, coco.image_path),
        Format("yolo", yolo.read, yolo.write_detect, yolo.image_path),
        Format("yolo-segment", yolo.read, yolo.write_segment, yolo.image_path),
        Format("voc", voc.read, voc.write, voc.image_path),
        Format("supervisely", supervisely.read, supervisely.write, supervisely.image_path),
        Format("cvat", cvat.read, cvat.write, cvat.image_path),
        Format("label-studio", label_studio.read, label_studio.write, label_studio.image_path),
    )
}


def find_format(name: str) -> Format:
    """Return a format.

    Raises:
        Rejected: There is none of that name.
    """
    if name not in FORMATS:
        raise Rejected(f"there is no format {name!r}; there are {', '.join(FORMATS)}", format=name)
    return FORMATS[name]
