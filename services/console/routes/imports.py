"""Bringing images in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Path, Request

from loopline.access import Scope
from services.console.bodies.imports import (
    ConnectionsOut,
    FileOut,
    ImportIn,
    ImportOut,
    ImportsOut,
    UploadOut,
)
from services.console.routes.parameters import Id, Limit
from services.console.routes.registry import Current, Registry

if TYPE_CHECKING:
    from services.console.adapters.imports import ImportDesk

TAG = "imports"
FilePath = Annotated[str, Path(min_length=1, max_length=1024)]


class ImportRoutes:
    """Images, by upload or from a bucket."""

    def __init__(self, desk: ImportDesk) -> None:
        self._desk = desk

    def register(self, registry: Registry) -> None:
        """Add the routes."""
        add, one = registry.add, "/imports/uploads/{id}"
        add("GET", "/imports", self.get_imports, Scope.READ, tag=TAG)
        add("POST", "/imports", self.post_import, Scope.OPERATE, tag=TAG, status=202)
        add("GET", "/imports/connections", self.get_connections, Scope.OPERATE, tag=TAG)
        add("POST", "/imports/uploads", self.post_upload, Scope.OPERATE, tag=TAG, status=201)
        add("GET", one, self.get_upload, Scope.OPERATE, tag=TAG)
        add("DELETE", one, self.delete_upload, Scope.OPERATE, tag=TAG, status=204)
        add("PUT", f"{one}/files/{{path:path}}", self.put_file, Scope.OPERATE, tag=TAG)

    async def get_imports(self, limit: Limit = 50) -> ImportsOut:
        """List imports with their progress."""
        return await self._desk.imports(limit)

    async def post_import(self, body: ImportIn, caller: Current) -> ImportOut:
        """Import the files of an upload, or of a customer's bucket, into a dataset."""
        return await self._desk.begin(body, caller)

    async def get_connections(self) -> ConnectionsOut:
        """List customers' storage that imports may come from."""
        return await self._desk.connections()

    async def post_upload(self, caller: Current) -> UploadOut:
        """Begin an upload: put its files, then import it."""
        return await self._desk.open_upload(caller)

    async def get_upload(self, id: Id) -> UploadOut:
        """Tell what arrived of an upload."""
        return await self._desk.upload(id)

    async def delete_upload(self, id: Id) -> None:
        """Give an upload up, and remove its files."""
        await self._desk.remove_upload(id)

    async def put_file(self, id: Id, path: FilePath, request: Request) -> FileOut:
        """Store one file of an upload; the body is its bytes, the same path replaces it."""
        return await self._desk.put_file(id, path, request)
