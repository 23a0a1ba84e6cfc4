"""What inference is told; nothing else of it reads the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from loopline.runtime.settings import ServiceSettings


class InferenceSettings(ServiceSettings):
    """Settings of inference, from `LOOPLINE_*` variables."""

    grpc_host: str = "127.0.0.1"
    """The address of the Open Inference Protocol."""
    grpc_port: int = Field(default=0, ge=0, le=65_535)
    """0 lets the system choose."""
    grpc_threads: int = Field(default=64, ge=1, le=1_024)
    """Handlers at once; calls inside are at most five times as many, the rest is refused."""
    grpc_connections_max: int = Field(default=1_024, ge=1)
    """Connections over gRPC at once; beyond that new ones are closed."""
    grpc_front: Literal["direct", "grpcio"] = "direct"
    """Who speaks HTTP/2: Loopline's own front, which is quicker, or grpcio's server."""
    rest_host: str = ""
    """The address of the protocol over HTTP; `grpc_host` if empty."""
    rest_port: int = Field(default=0, ge=0, le=65_535)
    """0 lets the system choose."""
    rest_threads: int = Field(default=16, ge=1, le=1_024)
    """Requests over HTTP that are read, started and written at once; others wait for a thread."""
    rest_connections_max: int = Field(default=1_024, ge=1)
    """Connections over HTTP at once; beyond that new ones are closed."""
    message_max_bytes: int = Field(default=64 * 1024 * 1024, ge=1_024)
    """The largest message taken or given, over HTTP before and after decompression."""
    messages_max_bytes: int = Field(default=1024 * 1024 * 1024, ge=1_024)
    """Messages over gRPC that are inside at once, all together; more are refused."""
    streams_max: int = Field(default=16, ge=1)
    """Streams at once; each holds one of `grpc_threads`."""
    stream_requests_max: int = Field(default=16, ge=1)
    """Requests of one stream inside at once; its others wait with the client."""
    stream_idle_s: float = Field(default=300.0, gt=0)
    """A stream on which nothing moves for this long is ended."""
    shared_memory: Literal["local", "all", "none"] = "local"
    """Who may register shared memory: clients that call from this machine, all, none."""
    shared_memory_regions_max: int = Field(default=128, ge=1)
    """Regions registered at once."""
    tls_certificate: Path | None = None
    """PEM file of the server's certificate and its chain; both fronts speak plain text without."""
    tls_key: Path | None = None
    """PEM file of its private key."""
    tls_client_ca: Path | None = None
    """PEM file of who issues clients' certificates: with it every client must show one."""
    client_tokens: Literal["auto", "always", "never"] = "auto"
    """Whether clients must show a bearer token. "auto": where `access_keys` are given and a front
    listens beyond loopback."""
    client_requests_per_s: float = Field(default=10_000.0, ge=0)
    """Requests of one client a second, in the long run; 0 for no limit."""
    client_burst: int = Field(default=20_000, ge=1)
    """Requests that one client may have saved up."""
    client_concurrency: int = Field(default=256, ge=0)
    """Requests of one client inside at once, answers that it did not read included; 0: no limit."""
    engine_threads: int = Field(default=1, ge=1)
    """Threads of one execution of the engine."""
    engine_instances: int = Field(default=0, ge=0)
    """Executions of a model version at once; 0 for as many as cores have threads for, one on a
    GPU."""
    engine_providers: tuple[str, ...] = ()
    """onnxruntime's execution providers in order of preference; empty for what is there."""
    engine_batch_max: int = Field(default=8, ge=1, le=1_024)
    """Images in one execution."""
    engine_batch_preferred: int = Field(default=0, ge=0, le=1_024)
    """Images taken together where more wait; 0 for the size at which an image costs least,
    measured as a version loads."""
    engine_direct_us: int = Field(default=200, ge=0)
    """A version whose image costs less than this is run by whoever asks: batching would cost more
    than it saves. 0 for never."""
    engine_delay_max_ms: float = Field(default=0.0, ge=0, le=1_000)
    """How long the first request of a batch may wait for company; 0 is best on processors."""
    decode_threads: int = Field(default=0, ge=0)
    """Threads that decode and pre-process; 0 for one per core."""
    request_images_max: int = Field(default=64, ge=1)
    """Images in one request."""
    image_pixels_max: int = Field(default=50_000_000, ge=1)
    """Pixels of one encoded image, told from its header before it is decoded."""
    queue_images_max: int = Field(default=512, ge=1)
    """Images per model version that are being decoded, waiting, or in the engine."""
    request_timeout_s: float = Field(default=60.0, gt=0)
    """Longest time for a request; a client's own deadline may be shorter."""
    sample_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the requests with encoded images that is recorded: the images as assets, what the
    model said as an event that flows' `sample` rules look at."""
    sample_per_minute: int = Field(default=60, ge=1)
    """Images recorded a minute at most, by this process."""
    sample_every_s: float = Field(default=30.0, gt=0)
    """How long recorded images are gathered for one event."""
    models_max: int = Field(default=8, ge=1)
    """Model versions loaded at once; the least recently used make room."""
    models_max_bytes: int = Field(default=2 * 1024**3, ge=1)
    """Sum of the sizes of their ONNX files."""
