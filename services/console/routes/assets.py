"""Images and thumbnails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Query, Request, Response

from loopline.access import Scope
from services.console.routes.parameters import Digest
from services.console.routes.registry import Registry

if TYPE_CHECKING:
    from services.console.adapters.assets import Assets

TAG = "assets"
SIDE_MAX_PX = 512


class AssetRoutes:
    """Bytes of images: they never change, so a browser may keep them."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets

    def register(self, registry: Registry) -> None:
        """Add the routes."""
        add, one = registry.add, "/assets/{digest}"
        add("GET", one, self.get_asset, Scope.READ, tag=TAG, raw="image/*")
        add("GET", f"{one}/thumbnail", self.get_thumbnail, Scope.READ, tag=TAG, raw="image/webp")

    async def get_asset(self, digest: Digest, request: Request) -> Response:
        """Return an image as it was imported."""
        return await self._assets.image(digest, request.headers.get("if-none-match", ""))

    async def get_thumbnail(
        self,
        digest: Digest,
        request: Request,
        size: Annotated[int, Query(ge=16, le=SIDE_MAX_PX, description="Longer side, px.")] = 128,
    ) -> Response:
        """Return an image made small, upright."""
        known = request.headers.get("if-none-match", "")
        return await self._assets.thumbnail(digest, size, known)
