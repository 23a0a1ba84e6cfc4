"""What is trained on: which items of a dataset version play which part, and what is refused.

Splits are those of the dataset version. Where it has no validation split, a part of the training
split is set
aside: stratified by class, chosen by the hash of the asset, so that the same items are set aside
again as the dataset grows.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from loopline.errors import Rejected

TRAIN: Final = "train"
VALIDATION: Final = "val"
TEST: Final = "test"


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is known of an image or of a part of it; no geometry means the whole image.

    Coordinates are pixels of the decoded image.
    """

    class_name: str
    bbox_xyxy: tuple[float, float, float, float] | None = None
    polygon: tuple[float, ...] | None = None
    mask_rle: str | None = None

    @property
    def is_whole_image(self) -> bool:
        """Whether it says something of the image, not of a part of it."""
        return self.bbox_xyxy is None and self.polygon is None and self.mask_rle is None


@dataclass(frozen=True, slots=True)
class Example:
    """A labeled image of the dataset version.

    Args:
        asset: sha256 of its encoded bytes, 64 hex digits.
        split: "train", "val" or "test".
        annotations: All that is known of it, rejected annotations left out.
        width_px: Of the decoded image.
        height_px: Of the decoded image.
        size_bytes: Of the encoded image.
        tags: Of the item.
        source: URI it came from.
    """

    asset: str
    split: str
    annotations: tuple[Annotation, ...]
    width_px: int = 0
    height_px: int = 0
    size_bytes: int = 0
    tags: tuple[str, ...] = ()
    source: str = ""

    @property
    def class_names(self) -> frozenset[str]:
        """The classes seen on it."""
        return frozenset(annotation.class_name for annotation in self.annotations)


@dataclass(frozen=True, slots=True)
class Selection:
    """The examples of one training, sorted by asset within each split."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    validation_from_train: bool
    """Whether the validation split was set aside from the training split."""

    def __iter__(self) -> Iterator[Example]:
        yield from self.train
        yield from self.validation
        yield from self.test

    @property
    def size_bytes(self) -> int:
        """Of all encoded images."""
        return sum(example.size_bytes for example in self)


def select(
    examples: Iterable[Example], classes: Sequence[str], validation_share: float, dataset: str
) -> Selection:
    """Choose what is trained on, validated on and tested on.

    Args:
        examples: The labeled items of the dataset version, any order.
        classes: The dataset's classes.
        validation_share: The share of the training split to set aside if there is no validation
            split.
        dataset: Its name for messages: "catalogue@v3".

    Raises:
        Rejected: A split has no labeled items, a class has none to train on, or a label is none of
            the classes.
    """
    by_split: defaultdict[str, list[Example]] = defaultdict(list)
    for example in sorted(examples, key=lambda example: example.asset):
        by_split[example.split].append(example)
    _check_classes(by_split, classes, dataset)
    for split in (TRAIN, TEST):
        if not by_split[split]:
            raise Rejected(f"{dataset} has no labeled items in split {split!r}", dataset=dataset)
    train, validation = by_split[TRAIN], by_split[VALIDATION]
    if validation:
        chosen = Selection(tuple(train), tuple(validation), tuple(by_split[TEST]), False)
    else:
        train, validation = set_aside(train, validation_share)
        chosen = Selection(tuple(train), tuple(validation), tuple(by_split[TEST]), True)
    _check_every_class_is_trained(chosen.train, classes, dataset)
    return chosen


def set_aside(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """Split examples in two: `share` of every class in the second, at least one in the first.

    Whether an item is set aside follows from its hash and those of its class alone.
    """
    strata: defaultdict[tuple[str, ...], list[Example]] = defaultdict(list)
    for example in examples:
        strata[tuple(sorted(example.class_names))].append(example)
    aside: set[str] = set()
    for members in strata.values():
        count = min(math.floor(share * len(members) + 0.5), len(members) - 1)
        aside.update(e.asset for e in sorted(members, key=_lot)[:count])
    kept = [example for example in examples if example.asset not in aside]
    return kept, [replace(e, split=VALIDATION) for e in examples if e.asset in aside]


def _lot(example: Example) -> bytes:
    return hashlib.sha256(b"validation/" + example.asset.encode()).digest()


def _check_classes(
    by_split: dict[str, list[Example]], classes: Sequence[str], dataset: str
) -> None:
    if not classes:
        raise Rejected(f"{dataset} has no classes", dataset=dataset)
    known = set(classes)
    for examples in by_split.values():
        for example in examples:
            for name in sorted(example.class_names - known):
                raise Rejected(
                    f"{dataset}: image {example.asset[:12]} is labeled {name!r}, "
                    "which is none of its classes",
                    dataset=dataset,
                    asset=example.asset,
                )


def _check_every_class_is_trained(
    train: Sequence[Example], classes: Sequence[str], dataset: str
) -> None:
    seen = Counter(name for example in train for name in example.class_names)
    missing = [name for name in classes if not seen[name]]
    if missing:
        names = ", ".join(repr(name) for name in missing)
        raise Rejected(
            f"{dataset} has no labeled items in split 'train' of class {names}", dataset=dataset
        )
