"""The gRPC front: the Open Inference Protocol, the typed RPC, health and reflection on one port.

A thin servicer over the data plane, on grpcio's threaded server: with enough threads it equals or
beats grpc.aio, and inference neither waits for the service's event loop nor holds it up. ModelInfer
goes in and out as bytes, so another front can stand beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar, cast

import grpc
import structlog
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from loopline import tracing
from loopline.contracts.inference.v1 import predict_pb2
from loopline.contracts.oip.v2 import model_config_pb2, repository_pb2, service_pb2, statistics_pb2
from loopline.errors import LooplineError, NotFound, Rejected, Transient
from services.inference.adapters import call_traces, oip
from services.inference.adapters.data_plane import DataPlane
from services.inference.adapters.repository import ModelRepository
from services.inference.adapters.servable import Servable
from services.inference.domain.admission import Exhausted, Limits

OIP_SERVICE: Final = "inference.GRPCInferenceService"
PREDICT_SERVICE: Final = "loopline.contracts.inference.v1.PredictService"
PENDING_PER_THREAD: Final = 4  # calls that may wait for a thread, before new ones are refused

log = structlog.get_logger()
Q = TypeVar("Q")
R = TypeVar("R")
Call = Callable[[Any, grpc.ServicerContext], Message]


@dataclass(frozen=True, slots=True)
class GrpcOptions:
    """How the front listens.

    Args:
        host: The address to bind.
        port: The port; 0 lets the system choose.
        threads: Calls handled at once.
        message_bytes: The largest message taken or given.
    """

    host: str = "127.0.0.1"
    port: int = 0
    threads: int = 64
    message_bytes: int = 64 * 1024 * 1024


class GrpcServer:
    """Serves until it is stopped.

    Args:
        plane: Answers.
        repository: What is there.
        limits: Told in configurations; its timeout holds where a client set none.
        options: How to listen.

    Raises:
        LooplineError: The port is taken.
    """

    def __init__(
        self, plane: DataPlane, repository: ModelRepository, limits: Limits, options: GrpcOptions
    ) -> None:
        self._health = health.HealthServicer()
        self._threads = ThreadPoolExecutor(options.threads, thread_name_prefix="grpc")
        self._server = grpc.server(
            self._threads,
            options=[
                ("grpc.max_receive_message_length", options.message_bytes),
                ("grpc.max_send_message_length", options.message_bytes),
                ("grpc.so_reuseport", 0),  # a port that is taken must fail, not share its calls
            ],
            maximum_concurrent_rpcs=options.threads * (1 + PENDING_PER_THREAD),
        )
        servicer = OipServicer(plane, repository, limits)
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(OIP_SERVICE, servicer.handlers()),
                grpc.method_handlers_generic_handler(
                    PREDICT_SERVICE, _predict_handlers(plane, limits)
                ),
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (OIP_SERVICE, PREDICT_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self.port = _bind(self._server, options)

    def start(self) -> None:
        """Take calls."""
        self._server.start()
        for name in ("", OIP_SERVICE, PREDICT_SERVICE):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def stop(self, drain_s: float) -> None:
        """Take no new calls, let those that run finish for `drain_s`. Blocks."""
        self._health.enter_graceful_shutdown()
        self._server.stop(drain_s).wait()
        self._threads.shutdown(wait=False, cancel_futures=True)


class OipServicer:
    """Every RPC of the Open Inference Protocol that is served."""

    def __init__(self, plane: DataPlane, repository: ModelRepository, limits: Limits) -> None:
        self._plane = plane
        self._repository = repository
        self._limits = limits

    def handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """Return the method handlers by name."""
        messages: dict[str, tuple[Call, type[Message]]] = {
            "ServerLive": (self.server_live, service_pb2.ServerLiveRequest),
            "ServerReady": (self.server_ready, service_pb2.ServerReadyRequest),
            "ServerMetadata": (self.server_metadata, service_pb2.ServerMetadataRequest),
            "ModelReady": (self.model_ready, service_pb2.ModelReadyRequest),
            "ModelMetadata": (self.model_metadata, service_pb2.ModelMetadataRequest),
            "ModelConfig": (self.model_config, model_config_pb2.ModelConfigRequest),
            "ModelStatistics": (self.model_statistics, statistics_pb2.ModelStatisticsRequest),
            "RepositoryIndex": (self.repository_index, repository_pb2.RepositoryIndexRequest),
        }
        handlers = {
            name: _handler(name, call, request) for name, (call, request) in messages.items()
        }
        # Without a deserializer the bytes come as they are.
        infer = _answering("ModelInfer", self.model_infer)
        handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(infer)
        return handlers

    def server_live(self, _: Message, __: grpc.ServicerContext) -> service_pb2.ServerLiveResponse:
        """Is the process alive?"""
        return service_pb2.ServerLiveResponse(live=True)

    def server_ready(self, _: Message, __: grpc.ServicerContext) -> service_pb2.ServerReadyResponse:
        """Can it take requests? It listens once the champions known at start were looked at."""
        return service_pb2.ServerReadyResponse(ready=True)

    def server_metadata(
        self, _: Message, __: grpc.ServicerContext
    ) -> service_pb2.ServerMetadataResponse:
        """What the server is."""
        return oip.server_metadata()

    def model_ready(
        self, request: service_pb2.ModelReadyRequest, _: grpc.ServicerContext
    ) -> service_pb2.ModelReadyResponse:
        """Is a model version loaded? Asking does not load it."""
        try:
            key = self._repository.resolve(request.name, request.version)
        except (NotFound, Transient):
            return service_pb2.ModelReadyResponse(ready=False)
        return service_pb2.ModelReadyResponse(ready=self._repository.resident(key) is not None)

    def model_metadata(
        self, request: service_pb2.ModelMetadataRequest, _: grpc.ServicerContext
    ) -> service_pb2.ModelMetadataResponse:
        """Inputs and outputs of a model version; loads it if need be."""
        servable = self._repository.find(request.name, request.version)
        name = servable.model.name
        versions = [s.model.version for s in self._repository.loaded() if s.model.name == name]
        return oip.model_metadata(servable, versions)

    def model_config(
        self, request: model_config_pb2.ModelConfigRequest, _: grpc.ServicerContext
    ) -> model_config_pb2.ModelConfigResponse:
        """How a model version is served; loads it if need be."""
        servable = self._repository.find(request.name, request.version)
        return oip.model_config(servable, self._limits.batch_images)

    def model_statistics(
        self, request: statistics_pb2.ModelStatisticsRequest, _: grpc.ServicerContext
    ) -> statistics_pb2.ModelStatisticsResponse:
        """What loaded model versions did."""
        return oip.statistics(self._selected(request.name, request.version))

    def repository_index(
        self, request: repository_pb2.RepositoryIndexRequest, _: grpc.ServicerContext
    ) -> repository_pb2.RepositoryIndexResponse:
        """Which model versions there are, and in which state."""
        if request.repository_name:
            raise NotFound(
                f"there is no repository {request.repository_name!r}: the only one has no name"
            )
        entries = self._repository.index()
        return oip.repository_index([e for e in entries if e.state == "READY" or not request.ready])

    def model_infer(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        """Run a model version on a batch: bytes in, bytes out."""
        timeout_s = _timeout_s(context, self._limits)
        ticket = self._plane.submit(data)
        context.add_callback(ticket.cancel)  # a client that went away frees its place
        return ticket.result(timeout_s)

    def _selected(self, name: str, version: str) -> Sequence[Servable]:
        loaded = self._repository.loaded()
        if not name:
            return loaded
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


def status_of(error: Exception) -> grpc.StatusCode:
    """Return the gRPC status that says what kind of error it is."""
    kinds = (
        (Exhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (NotFound, grpc.StatusCode.NOT_FOUND),
        (Rejected, grpc.StatusCode.INVALID_ARGUMENT),
        (Transient, grpc.StatusCode.UNAVAILABLE),
        (TimeoutError, grpc.StatusCode.DEADLINE_EXCEEDED),
        (CancelledError, grpc.StatusCode.CANCELLED),
    )
    for kind, status in kinds:
        if isinstance(error, kind):
            return status
    return grpc.StatusCode.INTERNAL


def _bind(server: grpc.Server, options: GrpcOptions) -> int:
    address = f"{options.host}:{options.port}"
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise LooplineError(f"gRPC cannot listen on {address}: {error}", address=address) from error


def _predict_handlers(
    plane: DataPlane, limits: Limits
) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    def predict(
        request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        return plane.predict(request, _timeout_s(context, limits))

    return {"Predict": _handler("Predict", predict, predict_pb2.PredictRequest)}


def _handler(name: str, call: Call, request: type[Message]) -> grpc.RpcMethodHandler[Any, Any]:
    return grpc.unary_unary_rpc_method_handler(
        _answering(name, call),
        request_deserializer=request.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )


def _answering(
    name: str, call: Callable[[Q, grpc.ServicerContext], R]
) -> Callable[[Q, grpc.ServicerContext], R]:
    """Return `call` in a span of the caller's trace, its errors turned into gRPC statuses."""

    def answer(request: Q, context: grpc.ServicerContext) -> R:
        metadata = {
            key: value for key, value in context.invocation_metadata() if isinstance(value, str)
        }
        with call_traces.serving(name, metadata) as span:
            try:
                return call(request, context)
            except (LooplineError, TimeoutError, CancelledError) as error:
                status, reason = status_of(error), _reason(error)
            except Exception as error:  # a bug of ours answers, too
                log.exception("call_failed", rpc=name)
                status, reason = grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
            tracing.failed(span, reason)
        _abort(context, status, reason)

    return answer


def _abort(context: grpc.ServicerContext, status: grpc.StatusCode, reason: str) -> NoReturn:
    """End the call. It raises, so it stays out of the span, where that would be an exception."""
    context.abort(status, reason)
    raise AssertionError("unreachable")


def _timeout_s(context: grpc.ServicerContext, limits: Limits) -> float:
    remaining_s = cast("float | None", context.time_remaining())  # none without a deadline
    return (
        limits.request_timeout_s
        if remaining_s is None
        else min(remaining_s, limits.request_timeout_s)
    )


def _reason(error: Exception) -> str:
    if isinstance(error, LooplineError):
        return error.message
    if isinstance(error, TimeoutError):
        return "the answer did not come in time"
    return "the client cancelled the call"
