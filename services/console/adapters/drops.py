"""What imports dropped, and why, with a picture of it and of what a duplicate repeats."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import Counter, OrderedDict
from contextlib import aclosing
from typing import Any
from urllib.parse import quote, urlsplit

import cv2
import numpy as np
import orjson

from loopline.contracts import ArtefactKind, DatasetCommitted
from loopline.digests import is_digest
from loopline.errors import NotFound
from loopline.store.commits import Committed
from loopline.store.datasets import Datasets
from loopline.store.objects import Area, ObjectStore
from loopline.vision.perceptual import THUMBPRINT_SIDE_PX
from services.console.bodies.datasets import DropOut, DropsOut

DROP_REPORT = "drop_report"
REPORTS_KEPT = 4

DatasetVersion = Committed[DatasetCommitted]


class Drops:
    """The drop reports of imports.

    Args:
        datasets: Opens trees.
        objects: Where reports are.
        scan_items_max: Items that are looked at for what duplicates repeat.
    """

    def __init__(self, datasets: Datasets, objects: ObjectStore, scan_items_max: int) -> None:
        self._datasets = datasets
        self._objects = objects
        self._scan_items_max = scan_items_max
        self._reports: OrderedDict[str, dict[str, Any]] = OrderedDict()

    async def page(
        self, committed: DatasetVersion, reason: str, cursor: str, limit: int
    ) -> DropsOut:
        """Return a page of what the import that made a version dropped.

        Raises:
            NotFound: No import made it.
        """
        digest = drop_report(committed)
        if not digest:
            raise NotFound(
                f"{committed.ref.name} v{committed.ref.version} was not made by an import",
                dataset=committed.ref.name,
            )
        report = await self._report(digest)
        drops = [drop for drop in report["drops"] if reason in ("", drop["reason"])]
        start = int(cursor) if cursor.isdecimal() else 0
        shown = drops[start : start + limit]
        assets = await self._repeated(committed, report["source"], shown)
        return DropsOut(
            run=f"run:{report['run']}",
            source=report["source"],
            counts=dict(Counter(drop["reason"] for drop in report["drops"]).most_common()),
            drops=[_drop_out(drop, report["source"], assets) for drop in shown],
            next_cursor=str(start + limit) if start + limit < len(drops) else None,
            rejected_labels=len(report.get("labels", ())),
        )

    async def _report(self, digest: str) -> dict[str, Any]:
        if digest not in self._reports:
            self._reports[digest] = orjson.loads(await self._objects.get(Area.REPORTS, digest))
            if len(self._reports) > REPORTS_KEPT:
                self._reports.popitem(last=False)
        return self._reports[digest]

    async def _repeated(
        self, committed: DatasetVersion, source: str, drops: list[dict[str, Any]]
    ) -> dict[str, str]:
        """Return the assets that duplicates repeat, by the key that the report names."""
        keys = {d["repeats"] for d in drops if d.get("repeats") and not is_digest(d["repeats"])}
        wanted = {_uri(source, key): key for key in keys}
        found: dict[str, str] = {}
        if not wanted:
            return found
        tree, looked = await self._datasets.tree(committed), 0
        async with aclosing(tree.batches(["asset", "source"])) as shards:
            async for shard in shards:
                pairs = zip(
                    shard.column("asset").to_pylist(), shard.column("source").to_pylist(),
                    strict=True,
                )  # fmt: skip
                found |= {wanted[uri]: asset for asset, uri in pairs if uri in wanted}
                looked += shard.num_rows
                if len(found) == len(wanted) or looked >= self._scan_items_max:
                    break
        return found


def drop_report(committed: DatasetVersion) -> str:
    """Return the digest of the drop report of the import that made a version; "" if none did."""
    for ref in committed.commit.run.outputs:
        if ref.kind == ArtefactKind.ARTEFACT_KIND_REPORT and ref.role == DROP_REPORT:
            return str(ref.digest)
    return ""


def _uri(source: str, key: str) -> str:
    """Return the URI of an object beside those of an import's source."""
    parts = urlsplit(source)
    bucket = parts.path.lstrip("/").partition("/")[0]
    return f"{parts.scheme}://{parts.netloc}/{bucket}/{quote(key)}"


def _drop_out(drop: dict[str, Any], source: str, assets: dict[str, str]) -> DropOut:
    repeats = drop.get("repeats", "")
    asset = repeats if is_digest(repeats) else assets.get(repeats, "")
    return DropOut(
        key=drop["key"],
        uri=_uri(source, drop["key"]),
        reason=drop["reason"],
        detail=drop.get("detail", ""),
        repeats=repeats,
        asset=asset,
        thumbnail_url=f"/api/assets/{asset}/thumbnail" if asset else "",
        picture=_picture(drop.get("picture", "")),
    )


def _picture(thumbprint: str) -> str:
    """Return the thumbprint of a report as an image that a browser shows."""
    try:
        grey = np.frombuffer(b64decode(thumbprint), np.uint8)
    except ValueError:
        return ""
    if grey.size != THUMBPRINT_SIDE_PX**2:
        return ""
    encoded = cv2.imencode(".png", grey.reshape(THUMBPRINT_SIDE_PX, -1))[1]
    return f"data:image/png;base64,{b64encode(encoded.tobytes()).decode()}"
