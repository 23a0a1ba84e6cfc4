"""The customer's file of known labels, CSV or COCO, as a table by file."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from loopline.formats import coco
from loopline.formats.labeled import LabeledImage
from loopline.store.items import Shape
from services.ingest.domain.labels import (
    SPLITS,
    FileNames,
    KnownLabels,
    KnownShape,
    LabelProblem,
    LabelTable,
    bounded,
    read_labels,
)


def read_table(data: bytes, files: Collection[str]) -> LabelTable:
    """Read labels: COCO if they are a JSON object, else CSV.

    Args:
        data: The file's bytes.
        files: The files that were found, relative to the prefix.

    Raises:
        Rejected: They are neither.
    """
    if data[:64].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return read_coco(data, files)
    return read_labels(data, files)


def read_coco(data: bytes, files: Collection[str]) -> LabelTable:
    """Read a COCO file: boxes, polygons and masks; an image's `split` and `tags` if it has them.

    An image without annotations is labeled: nothing is on it. An annotation that makes no sense is
    named by its id and left out; the rest goes on.

    Raises:
        Rejected: It is no COCO file.
    """
    listed = FileNames(files)
    found: dict[str, KnownLabels] = {}
    problems: list[LabelProblem] = []
    incomplete: set[str] = set()

    def bad(named: str, annotation: str, reason: str) -> None:
        problems.append(LabelProblem(_number(annotation), named, "bad_annotation", reason))
        incomplete.add(named)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.json"
        path.write_bytes(data)
        for image in coco.read(path, bad):
            file = listed.find(image.file_name)
            if not file:
                detail = f"{image.file_name!r} is not among the listed objects"
                problems.append(LabelProblem(0, image.file_name, "no_such_file", detail))
                continue
            labels = _labels(image, problems)
            labels = replace(labels, complete=labels.complete and image.file_name not in incomplete)
            if before := found.get(file):
                labels = replace(labels, shapes=(*before.shapes, *labels.shapes))
            found[file] = labels
    return LabelTable(found, bounded(problems))


def _labels(image: LabeledImage, problems: list[LabelProblem]) -> KnownLabels:
    split = image.split.lower()
    if split and split not in SPLITS:
        detail = f"{image.split!r} is none of {', '.join(SPLITS)}"
        problems.append(LabelProblem(0, image.file_name, "unknown_split", detail))
        split = ""
    shapes: dict[tuple[object, ...], KnownShape] = {}
    for shape in image.shapes:
        known = _known(shape)
        shapes.setdefault(known.saying, known)
    nothing = image.labeled and not shapes
    return KnownLabels(tuple(shapes.values()), split, image.labeled, nothing, image.tags)


def _known(shape: Shape) -> KnownShape:
    line = _number(shape.id)
    return KnownShape(shape.class_name, shape.bbox_xyxy, line, shape.polygon, shape.mask_rle)


def _number(text: str) -> int:
    """An annotation's id where a CSV file has a line number."""
    return int(text) if text.isdecimal() else 0
