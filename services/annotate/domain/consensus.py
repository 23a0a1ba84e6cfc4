"""From what several people say of one image to one set of labels, and how far they agree.

Shapes of different people that overlap are one *place*. At each place the classes are voted on:
what a quorum says stands, drawn as the person did who is closest to the others; a place that a
quorum did not mark is dropped; anything else is a dispute, which a reviewer decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from loopline.store.items import Shape
from services.annotate.domain.agreement import IOU_MIN, agreement, overlap
from services.annotate.domain.shapes import is_whole_image

NOTHING = ""
"""The class that a person gives to a place where others saw something."""


@dataclass(frozen=True, slots=True)
class Consensus:
    """What came of several people's labels.

    Attributes:
        shapes: What a quorum agrees on, each as one of them drew it.
        disputes: Places without a quorum; 0 makes `shapes` the item's labels.
        agreement: Mean agreement of each two people, in [0, 1].
    """

    shapes: tuple[Shape, ...]
    disputes: int
    agreement: float


@dataclass(frozen=True, slots=True)
class _Mark:
    labeler: str
    shape: Shape


_Place = list[_Mark]


def majority(labelers: int) -> int:
    """Return how many are more than half."""
    return labelers // 2 + 1


def merge(
    said: Mapping[str, Sequence[Shape]], quorum: int = 0, iou_min: float = IOU_MIN
) -> Consensus:
    """Merge what people say of one image.

    Args:
        said: Shapes by labeler.
        quorum: How many must say the same; 0 for more than half.
        iou_min: From which overlap on shapes are at one place.
    """
    needed = quorum or majority(len(said))
    stand: list[Shape] = []
    disputes = 0
    for place in places(said, iou_min):
        chosen = _voted(place, needed)
        stand += chosen
        marked = len({mark.labeler for mark in place})
        if not chosen and (marked >= needed or len(said) - marked < needed):
            disputes += 1
    pairs = list(combinations(sorted(said), 2))
    scores = [agreement(said[a], said[b], iou_min) for a, b in pairs]
    mean = sum(scores) / len(scores) if scores else 1.0
    return Consensus(_with_own_ids(stand), disputes, mean)


def places(said: Mapping[str, Sequence[Shape]], iou_min: float = IOU_MIN) -> list[_Place]:
    """Return the places that people marked, each with at most one shape of a person.

    Whole-image classes are all at one place, where a person may have several.
    """
    whole: _Place = []
    marks: list[_Mark] = []
    for labeler in sorted(said):
        for shape in said[labeler]:
            (whole if is_whole_image(shape) else marks).append(_Mark(labeler, shape))
    found = _clustered(marks, iou_min)
    return ([whole] if whole else []) + found


def _clustered(marks: Sequence[_Mark], iou_min: float) -> list[_Place]:
    owner = list(range(len(marks)))
    members: dict[int, list[int]] = {index: [index] for index in owner}
    links = [
        (overlap(marks[i].shape, marks[j].shape), i, j)
        for i, j in combinations(range(len(marks)), 2)
        if marks[i].labeler != marks[j].labeler
    ]
    for iou, i, j in sorted(links, key=lambda link: (-link[0], link[1], link[2])):
        if iou < iou_min or iou == 0.0:
            break
        a, b = owner[i], owner[j]
        people = {marks[index].labeler for index in members[a]}
        if a == b or people & {marks[index].labeler for index in members[b]}:
            continue
        for index in members[b]:
            owner[index] = a
        members[a] += members.pop(b)
    return [[marks[index] for index in sorted(indices)] for _, indices in sorted(members.items())]


def _voted(place: _Place, needed: int) -> list[Shape]:
    votes = Counter(name for _, name in {(mark.labeler, mark.shape.class_name) for mark in place})
    return [
        _closest([mark.shape for mark in place if mark.shape.class_name == name])
        for name, count in sorted(votes.items())
        if count >= needed
    ]


def _closest(shapes: Sequence[Shape]) -> Shape:
    """Return the shape that overlaps most with the others; the first among equals."""
    return max(shapes, key=lambda shape: sum(overlap(shape, other) for other in shapes))


def _with_own_ids(shapes: Iterable[Shape]) -> tuple[Shape, ...]:
    used: set[str] = set()
    made = []
    for shape in shapes:
        name = shape.id
        while name in used:
            name += "'"
        used.add(name)
        made.append(shape if name == shape.id else replace(shape, id=name))
    return tuple(made)


def ratings(said: Mapping[str, Sequence[Shape]], iou_min: float = IOU_MIN) -> list[dict[str, str]]:
    """Return the class that each person gave to each place of an image; "" for nothing.

    A person's several whole-image classes are one rating, joined; an image that nobody marked is
    one place where everybody rates nothing.
    """
    rated = []
    for place in places(said, iou_min):
        names: dict[str, list[str]] = {labeler: [] for labeler in said}
        for mark in place:
            names[mark.labeler].append(mark.shape.class_name)
        rated.append({labeler: "+".join(sorted(given)) for labeler, given in names.items()})
    return rated or [dict.fromkeys(said, NOTHING)]


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Return Cohen's kappa of two people's classes for the same places.

    None where it is not defined: no places, or both only ever give one and the same class.

    >>> round(cohen_kappa([("a", "a")] * 20 + [("a", "b")] * 5 + [("b", "a")] * 10
    ...                   + [("b", "b")] * 15), 2)
    0.4
    """
    if not pairs:
        return None
    total = len(pairs)
    observed = sum(a == b for a, b in pairs) / total
    of_a, of_b = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    expected = sum(of_a[name] * of_b[name] for name in of_a) / total**2
    return None if expected == 1.0 else (observed - expected) / (1 - expected)


def fleiss_kappa(units: Sequence[Mapping[str, int]]) -> float | None:
    """Return Fleiss' kappa over places that equally many people rated.

    Args:
        units: For each place, how many gave which class.

    Returns:
        The kappa; None where it is not defined: no places, one rater, or one class only.

    Raises:
        ValueError: The places have different numbers of ratings.
    """
    if not units:
        return None
    raters = sum(units[0].values())
    if any(sum(unit.values()) != raters for unit in units):
        raise ValueError("every place needs the same number of ratings")
    if raters < 2:
        return None
    per_unit = [
        (sum(count**2 for count in unit.values()) - raters) / (raters * (raters - 1))
        for unit in units
    ]
    totals: Counter[str] = Counter()
    for unit in units:
        totals.update(unit)
    observed = sum(per_unit) / len(units)
    expected = sum((count / (raters * len(units))) ** 2 for count in totals.values())
    return None if expected == 1.0 else (observed - expected) / (1 - expected)
