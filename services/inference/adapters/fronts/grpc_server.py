"""The gRPC front: the Open Inference Protocol, the typed RPC, health and reflection on one port.

A thin layer over the data plane, on grpcio's threaded server: with enough threads it equals or
beats grpc.aio, and inference neither waits for the service's event loop nor holds it up. ModelInfer
goes in and out as bytes, so another front can stand beside this one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from loopline.errors import LooplineError
from services.inference.adapters.control_plane import ControlPlane
from services.inference.adapters.data_plane import DataPlane
from services.inference.adapters.fronts.call_threads import CallThreads
from services.inference.adapters.fronts.calls import Calls
from services.inference.adapters.fronts.gate import Gate
from services.inference.adapters.fronts.oip_servicer import oip_handlers, predict_handlers
from services.inference.adapters.fronts.streaming import StreamLimits, Streams
from services.inference.adapters.fronts.tls import TlsFiles
from services.inference.domain.admission import Limits

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

OIP_SERVICE: Final = "inference.GRPCInferenceService"
PREDICT_SERVICE: Final = "loopline.contracts.inference.v1.PredictService"
PENDING_PER_THREAD: Final = 4  # calls that may wait for a thread, before new ones are refused
KEEPALIVE_MS: Final = 60_000
KEEPALIVE_TIMEOUT_MS: Final = 20_000
HANDSHAKE_MS: Final = 10_000
METADATA_MAX_BYTES: Final = 16 * 1024  # of headers: a token has at most 8 KiB
CALLS_PER_CONNECTION: Final = 1_024


@dataclass(frozen=True, slots=True)
class GrpcOptions:
    """How the front listens.

    Args:
        host: The address to bind.
        port: The port; 0 lets the system choose.
        threads: Calls handled at once.
        connections: Connections at once.
        message_bytes: The largest message taken or given.
        tls: Certificate and key, and whose clients' certificates are good; None for plain text.
        streams: The bounds of streams.
    """

    host: str = "127.0.0.1"
    port: int = 0
    threads: int = 64
    connections: int = 1_024
    message_bytes: int = 64 * 1024 * 1024
    tls: TlsFiles | None = None
    streams: StreamLimits = field(default_factory=StreamLimits)


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
        self._threads = CallThreads(options.threads)
        self._streams = Streams(plane, gate.quotas, options.streams)
        self._server = grpc.server(
            cast("ThreadPoolExecutor", self._threads),  # `submit` is all that it uses
            options=_channel_options(options),
            maximum_concurrent_rpcs=options.threads * (1 + PENDING_PER_THREAD),
        )
        shows_identities = options.tls is not None and options.tls.client_ca is not None
        calls = Calls(gate, limits, shows_identities=shows_identities)
        services = {
            OIP_SERVICE: oip_handlers(calls, control, plane, self._streams),
            PREDICT_SERVICE: predict_handlers(calls, plane),
        }
        self._server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(*each) for each in services.items())
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
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
        stopped = self._server.stop(drain_s)
        self._streams.close()
        stopped.wait()
        self._threads.shutdown()


def _channel_options(options: GrpcOptions) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", options.message_bytes),
        ("grpc.max_send_message_length", options.message_bytes),
        ("grpc.max_allowed_incoming_connections", options.connections),
        ("grpc.max_metadata_size", METADATA_MAX_BYTES),
        ("grpc.max_concurrent_streams", CALLS_PER_CONNECTION),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        # A client whose machine is gone is noticed; one that is there but idle may stay.
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.so_reuseport", 0),  # a port that is taken must fail, not share its calls
    ]


def _bind(server: grpc.Server, options: GrpcOptions) -> int:
    address = f"{options.host}:{options.port}"
    try:
        if options.tls is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, options.tls.grpc_credentials())
    except RuntimeError as error:
        raise LooplineError(f"gRPC cannot listen on {address}: {error}", address=address) from error
