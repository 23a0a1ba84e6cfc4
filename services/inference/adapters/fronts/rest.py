"""The REST front: the protocol over HTTP/1.1, beside gRPC and over the same two planes.

It has a thread and an event loop of its own, so that neither inference nor the service's own work
waits for the other. What blocks (loading a model, reading megabytes of JSON) runs in a bounded
pool.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import uvicorn
import uvloop

from loopline.errors import LooplineError
from services.inference.adapters.control_plane import ControlPlane
from services.inference.adapters.data_plane import DataPlane
from services.inference.adapters.fronts.gate import Gate
from services.inference.adapters.fronts.ports import bound
from services.inference.adapters.fronts.rest_app import RestApp
from services.inference.adapters.fronts.tls import TlsFiles
from services.inference.adapters.protocol.rest_protocol import (
    BoundedProtocol,
    ConnectionBounds,
    sweep,
)
from services.inference.domain.admission import Limits

START_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class RestOptions:
    """How the front listens.

    Args:
        host: The address to bind.
        port: The port; 0 lets the system choose.
        threads: Requests read, started and written at once.
        connections: Connections at once.
        message_bytes: The largest body, before and after decompression.
        tls: Certificate and key, and whose clients' certificates are good; None for plain text.
        idle_s: A connection on which nothing moves for this long is closed.
    """

    host: str = "127.0.0.1"
    port: int = 0
    threads: int = 16
    connections: int = 1_024
    message_bytes: int = 64 * 1024 * 1024
    tls: TlsFiles | None = None
    idle_s: float = 75.0


class RestServer:
    """Serves until it is stopped.

    Args:
        plane: Answers inference.
        control: Answers the rest.
        gate: Who comes in.
        limits: How long a request may take.
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
        options: RestOptions,
    ) -> None:
        self._socket = bound("REST", options.host, options.port)
        self.port: int = self._socket.getsockname()[1]
        self._pool = ThreadPoolExecutor(options.threads, thread_name_prefix="rest")
        app = RestApp(plane, control, gate, self._pool, limits, options.message_bytes)
        bounds = ConnectionBounds(
            options.connections, options.idle_s, stall_s=limits.request_timeout_s
        )
        config = uvicorn.Config(
            app,
            http=partial(BoundedProtocol, bounds=bounds),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=int(options.idle_s),
        )
        config.load()
        self._tls = options.tls
        config.ssl = options.tls.ssl_context() if options.tls is not None else None
        self._server = uvicorn.Server(config)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rest", daemon=True)

    def start(self) -> None:
        """Take requests. Blocks until they are answered."""
        self._thread.start()
        if not self._started.wait(START_TIMEOUT_S):
            raise LooplineError("the REST front did not start", port=self.port)

    def stop(self, drain_s: float) -> None:
        """Take no new requests, let those that run finish for `drain_s`. Blocks."""
        self._server.config.timeout_graceful_shutdown = max(1, int(drain_s))
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(drain_s + START_TIMEOUT_S)
        self._socket.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        beside = [asyncio.create_task(sweep(self._server.server_state.connections))]
        context = self._server.config.ssl
        if self._tls is not None and context is not None:
            beside.append(asyncio.create_task(self._tls.keep_fresh(context)))
        serving = asyncio.create_task(self._server._serve([self._socket]))
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.005)
        self._started.set()
        try:
            await serving
        finally:
            for task in beside:
                task.cancel()
