"""What inference is told; nothing else of it reads the environment."""

from __future__ import annotations

from pydantic import Field

from loopline.runtime.settings import ServiceSettings


class InferenceSettings(ServiceSettings):
    """Settings of inference, from `LOOPLINE_*` variables."""

    grpc_host: str = "127.0.0.1"
    """The address of the Open Inference Protocol."""
    grpc_port: int = Field(default=0, ge=0, le=65_535)
    """0 lets the system choose."""
    grpc_threads: int = Field(default=64, ge=1, le=1_024)
    """Calls handled at once; four times as many more may wait, the rest is refused."""
    message_max_bytes: int = Field(default=64 * 1024 * 1024, ge=1_024)
    """The largest gRPC message taken or given."""
    engine_threads: int = Field(default=0, ge=0)
    """Threads of one execution of the engine; 0 for one per core."""
    engine_providers: tuple[str, ...] = ()
    """onnxruntime's execution providers in order of preference; empty for what is there."""
    engine_batch_max: int = Field(default=8, ge=1, le=1_024)
    """Images in one execution; 8 is the optimum of processors."""
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
    models_max: int = Field(default=8, ge=1)
    """Model versions loaded at once; the least recently used make room."""
    models_max_bytes: int = Field(default=2 * 1024**3, ge=1)
    """Sum of the sizes of their ONNX files."""
