"""An unmodified tritonclient over HTTP: one conversation, held by both of its clients.

Usage: python triton_http.py HOST:PORT FOLDER. FOLDER has red.png, blue.jpg and broken.jpg. Prints
one JSON document: what the synchronous client saw, and under "aio" what asyncio's did.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
import tritonclient.utils.shared_memory as shm
from blocking import Blocking  # type: ignore[import-not-found]  # it lies beside this script
from tritonclient.utils import InferenceServerException

MODEL = "colours"
COLOURS = ("red", "green", "blue")


def pixels(*colours: str) -> npt.NDArray[np.uint8]:
    array = np.zeros((len(colours), 8, 8, 3), np.uint8)
    for row, colour in enumerate(colours):
        array[row, ..., COLOURS.index(colour)] = 255
    return array


def tensor(*colours: str, binary: bool = True) -> triton.InferInput:
    array = pixels(*colours)
    given = triton.InferInput("image", list(array.shape), "UINT8")
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def files(*names: str) -> triton.InferInput:
    data = [Path(sys.argv[2], name).read_bytes() for name in names]
    given = triton.InferInput("image", [len(data)], "BYTES")
    given.set_data_from_numpy(np.array(data, object))
    return given


def classes(result: Any) -> list[str]:
    found = result.as_numpy("class").ravel()
    return [name.decode() if isinstance(name, bytes) else str(name) for name in found]


def refused(call: Any) -> list[str]:
    try:
        call()
    except InferenceServerException as error:
        return [str(error.status()), str(error.message())]
    return ["OK", ""]


def answers(client: Any) -> dict[str, Any]:
    as_json = [triton.InferRequestedOutput("class", binary_data=False)]
    top = [triton.InferRequestedOutput("probabilities", class_count=1)]
    many = ["red", "green", "blue"] * 5
    gzip = client.infer(
        MODEL,
        [tensor(*many)],
        request_compression_algorithm="gzip",
        response_compression_algorithm="gzip",
    )
    deflate = client.infer(
        MODEL,
        [tensor(*many)],
        request_compression_algorithm="deflate",
        response_compression_algorithm="deflate",
    )
    first = client.infer(MODEL, [files("blue.jpg", "red.png")], request_id="r1", priority=2)
    with_parameters = client.infer(
        MODEL,
        [tensor("blue")],
        timeout=20_000_000,  # microseconds, the server's
        parameters={"camera": "door", "lamp": 3, "night": True, "gain": 0.5},
    )
    return {
        "files": classes(first),
        "id": first.get_response()["id"],
        "digest": first.get_response()["parameters"]["model_digest"],
        "pixels": classes(client.infer(MODEL, [tensor("green")])),
        "json": classes(client.infer(MODEL, [tensor("blue", binary=False)], outputs=as_json)),
        "version": classes(client.infer(MODEL, [tensor("red")], model_version="1")),
        "alias": classes(client.infer(MODEL, [tensor("red")], model_version="champion")),
        "parameters": classes(with_parameters),
        "top": [
            v.decode()
            for v in client.infer(MODEL, [tensor("red")], outputs=top)
            .as_numpy("probabilities")
            .ravel()
        ],
        "gzip": classes(gzip) == many,
        "deflate": classes(deflate) == many,
    }


def refusals(client: Any) -> dict[str, list[str]]:
    wrong = triton.InferInput("image", [1, 8, 8, 3], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 8, 8, 3), np.float32))
    shape = triton.InferInput("image", [1, 4, 4, 3], "UINT8")
    shape.set_data_from_numpy(np.zeros((1, 4, 4, 3), np.uint8))
    return {
        "shape": refused(lambda: client.infer(MODEL, [shape])),
        "datatype": refused(lambda: client.infer(MODEL, [wrong])),
        "image": refused(lambda: client.infer(MODEL, [files("red.png", "broken.jpg")])),
        "model": refused(lambda: client.infer("nothing", [tensor("red")])),
        "version": refused(lambda: client.infer(MODEL, [tensor("red")], model_version="9")),
        "output": refused(
            lambda: client.infer(MODEL, [tensor("red")], outputs=[triton.InferRequestedOutput("x")])
        ),
        "metadata": refused(lambda: client.get_model_metadata("nothing")),
        "config": refused(lambda: client.get_model_config("nothing")),
        "statistics": refused(lambda: client.get_inference_statistics("nothing")),
    }


def described(client: Any) -> dict[str, Any]:
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(MODEL),
        "version_ready": [client.is_model_ready(MODEL, version) for version in ("1", "99")],
        "other_ready": client.is_model_ready("nothing"),
        "server": client.get_server_metadata(),
        "metadata": client.get_model_metadata(MODEL),
        "versions": client.get_model_metadata(MODEL, "1")["versions"],
        "config": client.get_model_config(MODEL, "1"),
        "statistics": client.get_inference_statistics(MODEL)["model_stats"],
        "all_statistics": len(client.get_inference_statistics()["model_stats"]),
        "index": client.get_model_repository_index(),
    }


def repository(client: Any) -> dict[str, Any]:
    client.unload_model(MODEL)
    seen: dict[str, Any] = {"unloaded": client.is_model_ready(MODEL)}
    seen["refused"] = refused(lambda: client.infer(MODEL, [tensor("red")]))
    client.load_model(MODEL)
    seen["loaded"] = client.is_model_ready(MODEL)
    seen["override"] = refused(lambda: client.load_model(MODEL, config="{}"))
    return seen


def shared_memory(client: Any) -> dict[str, Any]:
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    key = f"/loopline-http-{uuid.uuid4().hex}"
    array = pixels("blue", "green")
    region = shm.create_shared_memory_region("both", key, 4096)
    try:
        shm.set_shared_memory_region(region, [array])
        client.register_system_shared_memory("both", key, 4096)
        image = triton.InferInput("image", list(array.shape), "UINT8")
        image.set_shared_memory("both", array.nbytes)
        wanted = triton.InferRequestedOutput("probabilities")
        wanted.set_shared_memory("both", 24, offset=1024)
        result = client.infer(MODEL, [image], outputs=[wanted])
        found = shm.get_contents_as_numpy(region, np.float32, [2, 3], offset=1024)
        return {
            "best": [COLOURS[index] for index in found.argmax(axis=1)],
            "told": result.get_output("probabilities"),
            "status": client.get_system_shared_memory_status(),
            "one": client.get_system_shared_memory_status("both"),
            "unknown": refused(lambda: client.get_system_shared_memory_status("x")),
            "again": refused(lambda: client.register_system_shared_memory("both", key, 1)),
        }
    finally:
        client.unregister_system_shared_memory("both")
        shm.destroy_shared_memory_region(region)


def datatypes(client: Any) -> dict[str, bool]:
    arrays = {
        "BOOL": np.array([[True, False]]),
        "UINT8": np.array([[0, 255]], np.uint8),
        "UINT64": np.array([[0, 2**64 - 1]], np.uint64),
        "INT8": np.array([[-128, 127]], np.int8),
        "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
        "FP16": np.array([[0.5, -2]], np.float16),
        "FP32": np.array([[0.5, 1e38]], np.float32),
        "FP64": np.array([[0.1, 1e300]], np.float64),
        "BYTES": np.array([[b"one", "zwölf".encode()]], object),
        "UINT16": np.array([[0, 65_535]], np.uint16),
        "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
        "INT16": np.array([[-32_768, 32_767]], np.int16),
        "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    }
    same: dict[str, bool] = {}
    for binary in (True, False):
        inputs = []
        for datatype, array in arrays.items():
            given = triton.InferInput(f"in_{datatype.lower()}", [1, 2], datatype)
            # 16-bit floats have no JSON in the protocol.
            given.set_data_from_numpy(array, binary_data=binary or datatype == "FP16")
            inputs.append(given)
        outputs = [
            triton.InferRequestedOutput(f"out_{datatype.lower()}", binary_data=binary)
            for datatype in arrays
        ]
        result = client.infer("echo", inputs, outputs=outputs)
        for datatype, array in arrays.items():
            back = result.as_numpy(f"out_{datatype.lower()}")
            if datatype == "BYTES":
                back = np.array(
                    [[v if isinstance(v, bytes) else v.encode() for v in back[0]]], object
                )
            same[f"{datatype} {'binary' if binary else 'json'}"] = bool((back == array).all())
    half = triton.InferInput("in_bf16", [1, 2], "BF16")
    half.set_data_from_numpy(np.array([[0.5, -2]], ml_dtypes.bfloat16))
    found = client.infer("echo-bf16", [half]).as_numpy("out_bf16")
    return {**same, "BF16 binary": found.tolist() == [[0.5, -2]]}


CONVERSATION: dict[str, Callable[[Any], dict[str, Any]]] = {
    "answers": answers,
    "refusals": refusals,
    "described": described,
    "datatypes": datatypes,
    "shared_memory": shared_memory,
    "repository": repository,
}


async def concurrently(client: Any) -> list[str]:
    """Ask many times at once."""
    found = await asyncio.gather(
        *(client.infer(MODEL, [tensor(*[COLOURS[i % 3]] * 15)]) for i in range(9))
    )
    return [classes(answer)[0] for answer in found]


async def connected(address: str) -> triton_aio.InferenceServerClient:
    return triton_aio.InferenceServerClient(address)


def main(address: str) -> dict[str, Any]:
    """Hold the conversation with each client."""
    client = triton.InferenceServerClient(address, network_timeout=60, connection_timeout=60)
    seen: dict[str, Any] = {name: section(client) for name, section in CONVERSATION.items()}
    seen["async"] = classes(client.async_infer(MODEL, [tensor("green")]).get_result())
    client.close()
    with asyncio.Runner() as runner:
        aio = runner.run(connected(address))
        blocking = Blocking(runner, aio)
        seen["aio"] = {name: section(blocking) for name, section in CONVERSATION.items()}
        seen["aio"]["concurrently"] = runner.run(concurrently(aio))
        runner.run(aio.close())
    return seen


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
