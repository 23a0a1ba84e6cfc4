"""Between rows of annotate's database and the domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from loopline.store.items import Shape
from services.annotate.domain.shapes import shape_content, shape_from_content
from services.annotate.domain.work import ItemState, Result, Said

Row = Mapping[Any, Any]


def plain(row: Row) -> dict[str, Any]:
    """Return a row that can be written again: SQLAlchemy's names are a kind of text of its own."""
    return {str(name): value for name, value in row.items()}


def moment(at: datetime) -> str:
    """Return a moment as rows and answers have it."""
    return at.isoformat(timespec="milliseconds")


def shapes_text(shapes: Sequence[Shape]) -> str:
    """Return shapes as JSON text."""
    return orjson.dumps([shape_content(shape) for shape in shapes]).decode()


def shapes_from(text: str) -> tuple[Shape, ...]:
    """Return the shapes that `shapes_text` wrote."""
    return tuple(shape_from_content(content) for content in orjson.loads(text))


def result_row(job: str, asset: str, result: Result, changed_at: str) -> dict[str, Any]:
    """Return where an item stands as a row."""
    return {
        "job": job,
        "asset": asset,
        "state": result.state.value,
        "round_after": result.round_after,
        "submissions": result.submissions,
        "labelers": orjson.dumps(result.labelers).decode(),
        "version": result.version,
        "digest": result.digest,
        "shapes": shapes_text(result.shapes),
        "tags": orjson.dumps(result.tags).decode(),
        "spent_s": result.spent_s,
        "agreement": result.agreement,
        "reviewer": result.reviewer,
        "comment": result.comment,
        "sequence": result.sequence,
        "changed_at": changed_at,
    }


def result_of(row: Row) -> Result:
    """Return what `result_row` wrote."""
    return Result(
        state=ItemState(row["state"]),
        round_after=row["round_after"],
        submissions=row["submissions"],
        labelers=tuple(orjson.loads(row["labelers"])),
        version=row["version"],
        digest=row["digest"],
        shapes=shapes_from(row["shapes"]),
        tags=tuple(orjson.loads(row["tags"])),
        spent_s=row["spent_s"],
        agreement=row["agreement"],
        reviewer=row["reviewer"],
        comment=row["comment"],
        sequence=row["sequence"],
    )


def said_from(row: Row) -> Said:
    """Return one person's submission."""
    return Said(
        labeler=row["labeler"],
        version=row["version"],
        digest=row["digest"],
        shapes=shapes_from(row["shapes"]),
        tags=tuple(orjson.loads(row["tags"])),
        spent_s=row["spent_s"],
        sequence=row["sequence"],
        by_reviewer=bool(row["by_reviewer"]),
    )
