"""The gRPC front: the Open Inference Protocol, the typed RPC, health and reflection on one port.

What answers is the same on either listener: the direct one, which is quicker, or grpcio's.
ModelInfer goes in and out as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.inference.adapters.control_plane import ControlPlane
from services.inference.adapters.data_plane import DataPlane
from services.inference.adapters.fronts.calls import Calls, Handler
from services.inference.adapters.fronts.direct.listener import DirectListener
from services.inference.adapters.fronts.gate import Gate
from services.inference.adapters.fronts.grpc_options import GrpcOptions
from services.inference.adapters.fronts.grpcio_listener import GrpcioListener
from services.inference.adapters.fronts.oip_servicer import oip_handlers, predict_handlers
from services.inference.adapters.fronts.started import StartedInference
from services.inference.adapters.fronts.streaming import Streams
from services.inference.domain.admission import Limits

OIP_SERVICE: Final = "inference.GRPCInferenceService"
PREDICT_SERVICE: Final = "loopline.contracts.inference.v1.PredictService"


class Listener(Protocol):
    """What has a port and takes calls."""

    port: int

    def start(self) -> None:
        """Take calls."""
        ...

    def stop(self, drain_s: float) -> Callable[[], object]:
        """Take no new calls, let those that run finish for `drain_s`; return what waits."""
        ...


class GrpcServer:
    """Serves until it is stopped.

    Args:
        plane: Answers inference.
        control: Answers the rest.
        gate: Who comes in.
        limits: Its timeout holds where a client set none.
        options: How to listen.

    Raises:
        LooplineError: The port is taken, or a file of TLS is not good.
    """

    def __init__(
        self,
        plane: DataPlane,
        control: ControlPlane,
        gate: Gate,
        limits: Limits,
        options: GrpcOptions,
    ) -> None:
        self._gate = gate
        self._health = health.HealthServicer()
        self._streams = Streams(plane, gate.quotas, options.streams)
        shows_identities = options.tls is not None and options.tls.client_ca is not None
        calls = Calls(gate, limits, shows_identities=shows_identities)
        services = _Services()
        services[OIP_SERVICE] = oip_handlers(calls, control, plane, self._streams)
        services[PREDICT_SERVICE] = predict_handlers(calls, plane)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, services)
        server = cast("grpc.Server", services)
        reflection.enable_server_reflection((*services, reflection.SERVICE_NAME), server)
        self._listener: Listener = (
            DirectListener(
                services, {f"/{OIP_SERVICE}/ModelInfer": StartedInference(calls, plane)}, options
            )
            if options.is_direct
            else GrpcioListener(services, options)
        )
        self.port = self._listener.port

    def start(self) -> None:
        """Take calls."""
        self._listener.start()
        for name in ("", OIP_SERVICE, PREDICT_SERVICE):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def stop(self, drain_s: float) -> None:
        """Take no new calls, let those that run finish for `drain_s`. Blocks."""
        self._health.enter_graceful_shutdown()
        wait = self._listener.stop(drain_s)
        self._streams.close()
        wait()


class _Services(dict[str, Mapping[str, Handler]]):
    """The handlers of each service; generated code adds to it as to a server of grpcio."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        self[service] = handlers

    def add_generic_rpc_handlers(self, _: Iterable[object]) -> None:
        """They are the registered ones once more."""
