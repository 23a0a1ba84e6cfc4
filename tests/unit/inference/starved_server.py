"""An inference service that has no memory left to take: usage: python starved_server.py FOLDER.

Prints its gRPC port, and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

import numpy as np
import psutil
from onnx import TensorProto, helper, numpy_helper

from loopline.store.blobs import MemoryBlobs
from loopline.testing.memory import MemoryBus, memory_service
from loopline.testing.onnx_models import (
    IR_VERSION,
    OPSET,
    colour_classifier,
    commit_model,
    move_alias,
)
from services.inference.domain.model import TENSORS
from services.inference.service import Inference
from services.inference.settings import InferenceSettings

ROOM_BYTES = 512 * 1024**2
COLUMN = 250_000  # floats: a megabyte


def hungry() -> bytes:
    """Return a graph that needs a megabyte for every column of its input."""
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Unsqueeze", ["x", "last"], ["columns"]),
            helper.make_node("Tile", ["columns", "repeats"], ["large"]),
            helper.make_node("ReduceMax", ["large", "axes"], ["y"], keepdims=0),
        ],
        "hungry",
        [tensor("x", TensorProto.FLOAT, ["batch", "width"])],
        [tensor("y", TensorProto.FLOAT, ["batch"])],
        [
            numpy_helper.from_array(np.array([2], np.int64), "last"),
            numpy_helper.from_array(np.array([1, 1, COLUMN], np.int64), "repeats"),
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
        ],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    data: bytes = model.SerializeToString()
    return data


async def serve(folder: Path) -> None:
    """Serve two models; once they are loaded, memory ends."""
    settings = InferenceSettings(
        data_dir=folder, engine_threads=1, decode_threads=1, grpc_threads=4, rest_threads=2
    )
    service = memory_service(Inference, settings, MemoryBus(), MemoryBlobs())
    onnx = colour_classifier()
    colours = await commit_model(service.log, service.objects, onnx)
    other = await commit_model(
        service.log, service.objects, hungry(), name="hungry", classes=(), task=TENSORS
    )
    for model in (colours, other):
        await move_alias(service.log, model.ref)
    await service.start()
    limit = psutil.Process().memory_info().vms + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print(f"port {service.fronts.grpc.port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await service.stop()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
