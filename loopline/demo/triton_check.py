"""Ask the served model with `tritonclient`, a client that is not ours.

Runs as its own process: tritonclient defines the protocol's messages itself, and a process can hold
them once. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton


def main() -> None:
    """Send one encoded image and print the answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("model")
    parser.add_argument("image", type=Path)
    arguments = parser.parse_args()
    client = triton.InferenceServerClient(arguments.address)
    image = triton.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([arguments.image.read_bytes()], dtype=object))
    answer = client.infer(arguments.model, [image])
    print(
        json.dumps(
            {
                "class": answer.as_numpy("class")[0].decode(),
                "confidence": round(float(answer.as_numpy("confidence")[0]), 4),
                "model_version": answer.get_response().model_version,
            }
        )
    )


if __name__ == "__main__":
    main()
