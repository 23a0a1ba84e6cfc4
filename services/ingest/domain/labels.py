"""The customer's CSV file of known labels: what its rows say, and which of them make no sense.

Columns are found by name: `file` (a key relative to the prefix), `class`, and optionally `split`
and `x_min`, `y_min`, `x_max`, `y_max` (pixels). A file may have several rows: one per box, or the
same class again. A row that makes no sense is named and left out; the rest goes on. Whether a class
is known and a box lies in its image is decided when the image has been seen, in `decision`.
"""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from loopline.errors import Rejected

SPLITS: Final = ("train", "val", "test")
BOX: Final = ("x_min", "y_min", "x_max", "y_max")
MAX_CLASS_LENGTH: Final = 200  # characters
MAX_PROBLEMS: Final = 10_000  # rows named one by one; the rest are counted

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class KnownShape:
    """What one row or annotation says of an image: a class, of all of it or of a part.

    Args:
        class_name: The class.
        bbox_xyxy: A box, px.
        line: The row, or the annotation's id.
        polygon: x0, y0, x1, y1, ..., px.
        mask_rle: COCO's compressed run lengths.
    """

    class_name: str
    bbox_xyxy: Box | None
    line: int
    polygon: tuple[float, ...] | None = None
    mask_rle: str | None = None

    @property
    def drawn(self) -> bool:
        """Whether it is a polygon or a mask."""
        return self.polygon is not None or self.mask_rle is not None

    @property
    def saying(self) -> tuple[object, ...]:
        """Class and geometry: what makes two of them the same."""
        return self.class_name, self.bbox_xyxy, self.polygon, self.mask_rle


@dataclass(frozen=True, slots=True)
class KnownLabels:
    """What the file of labels says of one image.

    Args:
        shapes: Its annotations.
        split: The split it must go to; "" if the file does not say.
        complete: No row about the image was left out.
        nothing: Where there are no shapes, somebody looked and there is nothing on it.
        tags: Names that people gave.
    """

    shapes: tuple[KnownShape, ...] = ()
    split: str = ""
    complete: bool = True
    nothing: bool = False
    tags: tuple[str, ...] = ()

    @property
    def say_something(self) -> bool:
        """Whether they tell what is on the image, even if that is nothing."""
        return bool(self.shapes) or self.nothing


@dataclass(frozen=True, slots=True)
class LabelProblem:
    """One row or annotation that was left out: where, about which file, and why."""

    line: int
    file: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class LabelTable:
    """The labels, read: what they say by file, and what made no sense."""

    by_file: Mapping[str, KnownLabels]
    problems: tuple[LabelProblem, ...]


class _BadRow(Rejected):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def read_labels(data: bytes, files: Collection[str]) -> LabelTable:
    r"""Read the CSV file.

    Args:
        data: Its bytes: UTF-8, with or without a byte order mark.
        files: The files that were found, relative to the prefix.

    Raises:
        Rejected: It is not UTF-8, not CSV, or lacks the columns `file` and `class`.

    Example:
        >>> table = read_labels(b"file,class\na.png,bag\nb.png,bag\n", {"a.png"})
        >>> table.by_file["a.png"].shapes[0].class_name, table.problems[0].reason
        ('bag', 'no_such_file')
    """
    listed = FileNames(files)
    found: dict[str, KnownLabels] = {}
    problems: list[LabelProblem] = []
    for line, row in _rows(data):
        named = row["file"]
        file = listed.find(named)
        labels = found.get(file, KnownLabels())
        try:
            if not file:
                raise _BadRow("no_such_file", f"{named!r} is not among the listed objects")
            found[file] = _with_row(labels, row, line)
        except _BadRow as error:
            problems.append(LabelProblem(line, named, error.reason, error.message))
            if file:
                found[file] = replace(labels, complete=False)
    return LabelTable(found, bounded(problems))


class FileNames:
    """The files that were listed, found by the names that labels have for them.

    Args:
        files: Relative to the prefix.
    """

    def __init__(self, files: Collection[str]) -> None:
        self._known = set(files)
        # macOS writes names decomposed and S3 keeps what it gets: "é" may be one character or two.
        self._by_form = {unicodedata.normalize("NFC", file): file for file in self._known}

    def find(self, named: str) -> str:
        """Return the file that is meant; "" if there is none."""
        if named in self._known:
            return named
        return self._by_form.get(unicodedata.normalize("NFC", named), "")


def bounded(problems: list[LabelProblem]) -> tuple[LabelProblem, ...]:
    """Return so many problems as a report names one by one, and how many more there are."""
    more = len(problems) - MAX_PROBLEMS
    if more > 0:
        problems[MAX_PROBLEMS:] = [LabelProblem(0, "", "more", f"{more} more rows are left out")]
    return tuple(problems)


def _rows(data: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and fields of each row; missing fields are empty."""
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise Rejected(f"the labels are not UTF-8: byte {error.start} is not") from error
    reader = csv.reader(text)
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        missing = [name for name in ("file", "class") if name not in columns]
        if missing:
            shown = ", ".join(columns)[:200] or "none"
            raise Rejected(f"the labels have no column {missing[0]!r}; columns are: {shown}")
        for row in reader:
            if any(row):
                fields = dict.fromkeys((*BOX, "split"), "") | dict(zip(columns, row, strict=False))
                yield reader.line_num, {"file": "", "class": ""} | fields
    except csv.Error as error:
        raise Rejected(f"the labels are not CSV: line {reader.line_num}: {error}") from error


def _with_row(labels: KnownLabels, row: Mapping[str, str], line: int) -> KnownLabels:
    """Return what is known of an image with one more row."""
    split = row["split"].strip().lower()
    if split and split not in SPLITS:
        raise _BadRow("unknown_split", f"{split!r} is none of {', '.join(SPLITS)}")
    if split and labels.split and split != labels.split:
        raise _BadRow("conflicting_split", f"{split!r}, and {labels.split!r} before")
    labels = replace(labels, split=split or labels.split)
    class_name, box = _class_name(row), _box(row)
    if not class_name:
        if box is not None:
            raise _BadRow("no_class", "a box without a class")
        return labels
    shape = KnownShape(class_name, box, line)
    if any((s.class_name, s.bbox_xyxy) == (class_name, box) for s in labels.shapes):
        return labels
    whole = [s.class_name for s in labels.shapes if s.bbox_xyxy is None]
    if box is None and whole:
        raise _BadRow("conflicting_class", f"{class_name!r}, and {whole[0]!r} before")
    return replace(labels, shapes=(*labels.shapes, shape))


def _class_name(row: Mapping[str, str]) -> str:
    name = row["class"].strip()
    if len(name) > MAX_CLASS_LENGTH or not name.isprintable():
        raise _BadRow("bad_class", f"{name[:40]!r} is too long or not printable")
    return name


def _box(row: Mapping[str, str]) -> Box | None:
    texts = [row[name].strip() for name in BOX]
    if not any(texts):
        return None
    try:
        x_min, y_min, x_max, y_max = (float(text) for text in texts)
    except ValueError:
        raise _BadRow("bad_box", f"{texts} are not four numbers") from None
    if not all(map(math.isfinite, (x_min, y_min, x_max, y_max))):
        raise _BadRow("bad_box", f"{texts} are not four finite numbers")
    if x_min >= x_max or y_min >= y_max:
        raise _BadRow("bad_box", f"{texts}: the minimum is not below the maximum")
    return x_min, y_min, x_max, y_max
