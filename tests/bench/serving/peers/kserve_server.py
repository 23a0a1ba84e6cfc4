"""KServe's SDK with the same networks. Runs in an environment of its own (`make bench-peers`)."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer, model_server

SIDE_PX = 224
OUTPUTS = {"tiny": "y", "float": "y", "image": "probabilities"}


class Network(Model):
    """A network in onnxruntime, one thread."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(str(folder / f"{name}.onnx"), options)
        self.ready = True

    async def predict(self, payload: InferRequest, headers: Any = None, **_: Any) -> InferResponse:
        """Answer a request."""
        tensor = payload.inputs[0]
        values = tensor.as_numpy()
        if tensor.datatype == "BYTES":
            values = np.stack([decode(bytes(file)) for file in values.ravel()])
        output = OUTPUTS[self.name]
        (result,) = self._session.run([output], {tensor.name: values})
        answer = InferOutput(name=output, shape=list(result.shape), datatype="FP32")
        answer.set_data_from_numpy(result, binary_data=True)
        return InferResponse(response_id=payload.id, model_name=self.name, infer_outputs=[answer])


def decode(file: bytes) -> Any:
    """Return an image as the network takes it."""
    pixels = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR_RGB)
    return cv2.resize(pixels, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def announce(port: int) -> None:
    """Print the port once it listens; end the process when the input ends."""
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
    print(f"port {port}", flush=True)
    sys.stdin.read()
    import os

    os._exit(0)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    grpc_port = free_port()
    sys.argv[1:], folder = [], Path(sys.argv[1])
    threading.Thread(target=announce, args=(grpc_port,), daemon=True).start()
    server = ModelServer(
        http_port=free_port(), grpc_port=grpc_port, enable_grpc=True, workers=1,
        enable_docs_url=False,
    )  # fmt: skip
    assert model_server is not None
    server.start([Network(name, folder) for name in OUTPUTS])
