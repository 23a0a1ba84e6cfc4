"""An inference service on in-memory twins, as a process of its own.

`python -m tests.bench.serving.loopline_server FOLDER` prints its port and serves until its input
ends.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
from pathlib import Path

from loopline.runtime import telemetry
from loopline.store.blobs import MemoryBlobs
from loopline.testing.memory import MemoryBus, memory_service
from loopline.testing.onnx_models import commit_model, move_alias
from services.inference.service import Inference
from services.inference.settings import InferenceSettings
from tests.bench.serving import networks
from tests.bench.serving.cases import LABELS


async def serve(folder: Path, scratch: Path) -> None:
    """Serve the networks until standard input ends."""
    telemetry.configure_traces("inference", "")  # as a service does: spans cost, exported or not
    settings = InferenceSettings(data_dir=scratch, engine_threads=1, decode_threads=1)
    service = memory_service(Inference, settings, MemoryBus(), MemoryBlobs())
    for name in networks.NAMES:
        onnx = (folder / f"{name}.onnx").read_bytes()
        is_image = name == networks.IMAGE
        model = await commit_model(
            service.log,
            service.objects,
            onnx,
            name=name,
            classes=LABELS if is_image else (),
            shape=(networks.SIDE_PX, networks.SIDE_PX, 3),
            task="classification" if is_image else "tensors",
        )
        await move_alias(service.log, model.ref)
    await service.start()
    gc.freeze()  # as the host of a service does once it has started
    print(f"port {service.fronts.grpc.port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await service.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(serve(Path(sys.argv[1]), Path(scratch)))
