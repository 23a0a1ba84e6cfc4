"""LitServe with the same networks. Runs in an environment of its own (`make bench-peers`)."""

from __future__ import annotations

import base64
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import litserve
import numpy as np
import onnxruntime as ort

SIDE_PX = 224
INPUTS = {"tiny": "x", "float": "x", "image": "image"}
SHAPES = {"tiny": (64,), "float": (3, SIDE_PX, SIDE_PX)}
FOLDER = Path(sys.argv[1])


class Networks(litserve.LitAPI):
    """All networks behind one endpoint; requests of one batch may ask different ones."""

    def setup(self, device: str) -> None:
        """Load them."""
        cv2.setNumThreads(1)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.sessions = {
            name: ort.InferenceSession(str(FOLDER / f"{name}.onnx"), options) for name in INPUTS
        }

    # LitServe reads the annotation of `request`: one of Any would make it a parameter of the URL.
    def decode_request(self, request, **_):  # type: ignore[no-untyped-def]
        """Return the network and its input."""
        network, data = request["network"], base64.b64decode(request["data"])
        if network != "image":
            return network, np.frombuffer(data, np.float32).reshape(SHAPES[network])
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        return network, cv2.resize(pixels, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Leave them as they are."""
        return inputs

    def predict(self, batch: list[tuple[str, Any]], **_: Any) -> list[Any]:
        """Run each network on its part of the batch."""
        answers: list[Any] = [None] * len(batch)
        for network in {name for name, _ in batch}:
            at = [i for i, (name, _) in enumerate(batch) if name == network]
            feeds = {INPUTS[network]: np.stack([batch[i][1] for i in at])}
            (values,) = self.sessions[network].run(None, feeds)
            for i, row in zip(at, values, strict=True):
                answers[i] = row
        return answers

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Leave them as they are."""
        return output

    def encode_response(self, output: Any, **_: Any) -> dict[str, str]:
        """Return the answer."""
        return {"data": base64.b64encode(output.tobytes()).decode()}


def announce(port: int) -> None:
    """Print the port once it listens; end the process when the input ends."""
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
    print(f"port {port}", flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
    api = Networks(max_batch_size=8, batch_timeout=0.0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    threading.Thread(target=announce, args=(port,), daemon=True).start()
    server.run(host="127.0.0.1", port=port, generate_client_file=False, num_api_servers=1)
