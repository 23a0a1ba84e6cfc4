"""An inference service on in-memory twins, as a process of its own: what the benchmark asks.

`python -m tests.bench._inference_server CORE` prints its gRPC port and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from loopline.runtime import telemetry
from loopline.store.blobs import MemoryBlobs
from loopline.testing.memory import MemoryBus, memory_service
from loopline.testing.onnx_models import (
    commit_model,
    convolutional_classifier,
    dense_classifier,
    move_alias,
)
from services.inference.service import Inference
from services.inference.settings import InferenceSettings

CLASSES = tuple(map(str, range(10)))
TINY_SHAPE = (28, 28, 1)
PHOTO_SHAPE = (224, 224, 3)


def tiny() -> bytes:
    """Return the network for 28 x 28 grey images."""
    return dense_classifier(TINY_SHAPE, len(CLASSES))


def photo() -> bytes:
    """Return the network for photographs."""
    return convolutional_classifier(PHOTO_SHAPE[0], len(CLASSES))


async def serve(folder: Path) -> None:
    """Serve both networks until standard input ends."""
    telemetry.configure_traces("inference", "")  # as a service does: spans cost, exported or not
    settings = InferenceSettings(data_dir=folder, engine_threads=1, decode_threads=1)
    service = memory_service(Inference, settings, MemoryBus(), MemoryBlobs())
    for name, onnx, shape in (("tiny", tiny(), TINY_SHAPE), ("photo", photo(), PHOTO_SHAPE)):
        model = await commit_model(
            service.log, service.objects, onnx, name=name, classes=CLASSES, shape=shape
        )
        await move_alias(service.log, model.ref)
    await service.start()
    print(f"port {service.fronts.grpc.port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await service.stop()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(serve(Path(scratch)))
