"""Model versions as the commit log and the object store have them."""

from __future__ import annotations

from loopline.contracts import ArtefactKind, ArtefactRef, ModelCommitted
from loopline.contracts.catalog import MODEL_COMMITTED
from loopline.errors import NotFound, Rejected
from loopline.names import validate_name
from loopline.store.commits import CommitLog
from loopline.store.objects import Area, ObjectStore
from loopline.vision.geometry import STRETCH
from services.inference.domain.model import IMAGE_TASKS, ONNX_FILE, TENSORS, ModelVersion

VERSION_MAX = 2**63 - 1


class CommittedModels:
    """Finds model versions and reads their files."""

    def __init__(self, log: CommitLog, objects: ObjectStore) -> None:
        self._log = log
        self._objects = objects

    async def find(self, name: str, version: int = 0, digest: str = "") -> ModelVersion:
        """Return the version of that number or digest.

        Raises:
            NotFound: There is none.
            Rejected: It is none that can be served.
        """
        try:
            validate_name("model", name)
        except Rejected as error:
            raise NotFound(f"there is no model {name!r}", model=name) from error
        if not 0 <= version <= VERSION_MAX:
            raise NotFound(f"there is no model {name}@v{version}", model=name)
        ref = ArtefactRef(
            kind=ArtefactKind.ARTEFACT_KIND_MODEL, name=name, version=version, digest=digest
        )
        return model_version((await self._log.version(MODEL_COMMITTED, ref, name=name)).message)

    async def onnx(self, model: ModelVersion) -> bytes:
        """Return the version's ONNX file, checked against its digest.

        Raises:
            NotFound: The file is not there.
            Corrupt: Its bytes are not those that were committed.
        """
        return await self._objects.get(Area.MODELS, model.onnx_digest)


def model_version(message: ModelCommitted) -> ModelVersion:
    """Return what a commit says of a model version.

    Raises:
        Rejected: It has no ONNX file, no classes, or a task that cannot be served.
    """
    ref = message.commit.artefact
    name = f"{ref.name}@v{ref.version}"
    if message.task not in (*IMAGE_TASKS, TENSORS):
        tasks = ", ".join((*IMAGE_TASKS, TENSORS))
        raise Rejected(f"{name} is a model for {message.task!r}: served are {tasks}")
    if not message.classes and message.task != TENSORS:
        raise Rejected(f"{name} has no classes")
    for file in message.files:
        if file.name == ONNX_FILE:
            break
    else:
        raise Rejected(f"{name} has no {ONNX_FILE}")
    size = message.preprocessing
    return ModelVersion(
        name=ref.name,
        version=ref.version,
        digest=ref.digest,
        classes=tuple(message.classes),
        height_px=size.height_px,
        width_px=size.width_px,
        channels=size.channels,
        interpolation=size.interpolation,
        onnx_digest=file.digest,
        onnx_size_bytes=file.size_bytes,
        fit=size.fit or STRETCH,
        task=message.task,
    )
