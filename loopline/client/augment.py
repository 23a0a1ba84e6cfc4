"""`client.augment`: augmented copies of a dataset's items, looked at or committed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.struct_pb2 import Struct

from loopline.client.datasets import DatasetVerbs
from loopline.client.session import CommandResult, Session
from loopline.contracts import AugmentDataset, catalog
from loopline.contracts.catalog import DEFAULT_POOL
from loopline.errors import NotFound, Rejected
from loopline.names import validate_name
from loopline.store.items import Item
from loopline.store.objects import Area

PREVIEWED_MAX = 50  # items of one sheet


class AugmentVerbs:
    """What can be done before training that training could also do as it goes."""

    def __init__(self, session: Session, datasets: DatasetVerbs) -> None:
        self._session = session
        self._datasets = datasets

    async def run(
        self,
        dataset: str,
        source: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        copies: int = 1,
        seed: int = 0,
        split: str = "train",
        wait: bool = True,
        pool: str = DEFAULT_POOL,
    ) -> CommandResult:
        """Commit a dataset of another one's items and of augmented copies of some.

        Args:
            dataset: The dataset to commit to; made if it is not there.
            source: The version that is copied: NAME, NAME@v3 or NAME@TAG.
            parameters: What may happen to an image (`loopline.vision.draws.Augmentation`).
            copies: Of each item.
            seed: Same seed, same copies.
            split: Whose labeled items are copied.
            wait: Return when the run has ended, else as soon as the command is stored.
            pool: Whose workers take it.

        Raises:
            Rejected: The command was refused.
            RunFailed: There is nothing to copy, or a parameter is wrong.
        """
        given = Struct()
        given.update(dict(parameters or {}))
        command = AugmentDataset(
            dataset=validate_name("dataset", dataset),
            source=(await self._datasets.get(source)).ref,
            parameters=given,
            copies=copies,
            seed=seed,
            split=split,
            actor=self._session.actor,
        )
        return await self._session.command(catalog.AUGMENT_DATASET, command, wait=wait, pool=pool)

    async def preview(
        self,
        source: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        copies: int = 5,
        items: int = 6,
        seed: int = 0,
        split: str = "train",
    ) -> bytes:
        """Return a contact sheet, PNG: some items with their labels, and copies of each.

        The copies are those that `run` would make with the same parameters and seed.

        Args:
            source: NAME, NAME@v3 or NAME@TAG.
            parameters: What may happen to an image.
            copies: Of each item.
            items: How many; the labeled ones of the split, spread over it.
            seed: Of every draw.
            split: Whose items are shown.

        Raises:
            Rejected: A parameter is wrong or unknown.
            NotFound: There is no such version, or nothing is labeled in it.
        """
        version = await self._datasets.get(source)
        chosen = [
            item
            async for item in self._datasets.items(source)
            if item.labeled and item.split == split
        ]
        if not chosen:
            raise NotFound(f"{source} has no labeled items in split {split!r}")
        step = max(1, len(chosen) // min(items, PREVIEWED_MAX))
        shown = chosen[::step][: min(items, PREVIEWED_MAX)]
        blobs = await self._session.objects.get_many(Area.ASSETS, [item.asset for item in shown])
        pairs = list(zip(shown, blobs, strict=True))
        classes = tuple(version.message.classes)
        return await asyncio.to_thread(_sheet, pairs, classes, dict(parameters or {}), copies, seed)


def _sheet(
    shown: Sequence[tuple[Item, bytes]],
    classes: Sequence[str],
    given: dict[str, Any],
    copies: int,
    seed: int,
) -> bytes:
    from pydantic import ValidationError

    # OpenCV is not part of the base install.
    from loopline.vision.augmentation import Augmentation
    from loopline.vision.drawing import contact_sheet, drawn, png
    from loopline.vision.images import decode
    from loopline.vision.moved import change_of, moved_shapes

    try:
        parameters = Augmentation.model_validate(given)
    except ValidationError as error:
        named = "; ".join(f"{'.'.join(map(str, e['loc']))!r}: {e['msg']}" for e in error.errors())
        raise Rejected(f"parameters: {named}") from error
    rows = []
    for item, data in shown:
        image = decode(data, 3)
        row = [(item.asset[:12], drawn(image, item.shapes, classes))]
        for copy in range(copies):
            change = change_of(parameters, item.asset, copy, seed, image)
            after = drawn(change.image(image), moved_shapes(item.shapes, change), classes)
            row.append((f"copy {copy + 1}", after))
        rows.append(row)
    return png(contact_sheet(rows))
