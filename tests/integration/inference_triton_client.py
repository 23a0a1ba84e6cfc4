"""An unmodified tritonclient, in a process of its own: it has its own copy of package `inference`.

Usage: python inference_triton_client.py HOST:PORT FOLDER. FOLDER has blue.jpg, red.png, broken.jpg.
Prints one JSON document of what it saw.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

MODEL = "colours"


def images(*files: bytes) -> triton.InferInput:
    """Return encoded images as an input of shape [N, 1]."""
    tensor = triton.InferInput("image", [len(files), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[file] for file in files], dtype=np.object_))
    return tensor


def pixels(colour: int) -> triton.InferInput:
    """Return one raw image as an input."""
    array = np.zeros((1, 8, 8, 3), np.uint8)
    array[..., colour] = 255
    tensor = triton.InferInput("image", [1, 8, 8, 3], "UINT8")
    tensor.set_data_from_numpy(array)
    return tensor


def typed_pixels(colour: int) -> triton.InferInput:
    """Return one image in typed contents: what clients in other languages often send."""
    tensor = pixels(colour)
    raw = tensor._raw_content
    tensor._raw_content = None
    tensor._input.contents.uint_contents.extend(raw)
    return tensor


def classes(result: Any) -> list[str]:
    """Return the class of each image."""
    output = result.get_output("class")
    if output.HasField("contents"):  # as_numpy of typed BYTES fails on NumPy 2
        return [name.decode() for name in output.contents.bytes_contents]
    return [name.decode() for name in result.as_numpy("class").ravel()]


def refused(call: Callable[[], object]) -> list[str]:
    """Return status and message of a call that must fail."""
    try:
        call()
    except InferenceServerException as error:
        return [str(error.status()), str(error.message())]
    return ["OK", ""]


def answers(client: Any, folder: Path) -> dict[str, Any]:
    """Ask in every way that is served."""
    jpeg, png = (folder / "blue.jpg").read_bytes(), (folder / "red.png").read_bytes()
    full = client.infer(MODEL, [images(jpeg, png)], request_id="r1")
    response = full.get_response()
    some = client.infer(MODEL, [pixels(1)], outputs=[triton.InferRequestedOutput("confidence")])
    return {
        "files": classes(full),
        "probabilities": full.as_numpy("probabilities").tolist(),
        "confidence": full.as_numpy("confidence").tolist(),
        "id": response.id,
        "version": response.model_version,
        "digest": response.parameters["model_digest"].string_param,
        "raw": classes(client.infer(MODEL, [pixels(1)])),
        "typed": classes(client.infer(MODEL, [typed_pixels(2)])),
        "by_version": classes(client.infer(MODEL, [pixels(0)], model_version="1")),
        "requested": [output.name for output in some.get_response().outputs],
        "timeout": classes(client.infer(MODEL, [pixels(0)], client_timeout=20, priority=1)),
    }


def refusals(client: Any, folder: Path) -> dict[str, list[str]]:
    """Ask for what must be refused."""
    broken = (folder / "broken.jpg").read_bytes()
    good = (folder / "red.png").read_bytes()
    wrong_shape = triton.InferInput("image", [1, 4, 4, 3], "UINT8")
    wrong_shape.set_data_from_numpy(np.zeros((1, 4, 4, 3), np.uint8))
    wrong_type = triton.InferInput("image", [1, 8, 8, 3], "FP32")
    wrong_type.set_data_from_numpy(np.zeros((1, 8, 8, 3), np.float32))
    wrong_name = triton.InferInput("picture", [1, 1], "BYTES")
    wrong_name.set_data_from_numpy(np.array([[good]], dtype=np.object_))
    return {
        "shape": refused(lambda: client.infer(MODEL, [wrong_shape])),
        "datatype": refused(lambda: client.infer(MODEL, [wrong_type])),
        "input": refused(lambda: client.infer(MODEL, [wrong_name])),
        "image": refused(lambda: client.infer(MODEL, [images(good, broken)])),
        "model": refused(lambda: client.infer("nothing", [pixels(0)])),
        "version": refused(lambda: client.infer(MODEL, [pixels(0)], model_version="99")),
        "output": refused(
            lambda: client.infer(MODEL, [pixels(0)], outputs=[triton.InferRequestedOutput("x")])
        ),
        "metadata": refused(lambda: client.get_model_metadata("nothing")),
    }


def descriptions(client: Any) -> dict[str, Any]:
    """Ask what there is."""
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(MODEL),
        "other_ready": client.is_model_ready("nothing"),
        "server": client.get_server_metadata(as_json=True),
        "metadata": client.get_model_metadata(MODEL, as_json=True),
        "config": client.get_model_config(MODEL, as_json=True),
        "index": client.get_model_repository_index(as_json=True),
        "statistics": client.get_inference_statistics(MODEL, as_json=True),
    }


async def concurrently(address: str, count: int) -> list[str]:
    """Ask many times at once through the asyncio client."""
    client = triton_aio.InferenceServerClient(address)
    results = await asyncio.gather(
        *(client.infer(MODEL, [pixels(index % 3)]) for index in range(count))
    )
    await client.close()
    return [classes(result)[0] for result in results]


def main() -> None:
    """Run everything and print it."""
    address, folder = sys.argv[1], Path(sys.argv[2])
    client = triton.InferenceServerClient(address)
    seen = {
        "answers": answers(client, folder),
        "refusals": refusals(client, folder),
        "concurrently": asyncio.run(concurrently(address, 30)),
        "descriptions": descriptions(client),
    }
    client.close()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
