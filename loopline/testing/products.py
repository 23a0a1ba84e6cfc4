"""Real product images of the demo's sample as items of a dataset: for what has to train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from loopline.demo.images import Picture, read_pictures
from loopline.digests import sha256_hex
from loopline.store.items import Item
from loopline.store.shapes import Shape


@dataclass(frozen=True, slots=True)
class Product:
    """A real image of 28x28 grey px, its class and the split it is in."""

    data: bytes
    class_name: str
    split: str

    @property
    def asset(self) -> str:
        """The image's digest."""
        return sha256_hex(self.data)

    def item(self) -> Item:
        """Return the image as a labeled item."""
        return Item(
            asset=self.asset,
            media_type="image/png",
            size_bytes=len(self.data),
            width_px=28,
            height_px=28,
            split=self.split,
            labeled=True,
            shapes=(Shape(id="1", class_name=self.class_name, source="import:test"),),
        )


def products(
    train_per_class: int, test_per_class: int, classes: Sequence[str] | None = None
) -> list[Product]:
    """Return so many images of each class for training and testing, the same ones every time."""
    wanted = {"labeled": ("train", train_per_class), "test": ("test", test_per_class)}
    taken: Counter[tuple[str, str]] = Counter()
    chosen = []
    for picture in _pictures():
        split, count = wanted.get(picture.part, ("", 0))
        key = (picture.class_name, split)
        if taken[key] < count and (classes is None or picture.class_name in classes):
            taken[key] += 1
            chosen.append(Product(picture.data, picture.class_name, split))
    return chosen


@cache
def _pictures() -> tuple[Picture, ...]:
    return tuple(read_pictures())
