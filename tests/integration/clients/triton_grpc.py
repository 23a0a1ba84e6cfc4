"""An unmodified tritonclient over gRPC: one conversation, held by both of its clients.

Usage: python triton_grpc.py HOST:PORT FOLDER [SECTION ...]. FOLDER has blue.jpg, red.png and
broken.jpg; the sections are the names in `CONVERSATION`, all of them where none is named. Prints
one JSON document: what the synchronous client saw, and under "aio" what asyncio's did.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
import tritonclient.utils.shared_memory as shm
from blocking import Blocking  # type: ignore[import-not-found]  # it lies beside this script
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

MODEL = "colours"
COLOURS = ("red", "green", "blue")
AT_ONCE = 30


def pixels(*colours: str) -> npt.NDArray[np.uint8]:
    array = np.zeros((len(colours), 8, 8, 3), np.uint8)
    for row, colour in enumerate(colours):
        array[row, ..., COLOURS.index(colour)] = 255
    return array


def tensor(*colours: str) -> triton.InferInput:
    array = pixels(*colours)
    given = triton.InferInput("image", list(array.shape), "UINT8")
    given.set_data_from_numpy(array)
    return given


def typed_tensor(colour: str) -> triton.InferInput:
    """Return one image in typed contents: what clients in other languages often send."""
    given = tensor(colour)
    raw = given._raw_content
    given._raw_content = None
    given._input.contents.uint_contents.extend(raw)
    return given


def files(*names: str, axes: int = 2, as_: str = "image") -> triton.InferInput:
    """Return encoded images as an input of shape [N, 1], or [N]."""
    data = [Path(sys.argv[2], name).read_bytes() for name in names]
    shape = [len(data), 1][:axes]
    given = triton.InferInput(as_, shape, "BYTES")
    given.set_data_from_numpy(np.array(data, object).reshape(shape))
    return given


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


def answers(client: Any) -> dict[str, Any]:
    """Ask in every way that is served."""
    full = client.infer(MODEL, [files("blue.jpg", "red.png")], request_id="r1")
    response = full.get_response()
    some = client.infer(
        MODEL, [tensor("green")], outputs=[triton.InferRequestedOutput("confidence")]
    )
    many = list(COLOURS) * 5
    with_parameters = client.infer(
        MODEL,
        [tensor("blue")],
        priority=1,
        timeout=20_000_000,  # microseconds, the server's
        client_timeout=20,
        parameters={"camera": "door", "lamp": 3, "night": True, "gain": 0.5},
    )
    return {
        "files": classes(full),
        "probabilities": full.as_numpy("probabilities").tolist(),
        "confidence": full.as_numpy("confidence").tolist(),
        "id": response.id,
        "version": response.model_version,
        "digest": response.parameters["model_digest"].string_param,
        "one_axis": classes(client.infer(MODEL, [files("red.png", axes=1)])),
        "raw": classes(client.infer(MODEL, [tensor("green")])),
        "typed": classes(client.infer(MODEL, [typed_tensor("blue")])),
        "by_version": classes(client.infer(MODEL, [tensor("red")], model_version="1")),
        "by_alias": classes(client.infer(MODEL, [tensor("red")], model_version="champion")),
        "requested": [output.name for output in some.get_response().outputs],
        "parameters": classes(with_parameters),
        "compressed": {
            algorithm: classes(
                client.infer(MODEL, [tensor(*many)], compression_algorithm=algorithm)
            )
            == many
            for algorithm in ("gzip", "deflate")
        },
    }


def refusals(client: Any) -> dict[str, list[str]]:
    """Ask for what must be refused."""
    wrong_shape = triton.InferInput("image", [1, 4, 4, 3], "UINT8")
    wrong_shape.set_data_from_numpy(np.zeros((1, 4, 4, 3), np.uint8))
    wrong_type = triton.InferInput("image", [1, 8, 8, 3], "FP32")
    wrong_type.set_data_from_numpy(np.zeros((1, 8, 8, 3), np.float32))
    wrong_name = files("red.png", as_="picture")
    broken = files("red.png", "broken.jpg")
    unknown = [triton.InferRequestedOutput("x")]
    return {
        "shape": refused(lambda: client.infer(MODEL, [wrong_shape])),
        "datatype": refused(lambda: client.infer(MODEL, [wrong_type])),
        "input": refused(lambda: client.infer(MODEL, [wrong_name])),
        "image": refused(lambda: client.infer(MODEL, [broken])),
        "output": refused(lambda: client.infer(MODEL, [tensor("red")], outputs=unknown)),
        "model": refused(lambda: client.infer("nothing", [tensor("red")])),
        "version": refused(lambda: client.infer(MODEL, [tensor("red")], model_version="99")),
        "metadata": refused(lambda: client.get_model_metadata("nothing")),
        "config": refused(lambda: client.get_model_config("nothing")),
        "statistics": refused(lambda: client.get_inference_statistics("nothing")),
        "cuda": refused(lambda: client.register_cuda_shared_memory("x", b"aGFuZGxl", 0, 1)),
    }


def described(client: Any) -> dict[str, Any]:
    """Ask what there is."""
    top = triton.InferRequestedOutput("probabilities", class_count=2)
    ranked = client.infer(MODEL, [tensor("green")], outputs=[top]).as_numpy("probabilities")
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(MODEL),
        "version_ready": [client.is_model_ready(MODEL, version) for version in ("1", "99")],
        "other_ready": client.is_model_ready("nothing"),
        "server": client.get_server_metadata(as_json=True),
        "metadata": client.get_model_metadata(MODEL, as_json=True),
        "versions": client.get_model_metadata(MODEL, "1", as_json=True)["versions"],
        "config": client.get_model_config(MODEL, "1", as_json=True)["config"],
        "index": client.get_model_repository_index(as_json=True)["models"],
        "statistics": client.get_inference_statistics(MODEL, as_json=True)["model_stats"],
        "all_statistics": len(client.get_inference_statistics().model_stats),
        "classification": [value.decode() for value in ranked[0]],
    }


def repository(client: Any) -> dict[str, Any]:
    """Unload and load a model, and see what is told meanwhile."""
    seen: dict[str, Any] = {"before": client.is_model_ready(MODEL)}
    client.unload_model(MODEL)
    seen["unloaded"] = client.is_model_ready(MODEL)
    seen["refused"] = refused(lambda: client.infer(MODEL, [tensor("red")]))
    index = client.get_model_repository_index(as_json=True)["models"]
    seen["index"] = [entry for entry in index if entry["name"] == MODEL]
    client.load_model(MODEL)
    seen["loaded"] = client.is_model_ready(MODEL)
    seen["answered"] = classes(client.infer(MODEL, [tensor("red")]))
    seen["override"] = refused(lambda: client.load_model(MODEL, config="{}"))
    seen["nothing"] = refused(lambda: client.load_model("nothing"))
    seen["unload_nothing"] = refused(lambda: client.unload_model("nothing"))
    return seen


def shared_memory(client: Any) -> dict[str, Any]:
    """Send pixels and files, and take answers, through shared memory."""
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    given, taken = f"/loopline-in-{uuid.uuid4().hex}", f"/loopline-out-{uuid.uuid4().hex}"
    array = pixels("blue", "green")
    inputs = shm.create_shared_memory_region("inputs", given, 4096)
    outputs = shm.create_shared_memory_region("outputs", taken, 4096)
    try:
        shm.set_shared_memory_region(inputs, [array])
        client.register_system_shared_memory("inputs", given, 4096)
        client.register_system_shared_memory("outputs", taken, 4096)
        image = triton.InferInput("image", list(array.shape), "UINT8")
        image.set_shared_memory("inputs", array.nbytes)
        wanted = triton.InferRequestedOutput("probabilities")
        wanted.set_shared_memory("outputs", 24, offset=64)
        others = triton.InferRequestedOutput("class")
        result = client.infer(MODEL, [image], outputs=[wanted, others])
        found = shm.get_contents_as_numpy(outputs, np.float32, [2, 3], offset=64)
        small = triton.InferRequestedOutput("probabilities")
        small.set_shared_memory("outputs", 8)
        unknown = triton.InferInput("image", list(array.shape), "UINT8")
        unknown.set_shared_memory("nothing", array.nbytes)
        encoded = serialize_byte_tensor(
            np.array([Path(sys.argv[2], "red.png").read_bytes()], object)
        )
        shm.set_shared_memory_region(inputs, [encoded], offset=1024)
        image_file = triton.InferInput("image", [1], "BYTES")
        image_file.set_shared_memory("inputs", len(encoded.item()), offset=1024)
        return {
            "classes": classes(result),
            "best": [COLOURS[index] for index in found.argmax(axis=1)],
            "parameters": dict.fromkeys(result.get_output("probabilities").parameters),
            "file": classes(client.infer(MODEL, [image_file])),
            "status": client.get_system_shared_memory_status(as_json=True)["regions"],
            "cuda": client.get_cuda_shared_memory_status(as_json=True),
            "again": refused(lambda: client.register_system_shared_memory("inputs", given, 1)),
            "too_small": refused(lambda: client.infer(MODEL, [image], outputs=[small])),
            "unknown": refused(lambda: client.infer(MODEL, [unknown])),
            "unregistered": _unregistered(client),
        }
    finally:
        client.unregister_system_shared_memory()
        shm.destroy_shared_memory_region(inputs)
        shm.destroy_shared_memory_region(outputs)


def _unregistered(client: Any) -> list[str]:
    client.unregister_system_shared_memory("outputs")
    return sorted(client.get_system_shared_memory_status().regions)


def datatypes(client: Any) -> dict[str, bool]:
    """Send an array of every datatype to a model that gives it back."""
    arrays = {
        "BOOL": np.array([[True, False]]),
        "UINT8": np.array([[0, 255]], np.uint8),
        "UINT16": np.array([[0, 65_535]], np.uint16),
        "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
        "UINT64": np.array([[0, 2**64 - 1]], np.uint64),
        "INT8": np.array([[-128, 127]], np.int8),
        "INT16": np.array([[-32_768, 32_767]], np.int16),
        "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
        "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
        "FP16": np.array([[0.5, -2]], np.float16),
        "FP32": np.array([[0.5, 1e38]], np.float32),
        "FP64": np.array([[0.1, 1e300]], np.float64),
        "BYTES": np.array([[b"one", "zwölf".encode()]], object),
    }
    inputs = []
    for datatype, array in arrays.items():
        given = triton.InferInput(f"in_{datatype.lower()}", [1, 2], datatype)
        given.set_data_from_numpy(array)
        inputs.append(given)
    result = client.infer("echo", inputs)
    same = {
        datatype: bool((result.as_numpy(f"out_{datatype.lower()}") == array).all())
        for datatype, array in arrays.items()
    }
    half = triton.InferInput("in_bf16", [1, 2], "BF16")
    half.set_data_from_numpy(np.array([[0.5, -2]], ml_dtypes.bfloat16))
    back = client.infer("echo-bf16", [half]).as_numpy("out_bf16")
    return {**same, "BF16": back.tolist() == [[0.5, -2]]}


def tasks(client: Any) -> dict[str, Any]:
    """Ask models with several outputs."""
    found: dict[str, Any] = {}
    for model in ("detection", "segmentation"):
        metadata = client.get_model_metadata(model, as_json=True)
        result = client.infer(model, [files("red.png", axes=1)])
        names = [output["name"] for output in metadata["outputs"]]
        found[model] = {name: list(result.as_numpy(name).shape) for name in names}
    return found


CONVERSATION: dict[str, Callable[[Any], dict[str, Any]]] = {
    "answers": answers,
    "refusals": refusals,
    "described": described,
    "tasks": tasks,
    "datatypes": datatypes,
    "shared_memory": shared_memory,
    "repository": repository,
}


def stream(client: Any) -> list[Any]:
    """Stream frames, one of them wrong, and one by an alias."""
    results: queue.Queue[Any] = queue.Queue()
    client.start_stream(callback=lambda result, error: results.put((result, error)))
    wrong = triton.InferInput("image", [1, 8, 8, 3], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 8, 8, 3), np.float32))
    frames = [tensor("red"), wrong, tensor("blue"), tensor("green", "red")]
    for number, frame in enumerate(frames):
        client.async_stream_infer(MODEL, [frame], request_id=f"frame-{number}")
    client.async_stream_infer(
        MODEL, [tensor("blue")], model_version="champion", enable_empty_final_response=True
    )
    seen: list[Any] = []
    for _ in range(5):
        result, error = results.get(timeout=30)
        if error is not None:
            seen.append(str(error))
        else:
            response = result.get_response()
            final = response.parameters.get("triton_final_response")
            seen.append([response.id, classes(result), bool(final and final.bool_param)])
    client.stop_stream()
    return seen


def called_back(client: Any) -> list[str]:
    """Ask without waiting."""
    results: queue.Queue[Any] = queue.Queue()
    client.async_infer(MODEL, [tensor("blue")], lambda result, error: results.put((result, error)))
    result, error = results.get(timeout=30)
    assert error is None, error
    return classes(result)


async def concurrently(client: Any) -> list[str]:
    """Ask many times at once."""
    found = await asyncio.gather(
        *(client.infer(MODEL, [tensor(COLOURS[i % 3])]) for i in range(AT_ONCE))
    )
    return [classes(answer)[0] for answer in found]


async def streamed(client: Any) -> list[list[str]]:
    """Stream frames through asyncio's client."""

    async def frames() -> AsyncIterator[dict[str, Any]]:
        for number in range(6):
            yield {
                "model_name": MODEL,
                "inputs": [tensor(COLOURS[number % 3])],
                "request_id": str(number),
            }

    seen = []
    async for result, error in client.stream_infer(frames()):
        assert error is None, error
        seen.append([result.get_response().id, *classes(result)])
    return seen


async def connected(address: str) -> triton_aio.InferenceServerClient:
    return triton_aio.InferenceServerClient(address)


def main(address: str, sections: list[str]) -> dict[str, Any]:
    """Hold the conversation with each client."""
    sections = sections or list(CONVERSATION)
    client = triton.InferenceServerClient(address)
    seen: dict[str, Any] = {name: CONVERSATION[name](client) for name in sections}
    seen |= {"stream": stream(client), "called_back": called_back(client)}
    client.close()
    with asyncio.Runner() as runner:
        aio = runner.run(connected(address))
        blocking = Blocking(runner, aio)
        seen["aio"] = {name: CONVERSATION[name](blocking) for name in sections}
        seen["aio"] |= {
            "stream": runner.run(streamed(aio)),
            "concurrently": runner.run(concurrently(aio)),
        }
        runner.run(aio.close())
    return seen


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[3:])))
