"""Rows for tests: numbered assets, and items about them."""

from __future__ import annotations

from typing import Any

from loopline.digests import sha256_hex
from loopline.store.items import Item
from loopline.store.shapes import Shape


def asset(number: int) -> str:
    """Return the digest that stands for the asset of a number."""
    return sha256_hex(f"asset {number}".encode())


def item(number: int, **fields: Any) -> Item:  # of any field
    """Return an item about `asset(number)`; fields that are not given have plain values."""
    plain: dict[str, Any] = {
        "asset": asset(number),
        "media_type": "image/png",
        "size_bytes": 1000 + number,
        "width_px": 28,
        "height_px": 28,
        "source": f"s3://customer/photos/{number}.png",
    }
    return Item(**plain | fields)


def labeled(number: int, class_name: str, split: str = "train", **fields: Any) -> Item:  # as above
    """Return an item that carries one class."""
    shapes = (Shape(id="1", class_name=class_name, source="labeler:anna"),)
    return item(number, **{"split": split, "labeled": True, "shapes": shapes} | fields)
