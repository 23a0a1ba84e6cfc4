"""What becomes of the images that arrived: which are new, which repeat others, which labels hold.

Everything here depends on the images and on the dataset's head alone. The order in which slices
were done, or how often, does not matter: a labeled image goes before one without labels, and then
the smaller key before the greater.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Final

from loopline.digests import canonical_json
from loopline.errors import Rejected
from loopline.store.items import Item, Shape
from loopline.vision import masks
from services.ingest.domain.drops import Drop, Reason, picture_of
from services.ingest.domain.labels import Box, KnownLabels, KnownShape, LabelProblem
from services.ingest.domain.plan import Arrival, Findings, Plan
from services.ingest.domain.splits import NONE, Newcomer, assign_splits

EDGE_TOLERANCE_PX: Final = 1.0
"""By how much a box may stick out of its image through rounding; it is cut to the image then."""


PICTURES_MAX: Final = 2_000
"""Pictures in one drop report: they are a kilobyte each."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the dataset holds before the import.

    Args:
        classes: Its classes in order; empty if it has none yet.
        has_test_split: Whether an item is in the test split.
        items: Those of its items whose assets arrive again, by asset.
    """

    classes: tuple[str, ...] = ()
    has_test_split: bool = False
    items: Mapping[str, Item] | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """What an image shows the same picture as.

    Args:
        shown: For people: its key, or its asset if it is there already.
        asset: Its asset.
        split: Its split, if it is there already; None if it arrives too.
    """

    shown: str
    asset: str
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Leak:
    """Two images that show the same picture, and are in two splits because the labels say so."""

    key: str
    split: str
    like: str
    like_split: str


@dataclass(frozen=True, slots=True)
class Unique:
    """The images that arrived, each once, in the order in which they take precedence."""

    arrivals: tuple[Arrival, ...]
    drops: tuple[Drop, ...]
    problems: tuple[LabelProblem, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to commit and what to report.

    Args:
        items: To add, or to replace where a label has become known.
        classes: The dataset's classes from now on.
        drops: Every object that became no item, by key.
        problems: Every row of the labels that was left out.
        leaks: Images that show the same in two splits.
        counts: "listed", "added", "known", "labeled", "dropped", "dropped:<reason>", ...
    """

    items: tuple[Item, ...]
    classes: tuple[str, ...]
    drops: tuple[Drop, ...]
    problems: tuple[LabelProblem, ...]
    leaks: tuple[Leak, ...]
    counts: dict[str, int]

    def report(self, plan: Plan) -> bytes:
        """Return the drop report: JSON, equal for equal decisions."""
        return canonical_json(
            {
                "run": plan.run_id,
                "dataset": plan.request.dataset,
                "source": plan.uri,
                "counts": self.counts,
                "drops": list(_told(self.drops)),
                "labels": [asdict(problem) for problem in self.problems],
                "leaks": [asdict(leak) for leak in self.leaks],
            }
        )


def _told(drops: Sequence[Drop]) -> Iterator[dict[str, object]]:
    """Yield drops for the report, the first of them with their pictures."""
    pictures = 0
    for drop in drops:
        pictures += bool(drop.picture)
        yield asdict(drop if pictures <= PICTURES_MAX else replace(drop, picture=""))


def merged(findings: Iterable[Findings]) -> Findings:
    """Return what all slices found as one, sorted by key."""
    found = list(findings)
    return Findings(
        tuple(sorted((a for part in found for a in part.arrivals), key=lambda a: a.key)),
        tuple(sorted((d for part in found for d in part.drops), key=lambda d: d.key)),
    )


def without_copies(arrivals: Iterable[Arrival]) -> Unique:
    """Keep one of the objects that hold the same bytes: a labeled one, else the first by key."""
    kept, drops, problems = [], [], []
    by_asset = sorted(arrivals, key=lambda a: (a.asset, *_precedence(a)))
    for _, copies in groupby(by_asset, key=lambda a: a.asset):
        first, *others = copies
        kept.append(first)
        for other in others:
            picture = picture_of(other.thumbprint)
            same = Drop(other.key, Reason.EXACT_DUPLICATE, "the same bytes", first.key, picture)
            drops.append(same)
            problems += _conflict(first, other)
    return Unique(tuple(sorted(kept, key=_precedence)), tuple(drops), tuple(problems))


def allowed_classes(requested: Sequence[str], head: Sequence[str]) -> tuple[str, ...] | None:
    """Return the classes that labels may have; None if nobody has said yet.

    Raises:
        Rejected: The command's classes repeat one, or lack one of the dataset's.
    """
    repeated = [name for name, count in Counter(requested).items() if count > 1]
    if repeated:
        raise Rejected(f"the class {repeated[0]!r} is named twice", class_name=repeated[0])
    missing = [name for name in head if name not in requested]
    if requested and missing:
        raise Rejected(
            f"the command's classes lack {missing[0]!r}, which the dataset has",
            class_name=missing[0],
        )
    return tuple(requested) or tuple(head) or None


def decide(
    plan: Plan,
    findings: Findings,
    unique: Unique,
    head: Head,
    repeats: Mapping[str, Repeat],
) -> Decision:
    """Decide what the import commits.

    Args:
        plan: The import.
        findings: What its slices found.
        unique: Its images without copies.
        head: The dataset before.
        repeats: Of images that show the same as another: asset to the image that stays.

    Raises:
        Rejected: See `allowed_classes`.
    """
    allowed = allowed_classes(plan.request.classes, head.classes)
    known = head.items or {}
    items: list[Item] = []
    drops = [*findings.drops, *unique.drops]
    problems = [*plan.problems, *unique.problems]
    counts = Counter({"listed": plan.objects, "added": 0, "known": 0, "labeled": 0})
    for arrival in unique.arrivals:
        repeat = repeats.get(arrival.asset)
        if repeat is not None and plan.request.rules.drop_near_duplicates:
            picture = picture_of(arrival.thumbprint)
            like = Drop(
                arrival.key, Reason.NEAR_DUPLICATE, "the same picture", repeat.shown, picture
            )
            drops.append(like)
            continue
        before = known.get(arrival.asset)
        item, bad = _item(plan, arrival, before, allowed)
        problems += bad
        counts["known" if before else "added"] += 1
        if item != before:
            items.append(item)
            counts["labeled"] += item.labeled
    items = _with_splits(plan, items, head, repeats)
    leaks = _leaks(unique.arrivals, items, repeats)
    counts["dropped"] = len(drops)
    counts.update(f"dropped:{drop.reason}" for drop in drops)
    counts["label_problems"] = len(problems)
    counts["leaks"] = len(leaks)
    return Decision(
        items=tuple(items),
        classes=allowed or _classes(items),
        drops=tuple(sorted(drops, key=lambda d: d.key)),
        problems=tuple(sorted(problems, key=lambda p: (p.line, p.file, p.reason))),
        leaks=leaks,
        counts=dict(sorted(counts.items())),
    )


def _precedence(arrival: Arrival) -> tuple[bool, str]:
    return not (arrival.labels and arrival.labels.say_something), arrival.key


def _conflict(first: Arrival, other: Arrival) -> list[LabelProblem]:
    """Tell of a copy whose labels differ from those that count."""
    if other.labels is None or first.labels is None:
        return []
    said = {shape.saying for shape in first.labels.shapes}
    differing = [shape for shape in other.labels.shapes if shape.saying not in said]
    problems = [
        LabelProblem(s.line, other.key, "conflicting_labels", f"{first.key!r} has the same bytes")
        for s in differing
    ]
    if other.labels.split not in ("", first.labels.split):
        detail = f"{other.labels.split!r}, but {first.labels.split!r} of its copy {first.key!r}"
        problems.append(LabelProblem(0, other.key, "conflicting_split", detail))
    return problems


def _item(
    plan: Plan,
    arrival: Arrival,
    before: Item | None,
    allowed: tuple[str, ...] | None,
) -> tuple[Item, list[LabelProblem]]:
    """Return the item of an arrival: a new one, or the one before with labels it did not have.

    A new one has the split that its labels name, else none yet.
    """
    labels = arrival.labels or KnownLabels()
    if before is not None and (before.labeled or not labels.say_something):
        return before, []  # what people corrected since stays
    shapes, problems = _shapes(plan.run_id, arrival, labels, allowed)
    labeled = (bool(shapes) or labels.nothing) and labels.complete and not problems
    item = before or Item(
        asset=arrival.asset,
        media_type=arrival.media_type,
        size_bytes=arrival.size_bytes,
        width_px=arrival.width_px,
        height_px=arrival.height_px,
        source=plan.uri_of(arrival.key),
        phash=arrival.phash,
        thumbprint=arrival.thumbprint,
    )
    split = labels.split or item.split
    tags = item.tags or labels.tags
    return replace(item, split=split, labeled=labeled, shapes=shapes, tags=tags), problems


def _with_splits(
    plan: Plan, items: Sequence[Item], head: Head, repeats: Mapping[str, Repeat]
) -> list[Item]:
    """Give every new item a split that the labels give none."""
    known = head.items or {}
    named = {item.asset: item.split for item in items if item.split}
    newcomers = []
    for item in items:
        if item.split or item.asset in known:
            continue
        repeat = repeats.get(item.asset)
        split = None if repeat is None else repeat.split or named.get(repeat.asset)
        classes = tuple(sorted({shape.class_name for shape in item.shapes}))
        like = repeat.asset if repeat else ""
        newcomers.append(Newcomer(item.asset, classes, item.labeled, like, split))
    splits = assign_splits(
        newcomers,
        plan.request.shares,
        test_is_open=not plan.test_is_given and not head.has_test_split,
    )
    return [replace(i, split=splits[i.asset]) if i.asset in splits else i for i in items]


def _leaks(
    arrivals: Iterable[Arrival], items: Iterable[Item], repeats: Mapping[str, Repeat]
) -> tuple[Leak, ...]:
    """Return the items that show the same as another, which is in another split."""
    splits = {item.asset: item.split for item in items}
    found = []
    for arrival in arrivals:
        repeat = repeats.get(arrival.asset)
        if repeat is None or not splits.get(arrival.asset):
            continue
        split = splits[arrival.asset]
        other = splits.get(repeat.asset, NONE) if repeat.split is None else repeat.split
        if other not in (split, NONE):
            found.append(Leak(arrival.key, split, repeat.shown, other))
    return tuple(sorted(found, key=lambda leak: leak.key))


def _shapes(
    run_id: str, arrival: Arrival, labels: KnownLabels, allowed: tuple[str, ...] | None
) -> tuple[tuple[Shape, ...], list[LabelProblem]]:
    shapes: list[Shape] = []
    problems: list[LabelProblem] = []
    for known in labels.shapes:
        try:
            shape = _placed(known, arrival)
            if allowed is not None and known.class_name not in allowed:
                raise _BadLabel("unknown_class", f"{known.class_name!r} is none of the classes")
        except _BadLabel as error:
            problems.append(LabelProblem(known.line, arrival.key, error.reason, error.message))
            continue
        shape_id = f"{run_id[:8]}-{len(shapes)}"
        shapes.append(replace(shape, id=shape_id, source=f"import:{run_id}"))
    return tuple(shapes), problems


def _placed(known: KnownShape, arrival: Arrival) -> Shape:
    """Return a shape that lies within its image.

    Raises:
        _BadLabel: It does not.
    """
    if known.mask_rle is not None:
        try:
            masks.check_mask(known.mask_rle, arrival.width_px, arrival.height_px)
        except ValueError as error:
            raise _BadLabel("bad_mask", str(error)) from error
        return Shape("", known.class_name, mask_rle=known.mask_rle)
    if known.polygon is not None:
        _inside(masks.box_of_polygon(known.polygon), arrival)
        limits = (float(arrival.width_px), float(arrival.height_px))
        cut = (min(max(value, 0.0), limits[at % 2]) for at, value in enumerate(known.polygon))
        return Shape("", known.class_name, polygon=tuple(cut))
    return Shape("", known.class_name, bbox_xyxy=_inside(known.bbox_xyxy, arrival))


def _inside(box: Box | None, arrival: Arrival) -> Box | None:
    """Return the box, cut to the image where it sticks out by no more than rounding."""
    if box is None:
        return None
    x_min, y_min, x_max, y_max = box
    width, height = float(arrival.width_px), float(arrival.height_px)
    sticks_out_px = max(-x_min, -y_min, x_max - width, y_max - height)
    cut = max(x_min, 0.0), max(y_min, 0.0), min(x_max, width), min(y_max, height)
    if sticks_out_px > EDGE_TOLERANCE_PX or cut[0] >= cut[2] or cut[1] >= cut[3]:
        detail = f"{list(box)} is not inside {arrival.width_px} x {arrival.height_px} pixels"
        raise _BadLabel("outside_image", detail)
    return cut


def _classes(items: Sequence[Item]) -> tuple[str, ...]:
    return tuple(sorted({shape.class_name for item in items for shape in item.shapes}))


class _BadLabel(Rejected):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
