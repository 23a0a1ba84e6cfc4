"""The gRPC front on grpcio's threaded server.

With enough threads it equals or beats grpc.aio, and inference neither waits for the service's event
loop nor holds it up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, cast

import grpc

from loopline.errors import LooplineError
from services.inference.adapters.fronts.call_threads import CallThreads
from services.inference.adapters.fronts.calls import Handler
from services.inference.adapters.fronts.grpc_options import (
    CALLS_PER_CONNECTION,
    METADATA_MAX_BYTES,
    GrpcOptions,
)

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

KEEPALIVE_MS: Final = 60_000
KEEPALIVE_TIMEOUT_MS: Final = 20_000
HANDSHAKE_MS: Final = 10_000


class GrpcioListener:
    """Serves until it is stopped.

    Args:
        services: The handlers of each service, by method.
        options: How to listen.

    Raises:
        LooplineError: The port is taken, or a file of TLS is not good.
    """

    def __init__(self, services: Mapping[str, Mapping[str, Handler]], options: GrpcOptions) -> None:
        self._threads = CallThreads(options.threads)
        self._server = grpc.server(
            cast("ThreadPoolExecutor", self._threads),  # `submit` is all that it uses
            options=_channel_options(options),
            maximum_concurrent_rpcs=options.calls,
        )
        self._server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(service, dict(handlers))
                for service, handlers in services.items()
            )
        )
        self.port = _bind(self._server, options)

    def start(self) -> None:
        """Take calls."""
        self._server.start()

    def stop(self, drain_s: float) -> Callable[[], object]:
        """Take no new calls, let those that run finish for `drain_s`; return what waits."""
        stopped = self._server.stop(drain_s)

        def wait() -> None:
            stopped.wait()
            self._threads.shutdown()

        return wait


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
