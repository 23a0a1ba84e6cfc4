"""Augmented copies of a dataset's items, as items of another dataset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from pydantic import ValidationError

from loopline import tracing
from loopline.clock import Clock
from loopline.contracts import (
    Actor,
    Agent,
    AugmentDataset,
    DatasetCommitted,
    Environment,
    Run,
    RunKind,
)
from loopline.digests import sha256_hex
from loopline.errors import Rejected
from loopline.names import validate_name
from loopline.store import runs
from loopline.store.commits import Committed, timestamp
from loopline.store.datasets import Change, Datasets
from loopline.store.items import Item
from loopline.store.objects import Area, ObjectStore
from loopline.vision.augmentation import Augmentation
from loopline.vision.headers import read_header
from loopline.vision.images import UInt8Image, decode
from loopline.vision.moved import change_of, moved_shapes
from loopline.vision.perceptual import perceptual_hashes, stack
from services.ingest.adapters.decoding import look_at

COPIES_MAX: Final = 100
RUN_COPIES_MAX: Final = 100_000  # a run is one piece of work: half an hour of a core at 512 px
AT_ONCE: Final = 16  # items in memory
JPEG_QUALITY: Final = 95
TAG: Final = "augmented"
TRAIN: Final = "train"

Told = Callable[[int, int], Awaitable[None]]
"""Told how many items are done, of how many."""


@dataclass(frozen=True, slots=True)
class Request:
    """An augmentation that was asked for.

    Args:
        dataset: Where copies go.
        source: What is copied.
        parameters: What may happen.
        copies: Of each item.
        seed: Of every draw.
        split: Whose labeled items are copied.
    """

    dataset: str
    source: Committed[DatasetCommitted]
    parameters: Augmentation
    copies: int
    seed: int
    split: str

    @property
    def decisive(self) -> dict[str, Any]:
        """What the copies depend on beside the source and the code, as JSON."""
        return {
            "dataset": self.dataset,
            "augmentation": self.parameters.model_dump(mode="json"),
            "copies": self.copies,
            "seed": self.seed,
            "split": self.split,
        }


def request_of(command: AugmentDataset, source: Committed[DatasetCommitted]) -> Request:
    """Return a command with its defaults.

    Raises:
        Rejected: A parameter is wrong or unknown, or the dataset is the one that is read.
    """
    validate_name("dataset", command.dataset)
    if command.dataset == source.ref.name:
        raise Rejected(
            f"copies of {source.ref.name!r} go to another dataset, so that it stays what it is",
            dataset=command.dataset,
        )
    if command.copies > COPIES_MAX:
        raise Rejected(f"at most {COPIES_MAX} copies are made of an item, not {command.copies}")
    try:
        parameters = Augmentation.model_validate(runs.plain(command.parameters))
    except ValidationError as error:
        named = "; ".join(f"{'.'.join(map(str, e['loc']))!r}: {e['msg']}" for e in error.errors())
        raise Rejected(f"parameters: {named}") from error
    if parameters.mosaic:
        raise Rejected("parameters: 'mosaic' joins images, and a copy has one parent")
    return Request(
        command.dataset,
        source,
        parameters,
        command.copies or 1,
        command.seed,
        command.split or TRAIN,
    )


class Augmenting:
    """Makes copies and commits them.

    Args:
        datasets: Where items are read and committed.
        objects: Where images are.
        environment: What this process runs on.
        agent: This process.
        clock: Time.
    """

    def __init__(
        self,
        datasets: Datasets,
        objects: ObjectStore,
        *,
        environment: Environment,
        agent: Agent,
        clock: Clock,
    ) -> None:
        self._datasets = datasets
        self._objects = objects
        self._environment = environment
        self._agent = agent
        self._clock = clock

    def run_of(self, request: Request, actor: Actor) -> Run:
        """Return the run: equal for equal source, parameters and code."""
        ref = request.source.ref
        ref.role = "source"
        return runs.new_run(
            RunKind.RUN_KIND_AUGMENT,
            inputs=[ref],
            parameters=request.decisive,
            actor=actor,
            agent=self._agent,
            environment=self._environment,
            clock=self._clock,
            trace_id=tracing.current_trace_id(),
        )

    async def commit(self, request: Request, run: Run, told: Told) -> Committed[DatasetCommitted]:
        """Make the copies, then commit them with the items they were made of.

        Raises:
            Rejected: There is nothing to copy.
        """
        tree = await self._datasets.tree(request.source)
        items = [item async for item in tree.rows()]
        chosen = [item for item in items if item.labeled and item.split == request.split]
        if not chosen:
            raise Rejected(
                f"{request.source.ref.name}@v{request.source.ref.version} has no labeled items in "
                f"split {request.split!r}"
            )
        if len(chosen) * request.copies > RUN_COPIES_MAX:
            raise Rejected(
                f"{len(chosen)} labeled items of split {request.split!r} times {request.copies} "
                f"are more than the {RUN_COPIES_MAX} copies of one run; a training's own "
                "augmentation has no such limit"
            )
        copies: list[Item] = []
        async for some in self._copies(request, chosen, run.id):
            copies += some
            await told(len(copies) // request.copies, len(chosen))
        run.figures.update({"items": float(len(items)), "copies": float(len(copies))})
        run.finished_at.CopyFrom(timestamp(self._clock))
        summary = f"{len(copies)} augmented copies of {len(chosen)} items"
        classes = list(request.source.message.classes)
        wanted = {item.asset: item for item in [*copies, *items]}

        async def change(head: Committed[DatasetCommitted] | None) -> Change:
            before = await self._datasets.tree(head) if head else None
            there = set() if before is None else {row.asset async for row in before.rows(["asset"])}
            gone = sorted(there - wanted.keys())
            return Change(run, summary, list(wanted.values()), gone, classes)

        return await self._datasets.commit_decided(request.dataset, change)

    async def _copies(
        self, request: Request, items: list[Item], run_id: str
    ) -> AsyncIterator[list[Item]]:
        for start in range(0, len(items), AT_ONCE):
            some = items[start : start + AT_ONCE]
            blobs = await self._objects.get_many(Area.ASSETS, [item.asset for item in some])
            made = await asyncio.gather(
                *(
                    asyncio.to_thread(copies_of, item, data, request, run_id)
                    for item, data in zip(some, blobs, strict=True)
                )
            )
            found = [copy for of_item in made for copy in of_item]
            await self._objects.put_many(Area.ASSETS, [data for _, data in found])
            yield [item for item, _ in found]


def copies_of(item: Item, data: bytes, request: Request, run_id: str) -> list[tuple[Item, bytes]]:
    """Return an item's copies, with their images' bytes; equal for equal arguments."""
    image = _as_it_is(data)
    found = []
    for copy in range(request.copies):
        change = change_of(request.parameters, item.asset, copy, request.seed, image)
        encoded = _encoded(change.image(image), item.media_type)
        header = read_header(encoded)
        look = look_at(encoded, header)
        shapes = moved_shapes(item.shapes, change)
        made = replace(
            item,
            asset=sha256_hex(encoded),
            media_type=header.media_type,
            size_bytes=len(encoded),
            width_px=look.width_px,
            height_px=look.height_px,
            tags=tuple(sorted({*item.tags, TAG})),
            phash=int(perceptual_hashes(stack([look.thumbprint]))[0]),
            thumbprint=look.thumbprint,
            shapes=tuple(replace(shape, source=f"augment:{run_id}") for shape in shapes),
            parent=item.asset,
        )
        found.append((made, encoded))
    return found


def _as_it_is(data: bytes) -> UInt8Image:
    """Decode to RGB, or to grey where there is no colour."""
    image = decode(data, 3)
    is_grey = (image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all()
    return np.ascontiguousarray(image[..., :1]) if is_grey else image


def _encoded(image: UInt8Image, media_type: str) -> bytes:
    """Encode as JPEG what was one, and losslessly what was not."""
    stored = image if image.shape[2] == 1 else image[..., ::-1]
    if media_type == "image/jpeg":
        ok, data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    else:
        ok, data = cv2.imencode(".png", stored)
    assert ok
    return bytes(data)
