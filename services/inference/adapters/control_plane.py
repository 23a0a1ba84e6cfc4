"""Everything a client may ask beside inference: what is there, load, unload, statistics, regions.

Free of any transport: the gRPC and the REST front both call it. Its answers are the protocol's own
messages, which the REST front writes as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from loopline.access import Scope
from loopline.contracts.oip.v2 import (
    model_config_pb2,
    repository_pb2,
    service_pb2,
    shared_memory_pb2,
    statistics_pb2,
)
from loopline.errors import Forbidden, NotFound, Rejected, Transient
from services.inference.adapters.fronts.gate import Visitor
from services.inference.adapters.models.repository import ModelRepository
from services.inference.adapters.models.servable import Served
from services.inference.adapters.pipelines import Pipeline, Pipelines
from services.inference.adapters.protocol import oip_descriptions
from services.inference.adapters.protocol.shared_memory import SharedMemory
from services.inference.domain.admission import Limits

MemoryFor = Literal["local", "all", "none"]


class NotServed(Rejected):
    """The protocol has it, this server has not."""


class ControlPlane:
    """Answers what is not inference.

    Args:
        repository: What is there.
        limits: Told in configurations.
        memory: The regions of shared memory.
        memory_for: Who may register regions: clients on this machine, all, or none.
        pipelines: Told beside the models; None for none.
    """

    def __init__(
        self,
        repository: ModelRepository,
        limits: Limits,
        memory: SharedMemory,
        memory_for: MemoryFor = "local",
        pipelines: Pipelines | None = None,
    ) -> None:
        self._pipelines = pipelines
        self._repository = repository
        self._limits = limits
        self._memory = memory
        self._memory_for = memory_for

    def model_ready(self, visitor: Visitor, name: str, version: str) -> bool:
        """Tell whether a model version is loaded; asking does not load it."""
        visitor.must_predict(name)
        pipeline = self._pipeline(name, version)
        if pipeline is not None:
            return not self._unready(pipeline)
        try:
            key = self._repository.resolve(name, version)
        except (NotFound, Transient):
            return False
        return self._repository.resident(key) is not None

    def model_metadata(
        self, visitor: Visitor, name: str, version: str
    ) -> service_pb2.ModelMetadataResponse:
        """Return inputs and outputs of a model version; loads it if need be."""
        visitor.must_predict(name)
        pipeline = self._pipeline(name, version)
        if pipeline is not None:
            return oip_descriptions.pipeline_metadata(pipeline)
        servable = self._repository.find(name, version)
        loaded = self._repository.loaded()
        versions = [s.model.version for s in loaded if s.model.name == name]
        return oip_descriptions.model_metadata(servable, versions)

    def model_config(
        self, visitor: Visitor, name: str, version: str
    ) -> model_config_pb2.ModelConfigResponse:
        """Return how a model version is served; loads it if need be."""
        visitor.must_predict(name)
        pipeline = self._pipeline(name, version)
        if pipeline is not None:
            return oip_descriptions.pipeline_config(pipeline, self._limits.batch_images)
        servable = self._repository.find(name, version)
        return oip_descriptions.model_config(servable, self._limits.batch_images)

    def statistics(
        self, visitor: Visitor, name: str = "", version: str = ""
    ) -> statistics_pb2.ModelStatisticsResponse:
        """Return what loaded model versions did: one, all of a model, or all that may be asked."""
        if name:
            visitor.must_predict(name)
            pipeline = self._pipeline(name, version)
            selected = self._selected(name, version) if pipeline is None else [pipeline]
            return oip_descriptions.statistics(selected)
        pipelines = self._pipelines.all() if self._pipelines is not None else []
        served: list[Served] = [*self._repository.loaded(), *pipelines]
        return oip_descriptions.statistics(
            [one for one in served if _may_see(visitor, one.model.name)]
        )

    def index(
        self, visitor: Visitor, repository: str = "", *, ready: bool = False
    ) -> repository_pb2.RepositoryIndexResponse:
        """Return which model versions there are, and in which state, of those that may be asked."""
        _check_repository(repository)
        pipelines = self._pipelines.entries() if self._pipelines is not None else []
        known = (*self._repository.index(), *pipelines)
        entries = [e for e in known if _may_see(visitor, e.key.model)]
        wanted = [e for e in entries if e.state == "READY" or not ready]
        return oip_descriptions.repository_index(wanted)

    def load(
        self, visitor: Visitor, name: str, repository: str = "", parameters: Iterable[str] = ()
    ) -> None:
        """Load a model's champion, and serve it again where it was unloaded.

        Raises:
            Forbidden: The visitor may not operate.
            NotFound: There is no such model.
            Rejected: It comes with parameters: what a version is was committed.
            Transient: It cannot be loaded now.
        """
        visitor.caller.require(Scope.OPERATE)
        _check_repository(repository)
        for parameter in parameters:
            raise Rejected(
                f"parameter {parameter!r}: a version's files and configuration are those that were "
                "committed; commit another version instead"
            )
        self._repository.load_model(name)

    def unload(self, visitor: Visitor, name: str, repository: str = "") -> None:
        """Let a model's versions go, and refuse it until it is loaded or an alias of it moves.

        Raises:
            Forbidden: The visitor may not operate.
            NotFound: No alias of that model is known here and no version is loaded.
        """
        visitor.caller.require(Scope.OPERATE)
        _check_repository(repository)
        self._repository.unload_model(name)

    def register_memory(
        self, visitor: Visitor, name: str, key: str, offset: int, byte_size: int
    ) -> None:
        """Register a region of system shared memory.

        Raises:
            Forbidden: The visitor is not on this machine, or may ask no model.
            NotServed: The setting says so.
            Rejected: See `SharedMemory.register`.
        """
        if self._memory_for == "none":
            raise NotServed("shared memory is not served here")
        if self._memory_for == "local" and not visitor.is_local:
            raise Forbidden("shared memory is for clients on this machine")
        if not any(scope.startswith("predict:") for scope in visitor.caller.scopes):
            raise Forbidden(f"{visitor.caller.name} may ask no model")
        self._memory.register(visitor.owner, name, key, offset, byte_size)

    def unregister_memory(self, visitor: Visitor, name: str = "") -> None:
        """Forget a region of the visitor's, or all."""
        self._memory.unregister(visitor.owner, name)

    def memory_status(
        self, visitor: Visitor, name: str = ""
    ) -> shared_memory_pb2.SystemSharedMemoryStatusResponse:
        """Return the visitor's regions, or one; NotFound if there is none of that name."""
        response = shared_memory_pb2.SystemSharedMemoryStatusResponse()
        for region in self._memory.status(visitor.owner, name):
            found = response.regions[region.name]
            found.name, found.key = region.name, region.key
            found.offset, found.byte_size = region.offset, region.byte_size
        return response

    def _pipeline(self, name: str, version: str) -> Pipeline | None:
        return None if self._pipelines is None else self._pipelines.find(name, version)

    def _unready(self, pipeline: Pipeline) -> str:
        return "" if self._pipelines is None else self._pipelines.unready(pipeline)

    def _selected(self, name: str, version: str) -> Sequence[Served]:
        loaded = self._repository.loaded()
        if version:
            key = self._repository.resolve(name, version)
            found = [s for s in loaded if s.model.key == key]
        else:
            found = [s for s in loaded if s.model.name == name]
        if not found:
            raise NotFound(
                f"no version of model {name!r} like {version or 'any'!r} is loaded", model=name
            )
        return found


def _may_see(visitor: Visitor, model: str) -> bool:
    return visitor.caller.may(Scope.READ) or visitor.caller.may(f"predict:{model}")


def _check_repository(name: str) -> None:
    if name:
        raise NotFound(f"there is no repository {name!r}: the only one has no name")
