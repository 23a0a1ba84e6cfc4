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

SURE = 0.3  # what counts as found


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
    print(json.dumps(said(answer) | {"model_version": answer.get_response().model_version}))


def said(answer: triton.InferResult) -> dict[str, object]:
    """Return what the model says, in words, with class and confidence if it is a classifier."""
    if (boxes := answer.as_numpy("scores")) is not None:
        found = int((boxes[0] >= SURE).sum())
        confidence = float(boxes[0].max())
        return {"says": f"{found} boxes", "class": "", "confidence": round(confidence, 4)}
    if (mask := answer.as_numpy("mask")) is not None:
        share = float((mask[0] > 0).mean())
        sure = float(answer.as_numpy("confidence")[0].mean())
        return {"says": f"{share:.0%} of the pixels", "class": "", "confidence": round(sure, 4)}
    name = answer.as_numpy("class")[0].decode()
    confidence = round(float(answer.as_numpy("confidence")[0]), 4)
    return {"says": f"{name} ({confidence:.2f})", "class": name, "confidence": confidence}


if __name__ == "__main__":
    main()
