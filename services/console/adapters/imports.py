"""Brings images in: uploads to a bucket of their own, and imports from there or from a customer's.

What is uploaded is in storage under the upload's id, and nowhere else: the files are the state, so
that any console process can go on with what another one began.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from typing import IO
from uuid import uuid4

import structlog
from fastapi import Request

from loopline.access import Caller
from loopline.clock import Clock
from loopline.contracts import BucketLocation, ImportImages, ImportRules, catalog
from loopline.errors import LooplineError, NotFound, Rejected
from loopline.store.blobs import BlobInfo, BlobStore
from services.console.adapters.commands import Commands
from services.console.adapters.people import iso
from services.console.adapters.runs import RunDesk
from services.console.adapters.sdk import actor_of
from services.console.bodies.imports import (
    ConnectionsOut,
    FileOut,
    ImportIn,
    ImportOut,
    ImportsOut,
    RulesIn,
    UploadOut,
)
from services.console.settings import ConsoleSettings

log = structlog.get_logger()

AT_ONCE = 8  # files on their way to storage
SPOOLED_BYTES = 1024**2  # of a file in memory; the rest waits on disk
SWEEP_EVERY_S = 600.0
MARKER = ".upload"
"""The first object of an upload: says that it was begun."""
_ID = re.compile(r"[0-9a-f]{32}")


class ImportDesk:
    """Uploads and imports.

    Args:
        settings: The console's.
        bucket: Where uploads go; None if people cannot upload here.
        commands: Sends the command.
        runs: Tells of imports.
        clock: Time.
    """

    def __init__(
        self,
        settings: ConsoleSettings,
        bucket: BlobStore | None,
        commands: Commands,
        runs: RunDesk,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._bucket = bucket
        self._commands = commands
        self._runs = runs
        self._clock = clock
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._sizes: dict[str, dict[str, int]] = {}  # upload -> path -> bytes, of those known here
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to remove what was left lying."""
        if self._bucket is not None:
            self._sweeping = asyncio.create_task(self._sweep(), name="sweep uploads")

    async def stop(self) -> None:
        """Stop."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def imports(self, limit: int) -> ImportsOut:
        """Return imports, the last first."""
        found = await self._runs.runs(frozenset({"import"}), "", "", "", "", limit)
        return ImportsOut(imports=found.runs)

    async def connections(self) -> ConnectionsOut:
        """Return where imports may come from."""
        names = list(self._settings.connection_names)
        return ConnectionsOut(connections=names, can_upload=self._bucket is not None)

    async def begin(self, body: ImportIn, caller: Caller) -> ImportOut:
        """Send the command.

        Raises:
            Rejected: It names both an upload and a bucket, or neither.
            NotFound: There is no such upload.
        """
        if (body.source is None) == (not body.upload):
            raise Rejected("an import is of an upload or of a bucket: give one of them")
        labels_key = body.labels_key
        if body.source is not None:
            source = BucketLocation(**body.source.model_dump())
        else:
            await self.upload(body.upload)
            labels_key = f"{_prefix(body.upload)}{labels_key}" if labels_key else ""
            source = BucketLocation(
                connection=self._settings.uploads_connection,
                bucket=self._settings.uploads_bucket,
                prefix=_prefix(body.upload),
            )
        command = ImportImages(
            dataset=body.dataset,
            source=source,
            labels_key=labels_key,
            rules=_rules(body.rules),
            classes=body.classes,
            actor=actor_of(caller),
        )
        sent = await self._commands.send(catalog.IMPORT_IMAGES, command, body.pool)
        return ImportOut(command_id=sent.command_id, dataset=body.dataset, run=None)

    async def open_upload(self, caller: Caller) -> UploadOut:
        """Begin an upload."""
        id_ = uuid4().hex
        marker = f"{caller.name} {iso(self._clock.now())}".encode()
        await asyncio.to_thread(self._storage().put, f"{_marker(id_)}", marker)
        self._sizes[id_] = {}
        return self._out(id_, self._sizes[id_])

    async def upload(self, id_: str) -> UploadOut:
        """Return what arrived; NotFound if there is no such upload."""
        return self._out(id_, await self._arrived(id_))

    async def remove_upload(self, id_: str) -> None:
        """Remove an upload and its files."""
        await self._arrived(id_)
        await asyncio.to_thread(self._remove, id_)
        self._sizes.pop(id_, None)

    async def put_file(self, id_: str, path: str, request: Request) -> FileOut:
        """Store one file.

        Raises:
            Rejected: It is too large, or one too many, or its name cannot be.
        """
        check_path(path)
        arrived = await self._arrived(id_)
        limit = self._settings.upload_file_max_bytes
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            raise Rejected(f"{path}: {announced} bytes; a file may have {limit}")
        if path not in arrived and len(arrived) >= self._settings.upload_files_max:
            raise Rejected(f"an upload may have {self._settings.upload_files_max} files")
        async with self._slots:
            with tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as file:
                size_bytes = await self._received(request, file, path, limit)
                others = sum(arrived.values()) - arrived.get(path, 0)
                if others + size_bytes > self._settings.upload_max_bytes:
                    raise Rejected(
                        f"an upload may have {self._settings.upload_max_bytes} bytes in all"
                    )
                file.seek(0)
                data = await asyncio.to_thread(file.read)
            await asyncio.to_thread(self._storage().put, f"{_prefix(id_)}{path}", data)
        arrived[path] = size_bytes
        return FileOut(path=path, size_bytes=size_bytes)

    async def _received(self, request: Request, file: IO[bytes], path: str, limit: int) -> int:
        size_bytes = 0
        async for part in request.stream():
            size_bytes += len(part)
            if size_bytes > limit:
                raise Rejected(f"{path}: more than the {limit} bytes that a file may have")
            file.write(part)
        return size_bytes

    async def _arrived(self, id_: str) -> dict[str, int]:
        if not _ID.fullmatch(id_):
            raise NotFound(f"there is no upload {id_!r}")
        if id_ not in self._sizes:
            found = await asyncio.to_thread(lambda: list(self._objects(id_)))
            if await asyncio.to_thread(self._storage().stat, _marker(id_)) is None:
                raise NotFound(f"there is no upload {id_!r}")
            prefix = _prefix(id_)
            self._sizes[id_] = {i.key.removeprefix(prefix): i.size_bytes for i in found}
        return self._sizes[id_]

    def _out(self, id_: str, arrived: dict[str, int]) -> UploadOut:
        ends_at = self._clock.now() + timedelta(seconds=self._settings.upload_lifetime_s)
        return UploadOut(
            id=id_,
            files=len(arrived),
            size_bytes=sum(arrived.values()),
            files_max=self._settings.upload_files_max,
            file_size_max_bytes=self._settings.upload_file_max_bytes,
            size_max_bytes=self._settings.upload_max_bytes,
            expires_at=iso(ends_at),
        )

    def _storage(self) -> BlobStore:
        if self._bucket is None:
            raise Rejected("files cannot be uploaded here: no bucket for uploads is configured")
        return self._bucket

    def _objects(self, id_: str) -> Iterator[BlobInfo]:
        return self._storage().list(_prefix(id_))

    def _remove(self, id_: str) -> None:
        for info in list(self._objects(id_)):
            self._storage().delete(info.key)
        self._storage().delete(_marker(id_))

    async def _sweep(self) -> None:
        """Remove uploads that are too old: what was imported is in assets by then."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            try:
                await asyncio.to_thread(self._sweep_once)
            except LooplineError as error:
                log.warning("uploads_not_swept", reason=error.message)

    def _sweep_once(self) -> None:
        oldest = self._clock.now() - timedelta(seconds=self._settings.upload_lifetime_s)
        for marker in list(self._storage().list(f"{MARKER}/")):
            if marker.modified_at < oldest:
                id_ = marker.key.rpartition("/")[2]
                self._remove(id_)
                self._sizes.pop(id_, None)


def check_path(path: str) -> None:
    """Refuse a file's path that is none.

    Raises:
        Rejected: It is absolute, has empty parts or dots, or characters that nobody sees.
    """
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or not path.isprintable():
        raise Rejected(f"{path!r} is not the path of a file")
    if len(path.encode()) > 900:  # keys of S3 have 1024 bytes
        raise Rejected("the path of the file is too long")


def _prefix(id_: str) -> str:
    return f"{id_}/"


def _marker(id_: str) -> str:
    return f"{MARKER}/{id_}"


def _rules(body: RulesIn) -> ImportRules:
    given = {name: value for name, value in body.model_dump().items() if value is not None}
    return ImportRules(**given)
