"""How the gRPC front listens, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from services.inference.adapters.fronts.streaming import StreamLimits
from services.inference.adapters.fronts.tls import TlsFiles

PENDING_PER_THREAD: Final = 4  # calls that may wait for a thread, before new ones are refused
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
        messages_bytes: Messages inside at once, all together; only the direct front counts them.
        tls: Certificate and key, and whose clients' certificates are good; None for plain text.
        streams: The bounds of streams.
        is_direct: Whether the direct front listens, or grpcio's.
    """

    host: str = "127.0.0.1"
    port: int = 0
    threads: int = 64
    connections: int = 1_024
    message_bytes: int = 64 * 1024 * 1024
    messages_bytes: int = 1024 * 1024 * 1024
    tls: TlsFiles | None = None
    streams: StreamLimits = field(default_factory=StreamLimits)
    is_direct: bool = True

    @property
    def calls(self) -> int:
        """Calls inside at once; more are refused."""
        return self.threads * (1 + PENDING_PER_THREAD)
