"""Datasets: versions, items, differences, drops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import Query

from loopline.access import Scope
from services.console.bodies.datasets import (
    DatasetsOut,
    DiffOut,
    DropsOut,
    FacetsOut,
    ItemOut,
    ItemsOut,
    RestoreIn,
    TagIn,
    VersionOut,
    VersionsOut,
)
from services.console.domain.filters import ItemFilter
from services.console.routes.parameters import Cursor, Digest, Limit, Name, Text, Version
from services.console.routes.registry import Current, Registry

if TYPE_CHECKING:
    from services.console.adapters.datasets import DatasetDesk

TAG = "datasets"
VersionOf = Annotated[int, Query(ge=1, le=2**53)]
Share = Annotated[float | None, Query(ge=0, le=1)]


class DatasetRoutes:
    """What is in the datasets, and what was done to them."""

    def __init__(self, desk: DatasetDesk) -> None:
        self._desk = desk

    def register(self, registry: Registry) -> None:
        """Add the routes."""
        add, one = registry.add, "/datasets/{name}"
        at = f"{one}/versions/{{version}}"
        add("GET", "/datasets", self.get_datasets, Scope.READ, tag=TAG)
        add("GET", f"{one}/versions", self.get_versions, Scope.READ, tag=TAG)
        add("GET", at, self.get_version, Scope.READ, tag=TAG)
        add("GET", f"{at}/items", self.get_items, Scope.READ, tag=TAG)
        add("GET", f"{at}/items/{{asset}}", self.get_item, Scope.READ, tag=TAG)
        add("GET", f"{at}/facets", self.get_facets, Scope.READ, tag=TAG)
        add("GET", f"{at}/drops", self.get_drops, Scope.READ, tag=TAG)
        add("GET", f"{one}/diff", self.get_diff, Scope.READ, tag=TAG)
        add("POST", f"{one}/restore", self.post_restore, Scope.OPERATE, tag=TAG)
        add("POST", f"{one}/tags", self.post_tag, Scope.OPERATE, tag=TAG)

    async def get_datasets(self) -> DatasetsOut:
        """List every dataset."""
        return await self._desk.datasets()

    async def get_versions(self, name: Name) -> VersionsOut:
        """List the versions of a dataset."""
        return await self._desk.versions(name)

    async def get_version(self, name: Name, version: Version) -> VersionOut:
        """Show one version."""
        return await self._desk.version(name, version)

    async def get_items(
        self,
        name: Name,
        version: Version,
        class_name: Annotated[list[str] | None, Query(max_length=100)] = None,
        split: Annotated[list[str] | None, Query(max_length=10)] = None,
        tag: Annotated[list[str] | None, Query(max_length=100)] = None,
        source: Text = "",
        labeled: bool | None = None,
        shape_source: Annotated[
            Literal["", "import", "model", "labeler"], Query(description="Who drew a shape.")
        ] = "",
        score_min: Share = None,
        score_max: Share = None,
        disagreement_min: Share = None,
        predictions: Annotated[
            str, Query(max_length=200, description="NAME@vN; the champion's if empty; none: '-'.")
        ] = "",
        cursor: Cursor = "",
        limit: Limit = 100,
    ) -> ItemsOut:
        """Return a page of the items that match all filters; of several values of one, any."""
        wanted = ItemFilter(
            classes=frozenset(class_name or ()),
            splits=frozenset(split or ()),
            tags=frozenset(tag or ()),
            source=source,
            labeled=labeled,
            shape_source=shape_source,
            score_min=score_min,
            score_max=score_max,
            disagreement_min=disagreement_min,
        )
        return await self._desk.items(name, version, wanted, predictions, cursor, limit)

    async def get_item(
        self, name: Name, version: Version, asset: Digest, predictions: Text = ""
    ) -> ItemOut:
        """Show one item."""
        return await self._desk.item(name, version, asset, predictions)

    async def get_facets(self, name: Name, version: Version) -> FacetsOut:
        """Tell what the items of a version can be filtered by."""
        return await self._desk.facets(name, version)

    async def get_drops(
        self, name: Name, version: Version, reason: Text = "", cursor: Cursor = "",
        limit: Limit = 200,
    ) -> DropsOut:  # fmt: skip
        """Tell what the import that made a version dropped, and why."""
        return await self._desk.drops(name, version, reason, cursor, limit)

    async def get_diff(
        self, name: Name, a: VersionOf, b: VersionOf, cursor: Cursor = "", limit: Limit = 100
    ) -> DiffOut:
        """Tell what was done to version `a` to make it version `b`."""
        return await self._desk.diff(name, a, b, cursor, limit)

    async def post_restore(self, name: Name, body: RestoreIn, caller: Current) -> VersionOut:
        """Bring an earlier version's items back, as the next version."""
        return await self._desk.restore(name, body.version, caller)

    async def post_tag(self, name: Name, body: TagIn, caller: Current) -> VersionOut:
        """Name a version."""
        return await self._desk.tag(name, body.version, body.tag, caller)
