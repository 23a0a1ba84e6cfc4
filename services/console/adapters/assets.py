"""Images and thumbnails for browsers, which may keep them for ever: a digest never changes."""

from __future__ import annotations

from functools import partial

from fastapi import Response

from loopline.digests import is_digest
from loopline.errors import Rejected
from loopline.store.objects import Area, ObjectStore
from loopline.vision.headers import read_header
from services.console.adapters.thumbnails import Thumbnails

FOR_EVER = "private, max-age=31536000, immutable"
SIZES_PX = (32, 64, 96, 128, 192, 256, 384, 512)
"""Sizes that thumbnails are made in: the next larger one is given."""
MEDIA_TYPES = frozenset(f"image/{name}" for name in ("jpeg", "png", "webp", "bmp", "tiff", "gif"))


class Assets:
    """Reads images.

    Args:
        objects: Where they are.
        thumbnails: Makes them small.
    """

    def __init__(self, objects: ObjectStore, thumbnails: Thumbnails) -> None:
        self._objects = objects
        self._thumbnails = thumbnails

    async def image(self, digest: str, known: str) -> Response:
        """Return an image as it was imported; nothing if the browser has it."""
        tag = f'"{digest}"'
        if known == tag:
            return Response(status_code=304, headers=_headers(tag))
        data = await self._read(digest)
        return Response(data, media_type=media_type_of(data), headers=_headers(tag))

    async def thumbnail(self, digest: str, side_px: int, known: str) -> Response:
        """Return a thumbnail; nothing if the browser has it."""
        side_px = next((size for size in SIZES_PX if size >= side_px), SIZES_PX[-1])
        tag = f'"{digest}-{side_px}"'
        if known == tag:
            return Response(status_code=304, headers=_headers(tag))
        data = await self._thumbnails.known(digest, side_px)
        if data is None:
            data = await self._thumbnails.make(digest, side_px, partial(self._read, digest))
        return Response(data, media_type="image/webp", headers=_headers(tag))

    async def _read(self, digest: str) -> bytes:
        if not is_digest(digest):
            raise Rejected(f"{digest!r} is not the digest of an asset")
        return await self._objects.get(Area.ASSETS, digest)


def media_type_of(data: bytes) -> str:
    """Return the type of an image; never one that a browser would run."""
    try:
        found = read_header(data).media_type
    except Rejected:
        return "application/octet-stream"
    return found if found in MEDIA_TYPES else "application/octet-stream"


def _headers(tag: str) -> dict[str, str]:
    return {
        "cache-control": FOR_EVER,
        "etag": tag,
        "x-content-type-options": "nosniff",
        # Opened by itself, an image must not run anything, whatever it says it is.
        "content-security-policy": "default-src 'none'; sandbox",
    }
