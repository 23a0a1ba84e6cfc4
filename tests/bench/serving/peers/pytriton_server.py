"""PyTriton with the same networks. Runs in an environment of its own (`make bench-peers`)."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

SIDE_PX = 224


def session(folder: Path, name: str) -> ort.InferenceSession:
    """Return a network, one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(folder / f"{name}.onnx"), options)


def decode(file: bytes) -> Any:
    """Return an image as the network takes it."""
    pixels = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR_RGB)
    return cv2.resize(pixels, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)


def ports(count: int) -> list[int]:
    """Return ports that are free now."""
    taken = [socket.socket() for _ in range(count)]
    for one in taken:
        one.bind(("127.0.0.1", 0))
    found = [int(one.getsockname()[1]) for one in taken]
    for one in taken:
        one.close()
    return found


def main(folder: Path) -> None:
    """Serve until standard input ends."""
    cv2.setNumThreads(1)
    tiny, large, image = (session(folder, name) for name in ("tiny", "float", "image"))

    @batch
    def run_tiny(x: Any) -> dict[str, Any]:
        return {"y": tiny.run(["y"], {"x": x})[0]}

    @batch
    def run_float(x: Any) -> dict[str, Any]:
        return {"y": large.run(["y"], {"x": x})[0]}

    # The tensor's name is not this function's to choose: `image`, as the others call it.
    @batch
    def run_image(**inputs: Any) -> dict[str, Any]:
        pixels = np.stack([decode(bytes(file)) for file in inputs["image"].ravel()])
        return {"probabilities": image.run(["probabilities"], {"image": pixels})[0]}

    http_port, grpc_port, metrics_port = ports(3)
    config = TritonConfig(
        http_port=http_port, grpc_port=grpc_port, metrics_port=metrics_port,
        http_address="127.0.0.1", grpc_address="127.0.0.1", log_verbose=0,
    )  # fmt: skip
    batching = ModelConfig(max_batch_size=8, batcher=DynamicBatcher(max_queue_delay_microseconds=0))
    f32 = np.float32
    photo = (3, SIDE_PX, SIDE_PX)
    with Triton(config=config) as triton:
        for name, call, inputs, outputs in (
            ("tiny", run_tiny, Tensor(name="x", dtype=f32, shape=(64,)), ("y", 10)),
            ("float", run_float, Tensor(name="x", dtype=f32, shape=photo), ("y", 1000)),
            ("image", run_image, Tensor(name="image", dtype=bytes, shape=(1,)),
             ("probabilities", 1000)),
        ):  # fmt: skip
            output = Tensor(name=outputs[0], dtype=f32, shape=(outputs[1],))
            triton.bind(
                model_name=name, infer_func=call, inputs=[inputs], outputs=[output],
                config=batching,
            )  # fmt: skip
        triton.run()
        print(f"port {grpc_port}", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
