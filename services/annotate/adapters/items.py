"""The items of a job as rows: position, image size, and the prediction that is shown.

A cache of immutable objects under the digest of the job's specification: it is filled once, never
changed, and may be emptied at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Index,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    and_,
    select,
)

from loopline.store.database import insert_rows, writer
from loopline.store.items import Item, Prediction, Shape
from services.annotate.adapters import board
from services.annotate.adapters.database import in_database
from services.annotate.domain.shapes import shape_content, shape_from_content

ROWS_AT_ONCE = 2_000

metadata = MetaData()
_items = Table(
    "annotate_items",
    metadata,
    Column("specification", String(64), primary_key=True),
    Column("asset", String(64), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("width_px", BigInteger, nullable=False),
    Column("height_px", BigInteger, nullable=False),
    Column("media_type", String, nullable=False),
    Column("predicted", Text),
)
Index("annotate_items_position", _items.c.specification, _items.c.position)
_filled = Table(
    "annotate_items_filled",
    metadata,
    Column("specification", String(64), primary_key=True),
)

ItemState = Literal["todo", "submitted"]


@dataclass(frozen=True, slots=True)
class JobItem:
    """One item of a job.

    Attributes:
        asset: Digest of its image.
        position: Its place in the order to label, from 0.
        predicted: The shapes shown; None if nothing was predicted for it.
    """

    asset: str
    position: int
    width_px: int
    height_px: int
    media_type: str
    predicted: tuple[Shape, ...] | None


@dataclass(frozen=True, slots=True)
class Labels:
    """The last submission for one item, as its labeler made it."""

    labeler: str
    version: int
    digest: str
    shapes: tuple[Shape, ...]
    spent_s: float
    submitted_at: str


class ItemRows:
    """Fills and reads the items of jobs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = writer(engine)

    async def open(self) -> None:
        """Make the tables if they are not there."""
        await in_database(metadata.create_all, self._engine)

    async def is_filled(self, specification: str) -> bool:
        """Tell whether the items under this specification digest are there."""
        return await in_database(self._is_filled, specification)

    async def fill(
        self,
        specification: str,
        assets: Sequence[str],
        items: Mapping[str, Item],
        predictions: Mapping[str, Prediction],
    ) -> None:
        """Keep the items of a job; does nothing if they are there.

        Args:
            specification: Digest of the job's specification.
            assets: In the order to label.
            items: Of every asset.
            predictions: Of those that have one.
        """
        await in_database(self._fill, specification, assets, items, predictions)

    async def get(self, specification: str, assets: Sequence[str]) -> dict[str, JobItem]:
        """Return those of `assets` that are in the job, by asset."""
        return await in_database(self._get, specification, assets)

    async def page(
        self, job: str, specification: str, *, state: ItemState | None, after: int, limit: int
    ) -> list[tuple[JobItem, Labels | None]]:
        """Return items behind position `after` (-1 from the start) in order, with their labels."""
        return await in_database(self._page, job, specification, state, after, limit)

    def _is_filled(self, specification: str) -> bool:
        found = select(_filled).where(_filled.c.specification == specification)
        with self._engine.connect() as connection:
            return connection.execute(found).first() is not None

    def _fill(
        self,
        specification: str,
        assets: Sequence[str],
        items: Mapping[str, Item],
        predictions: Mapping[str, Prediction],
    ) -> None:
        rows = [
            _row(specification, position, items[asset], predictions.get(asset))
            for position, asset in enumerate(assets)
        ]
        with self._writer.begin() as connection:
            for batch in _batches(rows):
                insert_rows(connection, _items, batch, on_conflict="keep")
            insert_rows(connection, _filled, [{"specification": specification}], on_conflict="keep")

    def _get(self, specification: str, assets: Sequence[str]) -> dict[str, JobItem]:
        found = select(_items).where(
            _items.c.specification == specification, _items.c.asset.in_(list(assets))
        )
        with self._engine.connect() as connection:
            rows = connection.execute(found).mappings()
            return {row["asset"]: _item_of(row) for row in rows}

    def _page(
        self, job: str, specification: str, state: ItemState | None, after: int, limit: int
    ) -> list[tuple[JobItem, Labels | None]]:
        said = board.submissions.c
        of_item = and_(said.job == job, said.asset == _items.c.asset)
        columns = (said.labeler, said.version, said.digest, said.shapes, said.spent_s)
        found = (
            select(_items, *columns, said.submitted_at)
            .outerjoin_from(_items, board.submissions, of_item)
            .where(_items.c.specification == specification, _items.c.position > after)
        )
        if state is not None:
            found = found.where(
                said.version.is_(None) if state == "todo" else said.version.is_not(None)
            )
        with self._engine.connect() as connection:
            rows = connection.execute(found.order_by(_items.c.position).limit(limit)).mappings()
            return [(_item_of(row), _labels_of(row)) for row in rows]


def _row(
    specification: str, position: int, item: Item, prediction: Prediction | None
) -> dict[str, Any]:
    predicted = None
    if prediction is not None:
        predicted = orjson.dumps([shape_content(shape) for shape in prediction.shapes]).decode()
    return {
        "specification": specification,
        "asset": item.asset,
        "position": position,
        "width_px": item.width_px,
        "height_px": item.height_px,
        "media_type": item.media_type,
        "predicted": predicted,
    }


def _batches(rows: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[start : start + ROWS_AT_ONCE]


def _item_of(row: RowMapping) -> JobItem:
    return JobItem(
        asset=row["asset"],
        position=row["position"],
        width_px=row["width_px"],
        height_px=row["height_px"],
        media_type=row["media_type"],
        predicted=None if row["predicted"] is None else _shapes(row["predicted"]),
    )


def _labels_of(row: RowMapping) -> Labels | None:
    if row["version"] is None:
        return None
    return Labels(
        labeler=row["labeler"],
        version=row["version"],
        digest=row["digest"],
        shapes=_shapes(row["shapes"]),
        spent_s=row["spent_s"],
        submitted_at=row["submitted_at"],
    )


def _shapes(text: str) -> tuple[Shape, ...]:
    return tuple(shape_from_content(content) for content in orjson.loads(text))
