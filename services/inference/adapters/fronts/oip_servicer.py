"""Every RPC of the Open Inference Protocol and of Triton's extensions, over the two planes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from loopline.contracts.inference.v1 import predict_pb2
from loopline.contracts.oip.v2 import (
    model_config_pb2,
    repository_pb2,
    service_pb2,
    shared_memory_pb2,
    statistics_pb2,
)
from services.inference.adapters.control_plane import ControlPlane, NotServed
from services.inference.adapters.data_plane import DataPlane
from services.inference.adapters.fronts.calls import Call, Calls, Handler
from services.inference.adapters.fronts.streaming import Streams
from services.inference.adapters.protocol import oip_descriptions
from services.inference.domain.queueing import Hold

Unary = tuple[Callable[[Any, Call], Message], type[Message]]


def oip_handlers(
    calls: Calls, control: ControlPlane, plane: DataPlane, streams: Streams
) -> dict[str, Handler]:
    """Return the handlers of GRPCInferenceService by method."""
    servicer = OipServicer(control, plane)
    handlers = {name: calls.unary(name, *each) for name, each in servicer.unary().items()}
    # These need no token: whoever can reach the port may see that something is there.
    handlers["ServerLive"] = calls.open(
        lambda: service_pb2.ServerLiveResponse(live=True), service_pb2.ServerLiveRequest
    )
    # It listens once the champions known at start were looked at.
    handlers["ServerReady"] = calls.open(
        lambda: service_pb2.ServerReadyResponse(ready=True), service_pb2.ServerReadyRequest
    )
    handlers["ServerMetadata"] = calls.open(
        oip_descriptions.server_metadata, service_pb2.ServerMetadataRequest
    )
    handlers["ModelInfer"] = calls.raw("ModelInfer", servicer.model_infer)
    handlers["ModelStreamInfer"] = calls.raw_stream("ModelStreamInfer", streams.answer)
    return handlers


def predict_handlers(calls: Calls, plane: DataPlane) -> dict[str, Handler]:
    """Return the handlers of PredictService by method."""

    def predict(request: predict_pb2.PredictRequest, call: Call) -> predict_pb2.PredictResponse:
        return plane.predict(request, call.timeout_s, call.visitor)

    return {"Predict": calls.unary("Predict", predict, predict_pb2.PredictRequest)}


class OipServicer:
    """The methods that are not open to everybody."""

    def __init__(self, control: ControlPlane, plane: DataPlane) -> None:
        self._control = control
        self._plane = plane

    def unary(self) -> dict[str, Unary]:
        """Return what answers each method, and what it takes."""
        repository, memory = repository_pb2, shared_memory_pb2
        return {
            "ModelReady": (self.model_ready, service_pb2.ModelReadyRequest),
            "ModelMetadata": (self.model_metadata, service_pb2.ModelMetadataRequest),
            "ModelConfig": (self.model_config, model_config_pb2.ModelConfigRequest),
            "ModelStatistics": (self.statistics, statistics_pb2.ModelStatisticsRequest),
            "RepositoryIndex": (self.index, repository.RepositoryIndexRequest),
            "RepositoryModelLoad": (self.load, repository.RepositoryModelLoadRequest),
            "RepositoryModelUnload": (self.unload, repository.RepositoryModelUnloadRequest),
            "SystemSharedMemoryStatus": (self.memory, memory.SystemSharedMemoryStatusRequest),
            "SystemSharedMemoryRegister": (
                self.register_memory,
                memory.SystemSharedMemoryRegisterRequest,
            ),
            "SystemSharedMemoryUnregister": (
                self.unregister_memory,
                memory.SystemSharedMemoryUnregisterRequest,
            ),
            # Clients clean up CUDA regions without asking whether there are any.
            "CudaSharedMemoryStatus": (
                lambda *_: memory.CudaSharedMemoryStatusResponse(),
                memory.CudaSharedMemoryStatusRequest,
            ),
            "CudaSharedMemoryRegister": (
                self.register_cuda_memory,
                memory.CudaSharedMemoryRegisterRequest,
            ),
            "CudaSharedMemoryUnregister": (
                lambda *_: memory.CudaSharedMemoryUnregisterResponse(),
                memory.CudaSharedMemoryUnregisterRequest,
            ),
        }

    def model_infer(self, data: bytes, call: Call) -> bytes:
        """Run a model version on a batch: bytes in, bytes out."""
        ticket = self._plane.submit(data, call.visitor, hold=Hold.LONG)
        if not call.context.add_callback(ticket.cancel):  # who went away frees its place
            ticket.cancel()
        return ticket.result(call.timeout_s)

    def model_ready(
        self, request: service_pb2.ModelReadyRequest, call: Call
    ) -> service_pb2.ModelReadyResponse:
        """See `ControlPlane.model_ready`."""
        ready = self._control.model_ready(call.visitor, request.name, request.version)
        return service_pb2.ModelReadyResponse(ready=ready)

    def model_metadata(
        self, request: service_pb2.ModelMetadataRequest, call: Call
    ) -> service_pb2.ModelMetadataResponse:
        """See `ControlPlane.model_metadata`."""
        return self._control.model_metadata(call.visitor, request.name, request.version)

    def model_config(
        self, request: model_config_pb2.ModelConfigRequest, call: Call
    ) -> model_config_pb2.ModelConfigResponse:
        """See `ControlPlane.model_config`."""
        return self._control.model_config(call.visitor, request.name, request.version)

    def statistics(
        self, request: statistics_pb2.ModelStatisticsRequest, call: Call
    ) -> statistics_pb2.ModelStatisticsResponse:
        """See `ControlPlane.statistics`."""
        return self._control.statistics(call.visitor, request.name, request.version)

    def index(
        self, request: repository_pb2.RepositoryIndexRequest, call: Call
    ) -> repository_pb2.RepositoryIndexResponse:
        """See `ControlPlane.index`."""
        return self._control.index(call.visitor, request.repository_name, ready=request.ready)

    def load(
        self, request: repository_pb2.RepositoryModelLoadRequest, call: Call
    ) -> repository_pb2.RepositoryModelLoadResponse:
        """See `ControlPlane.load`."""
        self._control.load(
            call.visitor, request.model_name, request.repository_name, request.parameters
        )
        return repository_pb2.RepositoryModelLoadResponse()

    def unload(
        self, request: repository_pb2.RepositoryModelUnloadRequest, call: Call
    ) -> repository_pb2.RepositoryModelUnloadResponse:
        """See `ControlPlane.unload`."""
        self._control.unload(call.visitor, request.model_name, request.repository_name)
        return repository_pb2.RepositoryModelUnloadResponse()

    def memory(
        self, request: shared_memory_pb2.SystemSharedMemoryStatusRequest, call: Call
    ) -> shared_memory_pb2.SystemSharedMemoryStatusResponse:
        """See `ControlPlane.memory_status`."""
        return self._control.memory_status(call.visitor, request.name)

    def register_memory(
        self, request: shared_memory_pb2.SystemSharedMemoryRegisterRequest, call: Call
    ) -> shared_memory_pb2.SystemSharedMemoryRegisterResponse:
        """See `ControlPlane.register_memory`."""
        self._control.register_memory(
            call.visitor, request.name, request.key, request.offset, request.byte_size
        )
        return shared_memory_pb2.SystemSharedMemoryRegisterResponse()

    def unregister_memory(
        self, request: shared_memory_pb2.SystemSharedMemoryUnregisterRequest, call: Call
    ) -> shared_memory_pb2.SystemSharedMemoryUnregisterResponse:
        """See `ControlPlane.unregister_memory`."""
        self._control.unregister_memory(call.visitor, request.name)
        return shared_memory_pb2.SystemSharedMemoryUnregisterResponse()

    def register_cuda_memory(
        self, request: shared_memory_pb2.CudaSharedMemoryRegisterRequest, call: Call
    ) -> Message:
        """Refuse: memory of a GPU is not shared."""
        raise NotServed("CUDA shared memory is not served: use system shared memory")
