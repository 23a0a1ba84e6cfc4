"""What a training begins with, where that is a file: found, fetched and named among its inputs."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final

from loopline.contracts import ArtefactKind, ArtefactRef, ModelCommitted, catalog
from loopline.digests import sha256_hex
from loopline.errors import NotFound, Rejected
from loopline.store.commits import CommitLog, Committed
from loopline.store.objects import Area, ObjectStore
from services.trainer.adapters.files import write_whole
from services.trainer.adapters.messages import InitialWeights, in_role

WEIGHTS_FILE: Final = "weights.safetensors"
ROLE: Final = "initial_weights"
FILE: Final = "file:"
OBJECT: Final = "object:"
_VERSION: Final = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9_-]*)@(v(?P<version>\d+)|(?P<alias>[a-z0-9_-]+))"
)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class WeightFiles:
    """Finds weights in the log, in storage, and in a folder of this machine.

    Args:
        log: Where model versions are.
        objects: Storage.
        folder: Files that people put on this machine.
    """

    def __init__(self, log: CommitLog, objects: ObjectStore, folder: Path) -> None:
        self._log = log
        self._objects = objects
        self._folder = folder

    async def find(self, source: str) -> InitialWeights:
        """Return what the parameter `initial_weights` names.

        Raises:
            NotFound: There is no such version or file.
            Rejected: It is not written as it should be.
        """
        if source.startswith(FILE):
            return await asyncio.to_thread(self._file, source)
        if source.startswith(OBJECT):
            return _object(source)
        if match := _VERSION.fullmatch(source):
            found = await self._version(match["name"], match["version"], match["alias"])
            return _of_version(found)
        return InitialWeights(source)  # a recipe's own: a package, the library's hub, or none

    async def bring(self, weights: InitialWeights, folder: Path) -> Path | None:
        """Bring the file to a folder; return where it is, None if there is none to bring."""
        if not weights.digest:
            return weights.path
        data = await self._objects.get(Area.MODELS, weights.digest)
        path = folder / f"initial-{WEIGHTS_FILE}"
        await asyncio.to_thread(write_whole, path, data)
        return path

    def _file(self, source: str) -> InitialWeights:
        path = (self._folder / source.removeprefix(FILE)).resolve()
        if not path.is_relative_to(self._folder.resolve()) or not path.is_file():
            raise NotFound(f"initial_weights: there is no {source!r} in {self._folder}")
        ref = ArtefactRef(
            kind=ArtefactKind.ARTEFACT_KIND_SOURCE,
            name=source,
            digest=sha256_hex(path.read_bytes()),
            role=ROLE,
        )
        return InitialWeights(source, (ref,), path=path)

    async def _version(
        self, name: str, version: str | None, alias: str | None
    ) -> Committed[ModelCommitted]:
        ref = ArtefactRef(name=name, version=int(version or 0))
        if alias:
            head = await self._log.head(catalog.ALIAS_MOVED, model=name, alias=alias)
            if head is None:
                raise NotFound(f"initial_weights: the model {name!r} has no alias {alias!r}")
            ref = head.message.target
        return await self._log.version(catalog.MODEL_COMMITTED, ref, name=name)


def _object(source: str) -> InitialWeights:
    digest = source.removeprefix(OBJECT)
    if not _DIGEST.fullmatch(digest):
        raise Rejected(f"initial_weights: {source!r} is not 'object:' and 64 hex digits")
    ref = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_REPORT, digest=digest, role=ROLE)
    return InitialWeights(source, (ref,), digest)


def _of_version(model: Committed[ModelCommitted]) -> InitialWeights:
    for file in model.message.files:
        if file.name == WEIGHTS_FILE:
            parameter = f"{model.ref.name}@v{model.ref.version}"
            return InitialWeights(parameter, (in_role(model.ref, ROLE),), file.digest)
    raise NotFound(f"initial_weights: {model.ref.name}@v{model.ref.version} has no {WEIGHTS_FILE}")
