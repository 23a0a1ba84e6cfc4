"""Clients of the field, unmodified, against both fronts; each in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from loopline.store.blobs import MemoryBlobs
from loopline.testing.memory import MemoryBus, memory_service
from loopline.testing.onnx_models import (
    COLOURS,
    colour_classifier,
    colour_detector,
    colour_segmenter,
    commit_model,
    move_alias,
    solid,
)
from loopline.testing.onnx_tensors import ONNX_TYPES, echo
from services.inference.domain.model import TENSORS
from services.inference.service import Inference
from services.inference.settings import InferenceSettings

CLIENTS = Path(__file__).parent / "clients"
KSERVE = Path(__file__).parents[2] / ".bench/peers/kserve/bin/python"
SIDE_PX = 16
CLIENT_TIMEOUT_S = 120.0


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Inference]:
    settings = InferenceSettings(data_dir=tmp_path, engine_threads=1, decode_threads=2, drain_s=1.0)
    service = memory_service(Inference, settings, MemoryBus(), MemoryBlobs())
    await service.start()
    await deploy(service)
    yield service
    await service.stop()
    service.objects.close()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("blue.jpg", "red.png"):
        bgr = cv2.cvtColor(solid(name.partition(".")[0], 48), cv2.COLOR_RGB2BGR)
        assert cv2.imwrite(str(tmp_path / name), bgr)
    return tmp_path


async def deploy(service: Inference) -> None:
    """Serve a model of each task, and two that give back what they get."""
    shape = (SIDE_PX, SIDE_PX, 3)
    most = [datatype for datatype in ONNX_TYPES if datatype != "BF16"]
    models: list[tuple[str, bytes, dict[str, Any]]] = [
        ("colours", colour_classifier(), {}),
        ("detection", colour_detector(SIDE_PX), {"shape": shape, "task": "detection"}),
        ("segmentation", colour_segmenter(SIDE_PX), {"shape": shape, "task": "segmentation"}),
        ("echo", echo(*most), {"classes": (), "task": TENSORS}),
        ("echo-bf16", echo("BF16"), {"classes": (), "task": TENSORS}),
    ]
    for name, onnx, fields in models:
        model = await commit_model(service.log, service.objects, onnx, name=name, **fields)
        await move_alias(service.log, model.ref)
    await service.aliases.catch_up()


async def run_client(script: str, address: str, *arguments: object, python: str = "") -> Any:
    """Return what a client's script saw."""
    client = await asyncio.create_subprocess_exec(
        python or sys.executable,
        str(CLIENTS / script),
        address,
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(client.communicate(), CLIENT_TIMEOUT_S)
    assert client.returncode == 0, errors.decode()
    return json.loads(output)


async def test_tritonclient_over_grpc_works_for_all_of_it(service: Inference, images: Path) -> None:
    seen = await run_client("triton_grpc.py", f"127.0.0.1:{service.fronts.grpc.port}", images)

    assert seen["tasks"] == {
        "detection": {"boxes": [1, 3, 4], "scores": [1, 3], "labels": [1, 3]},
        "segmentation": {"mask": [1, SIDE_PX, SIDE_PX], "confidence": [1, SIDE_PX, SIDE_PX]},
    }
    assert set(seen["datatypes"]) == set(ONNX_TYPES)
    assert all(seen["datatypes"].values()), seen["datatypes"]

    first, wrong, third, fourth, final = seen["stream"]
    assert first == ["frame-0", ["red"], False]
    assert "datatype FP32" in wrong
    assert third == ["frame-2", ["blue"], False]
    assert fourth == ["frame-3", ["green", "red"], False]
    assert final == ["", ["blue"], True]

    memory = seen["shared_memory"]
    assert memory["classes"] == memory["best"] == ["blue", "green"]
    assert set(memory["parameters"]) >= {"shared_memory_region", "shared_memory_byte_size"}
    assert memory["file"] == ["red"]
    assert set(memory["status"]) == {"inputs", "outputs"}
    assert memory["status"]["inputs"]["byte_size"] == "4096"
    assert memory["cuda"] == {}
    assert memory["again"][0] == "StatusCode.ALREADY_EXISTS"
    assert memory["too_small"][0] == "StatusCode.INVALID_ARGUMENT"
    assert memory["unknown"][0] == "StatusCode.NOT_FOUND"
    assert memory["unregistered"] == ["inputs"]

    described = seen["described"]
    assert described["live"]
    assert described["ready"]
    assert {"statistics", "system_shared_memory"} <= set(described["extensions"])
    assert described["config"]["platform"] == "onnxruntime_onnx"
    (statistics,) = described["statistics"]
    assert int(statistics["inference_stats"]["queue"]["count"]) > 0
    assert int(statistics["batch_stats"][0]["compute_infer"]["ns"]) > 0
    assert described["all_statistics"] == 5
    assert [v.split(":")[1:] for v in described["classification"]] == [["1", "green"], ["0", "red"]]
    assert described["async"] == ["blue"]
    check_repository(seen["repository"], "StatusCode.UNAVAILABLE", "StatusCode.INVALID_ARGUMENT")
    assert seen["repository"]["nothing"][0] == "StatusCode.NOT_FOUND"
    assert seen["repository"]["unload_nothing"][0] == "StatusCode.NOT_FOUND"
    assert [e["state"] for e in seen["repository"]["index"]] == ["UNAVAILABLE"]

    aio = seen["aio"]
    assert aio["stream"] == [[str(n), COLOURS[n % 3]] for n in range(6)]
    assert aio["answers"] == [COLOURS[n % 3] for n in range(9)]
    assert (aio["unloaded"], aio["loaded"], aio["config"]) == (False, True, "colours")
    assert aio["regions"] == {}


async def test_tritonclient_over_http_works_for_all_of_it(service: Inference, images: Path) -> None:
    seen = await run_client("triton_http.py", f"127.0.0.1:{service.fronts.rest.port}", images)

    answers = seen["answers"]
    assert answers["files"] == ["blue", "red"]
    assert answers["id"] == "r1"
    assert answers["pixels"] == answers["async"] == ["green"]
    assert (answers["json"], answers["version"]) == (["blue"], ["red"])
    assert answers["top"][0].endswith(":0:red")
    assert answers["gzip"]
    assert answers["deflate"]
    (servable,) = [s for s in service.repository.loaded() if s.model.name == "colours"]
    assert answers["digest"] == servable.model.digest
    statuses = {name: status for name, (status, _) in seen["refusals"].items()}
    assert statuses == {"datatype": "400", "model": "404", "version": "404", "output": "400"}
    assert "datatype FP32" in seen["refusals"]["datatype"][1]

    described = seen["described"]
    assert (described["live"], described["ready"], described["model_ready"]) == (True, True, True)
    assert described["other_ready"] is False
    assert described["server"]["name"] == "loopline"
    assert described["metadata"]["inputs"] == [
        {"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8, 3]}
    ]
    assert described["config"]["max_batch_size"] == 64
    assert described["config"]["input"][0]["data_type"] == "TYPE_UINT8"
    assert described["statistics"][0]["inference_stats"]["success"]["count"] > 0
    assert {"name": "colours", "version": "1", "state": "READY", "reason": ""} in described["index"]
    assert len(seen["datatypes"]) == 26
    assert all(seen["datatypes"].values()), seen["datatypes"]

    memory = seen["shared_memory"]
    assert memory["best"] == ["blue", "green"]
    assert memory["told"]["parameters"] == {
        "shared_memory_region": "both",
        "shared_memory_byte_size": 24,
        "shared_memory_offset": 1024,
    }
    assert memory["status"] == memory["one"]
    assert memory["one"][0]["byte_size"] == 4096
    assert memory["unknown"][0] == "404"
    assert memory["again"][0] == "409"
    check_repository(seen["repository"], "503", "400")

    aio = seen["aio"]
    assert aio["answers"] == [COLOURS[n % 3] for n in range(9)]
    assert (aio["metadata"], aio["statistics"]) == ("colours", 5)
    assert (aio["unloaded"], aio["loaded"]) == (False, True)


def check_repository(seen: dict[str, Any], unavailable: str, invalid: str) -> None:
    assert seen["unloaded"] is False
    assert seen["refused"][0] == unavailable
    assert "was unloaded" in seen["refused"][1]
    assert seen["loaded"] is True
    assert seen["override"][0] == invalid


@pytest.mark.external  # `make bench-peers PEERS=kserve` makes its environment
async def test_kserves_client_works_over_rest_and_grpc(service: Inference) -> None:
    rest_url = f"http://127.0.0.1:{service.fronts.rest.port}"
    grpc_address = f"127.0.0.1:{service.fronts.grpc.port}"
    seen = await run_client("kserve_client.py", rest_url, grpc_address, python=str(KSERVE))
    told = {"live": True, "ready": True, "model": True, "nothing": False}
    full = {"id": "k1", "best": [2, 0], "outputs": ["probabilities", "class", "confidence"]}
    refused = seen["rest"].pop("refused")
    assert "no model 'nothing'" in refused
    assert seen["rest"] == {**told, "json": full, "binary": full}
    assert seen["grpc"] == {**told, "typed": full, "raw": {**full, "outputs": ["probabilities"]}}
