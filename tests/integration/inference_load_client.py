"""An unmodified tritonclient that asks without pause, in a process of its own.

Usage: python inference_load_client.py HOST:PORT THREADS. Asks until its input ends; prints JSON
lines [seconds since the epoch, latency in s, version or null, error], in any order.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

MODEL = "colours"


def ask_on(address: str, stopping: threading.Event, lines: list[str]) -> None:
    """Ask until told to stop."""
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[..., 0] = 255
    tensor = triton.InferInput("image", list(image.shape), "UINT8")
    tensor.set_data_from_numpy(image)
    with triton.InferenceServerClient(address) as client:
        while not stopping.is_set():
            started = time.perf_counter()
            version, error = None, ""
            try:
                answer = client.infer(MODEL, [tensor], client_timeout=30)
                version = answer.get_response().model_version
                if answer.as_numpy("class")[0] != b"red":
                    error = "a wrong answer"
            except InferenceServerException as failure:
                error = str(failure)
            lines.append(json.dumps([time.time(), time.perf_counter() - started, version, error]))


def main(address: str, threads: int) -> None:
    """Ask from several threads."""
    stopping, lines = threading.Event(), list[str]()
    clients = [
        threading.Thread(target=ask_on, args=(address, stopping, lines)) for _ in range(threads)
    ]
    for client in clients:
        client.start()
    sys.stdin.read()
    stopping.set()
    for client in clients:
        client.join()
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
