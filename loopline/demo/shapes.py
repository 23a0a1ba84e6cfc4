"""The demo's customer whose labels are shapes: images and a COCO file, some labels held back.

Writes a folder of examples/data into a bucket as a customer would have it, and returns the truth:
the shapes that were held back, as labelers would draw them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from loopline.demo.images import Bucket, CatalogueTruth
from loopline.demo.scenes import data_folder
from loopline.digests import sha256_hex
from loopline.formats import coco
from loopline.formats.labeled import LabeledImage
from loopline.store.items import Shape

LABELS_KEY: Final = "labels.json"
# The last so many of the training images come without labels. Neighbours overlap: of a tile from
# amidst the others, a model would have seen most nuclei already.
HELD_BACK_SHARE: Final = 0.4
MEDIA_TYPES: Final = {".png": "image/png", ".jpg": "image/jpeg"}

Answer = list[dict[str, Any]]  # the JSON that a labeler's client sends


def write_drawn(
    target: Bucket,
    name: str,
    *,
    as_boxes: bool = False,
    prefix: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> CatalogueTruth:
    """Write a folder's images and labels into a bucket; writing it again writes the same bytes.

    Args:
        target: The customer's bucket.
        name: Of the folder in examples/data.
        as_boxes: Whether labelers draw boxes where the truth has masks.
        prefix: Below which the objects lie; the name if empty.
        progress: Called with the objects written and their number.

    Returns:
        The truth: its `shapes_by_asset` are what labelers answer.
    """
    root, prefix = data_folder(name), prefix or f"{name}/"
    images = list(coco.read(root / "labels.json"))
    classes = tuple(coco.read_classes(root / "labels.json"))
    trained = [image.file_name for image in images if image.split == "train"]
    held_back = set(trained[len(trained) - round(HELD_BACK_SHARE * len(trained)) :])
    answers: dict[str, Answer] = {}
    for done, image in enumerate(images, start=1):
        data = (root / image.file_name).read_bytes()
        media_type = MEDIA_TYPES[Path(image.file_name).suffix]
        target.put(prefix + image.file_name, data, media_type)
        answers[sha256_hex(data)] = [_answer(shape, image, as_boxes) for shape in image.shapes]
        if progress is not None:
            progress(done, len(images))
    known = [
        replace(image, shapes=(), labeled=False) if image.file_name in held_back else image
        for image in images
    ]
    target.put(LABELS_KEY, _encoded(known, classes), "application/json")
    parts: dict[str, dict[str, str]] = {"labeled": {}, "test": {}, "unlabeled": {}}
    for image in images:
        parts[_part(image, held_back)][prefix + image.file_name] = classes[0]
    return CatalogueTruth(
        prefix=prefix,
        labels_key=LABELS_KEY,
        classes=classes,
        labeled=parts["labeled"],
        test=parts["test"],
        unlabeled=parts["unlabeled"],
        planted={},
        classes_by_asset={},
        shapes_by_asset=answers,
    )


def _part(image: LabeledImage, held_back: set[str]) -> str:
    if image.file_name in held_back:
        return "unlabeled"
    return "test" if image.split == "test" else "labeled"


def _answer(shape: Shape, image: LabeledImage, as_boxes: bool) -> dict[str, Any]:
    from loopline.vision import masks  # numpy is not part of the base install

    if shape.mask_rle is None:
        return {"class_name": shape.class_name, "bbox_xyxy": list(shape.bbox_xyxy or ())}
    if as_boxes:
        box = masks.box_of(shape.mask_rle, image.width_px, image.height_px)
        return {"class_name": shape.class_name, "bbox_xyxy": list(box or ())}
    return {"class_name": shape.class_name, "mask_rle": shape.mask_rle}


def _encoded(images: list[LabeledImage], classes: tuple[str, ...]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.json"
        coco.write(images, path, classes)
        return path.read_bytes()
