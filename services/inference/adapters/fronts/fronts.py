"""The fronts of one process, put together from settings: gRPC and REST over the same two planes."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

import structlog

from loopline.clock import Clock
from loopline.errors import LooplineError, Rejected
from services.inference.adapters.control_plane import ControlPlane
from services.inference.adapters.data_plane import DataPlane
from services.inference.adapters.fronts.gate import Gate, Guard
from services.inference.adapters.fronts.grpc_options import GrpcOptions
from services.inference.adapters.fronts.grpc_server import GrpcServer
from services.inference.adapters.fronts.rest import RestOptions, RestServer
from services.inference.adapters.fronts.streaming import StreamLimits
from services.inference.adapters.fronts.tls import TlsFiles
from services.inference.adapters.models.repository import ModelRepository
from services.inference.adapters.pipelines import Pipelines
from services.inference.adapters.protocol.shared_memory import SharedMemory
from services.inference.adapters.scheduling import Scheduler
from services.inference.domain.quota import QuotaLimits, Quotas
from services.inference.settings import InferenceSettings

_LOOPBACK_NAMES: Final = ("localhost", "")

log = structlog.get_logger()


class Fronts:
    """What clients call.

    Args:
        settings: How.
        repository: What is there.
        scheduler: Runs requests.
        guard: Tells who shows a token.
        clock: Time.
        pipelines: Asked like models.

    Raises:
        LooplineError: A port is taken, or a setting cannot be met.
    """

    def __init__(
        self,
        settings: InferenceSettings,
        repository: ModelRepository,
        scheduler: Scheduler,
        guard: Guard,
        clock: Clock,
        pipelines: Pipelines,
    ) -> None:
        self._memory = SharedMemory(settings.shared_memory_regions_max)
        plane = DataPlane(scheduler, clock, self._memory, pipelines)
        control = ControlPlane(
            repository, scheduler.limits, self._memory, settings.shared_memory, pipelines
        )
        gate = Gate(
            guard if asks_for_tokens(settings) else None,
            Quotas(_quota_limits(settings), clock.monotonic_s),
            clock.monotonic_s,
        )
        self.grpc = GrpcServer(plane, control, gate, scheduler.limits, _grpc_options(settings))
        try:
            self.rest = RestServer(plane, control, gate, scheduler.limits, _rest_options(settings))
        except LooplineError:
            self.grpc.stop(0)
            raise

    def start(self) -> None:
        """Take calls. Blocks until the ports answer."""
        self.grpc.start()
        self.rest.start()
        log.info("fronts_started", grpc_port=self.grpc.port, rest_port=self.rest.port)

    def stop(self, drain_s: float) -> None:
        """Take no new calls, let those that run finish for `drain_s`. Blocks."""
        self.rest.stop(drain_s)
        self.grpc.stop(drain_s)
        self._memory.close()


def asks_for_tokens(settings: InferenceSettings) -> bool:
    """Return whether clients must show a token.

    Raises:
        Rejected: They must, and there is no key to check them with.
    """
    hosts = (settings.grpc_host, settings.rest_host)
    is_open = not all(_is_loopback(host) for host in hosts)
    has_keys = bool(settings.access_keys or settings.api_token.get_secret_value())
    if settings.client_tokens == "always" and not has_keys:
        raise Rejected("LOOPLINE_CLIENT_TOKENS is always, and LOOPLINE_ACCESS_KEYS are not given")
    asked = settings.client_tokens == "always" or (
        settings.client_tokens == "auto" and has_keys and is_open
    )
    if is_open and not asked:
        log.warning("front_open_to_all", grpc_host=settings.grpc_host, tokens="not asked for")
    return asked


def _is_loopback(host: str) -> bool:
    if host in _LOOPBACK_NAMES:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(settings: InferenceSettings) -> TlsFiles | None:
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None and settings.tls_client_ca is None:
        return None
    if certificate is None or key is None:
        raise Rejected("TLS needs both LOOPLINE_TLS_CERTIFICATE and LOOPLINE_TLS_KEY")
    return TlsFiles(certificate, key, settings.tls_client_ca)


def _quota_limits(settings: InferenceSettings) -> QuotaLimits:
    return QuotaLimits(
        settings.client_requests_per_s, settings.client_burst, settings.client_concurrency
    )


def _grpc_options(settings: InferenceSettings) -> GrpcOptions:
    return GrpcOptions(
        host=settings.grpc_host,
        port=settings.grpc_port,
        threads=settings.grpc_threads,
        connections=settings.grpc_connections_max,
        message_bytes=settings.message_max_bytes,
        messages_bytes=settings.messages_max_bytes,
        tls=_tls(settings),
        is_direct=settings.grpc_front == "direct",
        streams=StreamLimits(
            min(settings.streams_max, max(1, settings.grpc_threads // 2)),
            settings.stream_requests_max,
            settings.stream_idle_s,
        ),
    )


def _rest_options(settings: InferenceSettings) -> RestOptions:
    return RestOptions(
        host=settings.rest_host or settings.grpc_host,
        port=settings.rest_port,
        threads=settings.rest_threads,
        connections=settings.rest_connections_max,
        message_bytes=settings.message_max_bytes,
        tls=_tls(settings),
    )
