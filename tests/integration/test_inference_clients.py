"""Clients of the field, unmodified, against both fronts; each in a process of its own.

`make test-external` asks once more with clients that share no package with us.
"""

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
PEERS = Path(__file__).parents[2] / ".bench/peers"
TRITON, KSERVE = (str(PEERS / name / "bin/python") for name in ("tritonclient", "kserve"))
INTERPRETERS = [
    pytest.param(sys.executable, id="here"),
    pytest.param(TRITON, id="apart", marks=pytest.mark.external),
]
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
    jpeg = (tmp_path / "blue.jpg").read_bytes()
    (tmp_path / "broken.jpg").write_bytes(jpeg[: len(jpeg) // 2])
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


async def run_client(python: str, script: str, address: str, *arguments: object) -> Any:
    """Return what a client's script saw."""
    client = await asyncio.create_subprocess_exec(
        python,
        str(CLIENTS / script),
        address,
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(client.communicate(), CLIENT_TIMEOUT_S)
    assert client.returncode == 0, errors.decode()
    return json.loads(output)


@pytest.mark.parametrize("python", INTERPRETERS)
async def test_tritonclient_over_grpc_works_for_all_of_it(
    service: Inference, images: Path, python: str
) -> None:
    address = f"127.0.0.1:{service.fronts.grpc.port}"
    seen = await run_client(python, "triton_grpc.py", address, images)
    aio = seen.pop("aio")
    for told in (seen, aio):
        check_grpc(told)

    first, wrong, third, fourth, final = seen["stream"]
    assert first == ["frame-0", ["red"], False]
    assert "datatype FP32" in wrong
    assert third == ["frame-2", ["blue"], False]
    assert fourth == ["frame-3", ["green", "red"], False]
    assert final == ["", ["blue"], True]
    assert seen["called_back"] == ["blue"]
    assert aio["stream"] == [[str(n), COLOURS[n % 3]] for n in range(6)]
    assert aio["concurrently"] == [COLOURS[n % 3] for n in range(30)]


def check_grpc(seen: dict[str, Any]) -> None:
    """Check one conversation over gRPC."""
    answers = seen["answers"]
    assert answers["files"] == ["blue", "red"]
    assert answers["one_axis"] == answers["by_version"] == answers["by_alias"] == ["red"]
    assert (answers["raw"], answers["typed"]) == (["green"], ["blue"])
    assert answers["parameters"] == ["blue"]
    assert answers["compressed"] == {"gzip": True, "deflate": True}

    missing = {"model", "version", "metadata", "config", "statistics"}
    for name, (status, _) in seen["refusals"].items():
        wanted = "NOT_FOUND" if name in missing else "INVALID_ARGUMENT"
        assert status == f"StatusCode.{'UNIMPLEMENTED' if name == 'cuda' else wanted}", name

    assert seen["tasks"] == {
        "detection": {"boxes": [1, 3, 4], "scores": [1, 3], "labels": [1, 3]},
        "segmentation": {"mask": [1, SIDE_PX, SIDE_PX], "confidence": [1, SIDE_PX, SIDE_PX]},
    }
    assert set(seen["datatypes"]) == set(ONNX_TYPES)
    assert all(seen["datatypes"].values()), seen["datatypes"]

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
    assert {"statistics", "system_shared_memory"} <= set(described["server"]["extensions"])
    assert described["version_ready"] == [True, False]
    assert described["versions"] == ["1"]
    assert described["config"]["platform"] == "onnxruntime_onnx"
    (statistics,) = described["statistics"]
    check_statistics(statistics)
    assert described["all_statistics"] == 5
    assert [v.split(":")[1:] for v in described["classification"]] == [["1", "green"], ["0", "red"]]

    check_repository(seen["repository"], "StatusCode.UNAVAILABLE", "StatusCode.INVALID_ARGUMENT")
    assert seen["repository"]["nothing"][0] == "StatusCode.NOT_FOUND"
    assert seen["repository"]["unload_nothing"][0] == "StatusCode.NOT_FOUND"
    assert [e["state"] for e in seen["repository"]["index"]] == ["UNAVAILABLE"]


@pytest.mark.parametrize("python", INTERPRETERS)
async def test_tritonclient_over_http_works_for_all_of_it(
    service: Inference, images: Path, python: str
) -> None:
    address = f"127.0.0.1:{service.fronts.rest.port}"
    seen = await run_client(python, "triton_http.py", address, images)
    aio = seen.pop("aio")
    (servable,) = [s for s in service.repository.loaded() if s.model.name == "colours"]
    for told in (seen, aio):
        check_http(told, servable.model.digest)
    assert seen["async"] == ["green"]
    assert aio["concurrently"] == [COLOURS[n % 3] for n in range(9)]


def check_http(seen: dict[str, Any], digest: str) -> None:
    """Check one conversation over HTTP."""
    answers = seen["answers"]
    assert answers["files"] == ["blue", "red"]
    assert answers["id"] == "r1"
    assert answers["pixels"] == ["green"]
    assert answers["json"] == answers["parameters"] == ["blue"]
    assert answers["version"] == answers["alias"] == ["red"]
    assert answers["top"][0].endswith(":0:red")
    assert answers["gzip"]
    assert answers["deflate"]
    assert answers["digest"] == digest

    missing = {"model", "version", "metadata", "config", "statistics"}
    for name, (status, _) in seen["refusals"].items():
        assert status == ("404" if name in missing else "400"), name
    assert "datatype FP32" in seen["refusals"]["datatype"][1]
    assert "image 1: " in seen["refusals"]["image"][1]

    described = seen["described"]
    assert (described["live"], described["ready"], described["model_ready"]) == (True, True, True)
    assert described["other_ready"] is False
    assert described["version_ready"] == [True, False]
    assert described["server"]["name"] == "loopline"
    assert described["metadata"]["inputs"] == [
        {"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8, 3]}
    ]
    assert described["versions"] == ["1"]
    assert described["config"]["max_batch_size"] == 64
    assert described["config"]["input"][0]["data_type"] == "TYPE_UINT8"
    (statistics,) = described["statistics"]
    check_statistics(statistics)
    assert described["all_statistics"] == 5
    assert {"name": "colours", "version": "1", "state": "READY", "reason": ""} in described["index"]
    assert len(seen["datatypes"]) == 27
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


def check_statistics(seen: dict[str, Any]) -> None:
    """Check counts and nanoseconds: gRPC's client tells them as text, HTTP's as numbers."""
    kinds = ("success", "queue", "compute_input", "compute_infer", "compute_output")
    for kind in kinds:
        assert int(seen["inference_stats"][kind]["count"]) > 0, kind
        assert int(seen["inference_stats"][kind]["ns"]) > 0, kind
    assert int(seen["inference_stats"]["fail"]["count"]) > 0
    sizes = {int(batch["batch_size"]): batch for batch in seen["batch_stats"]}
    assert {1, 2, 15} <= set(sizes)  # what was asked together was run together
    for kind in kinds[2:]:
        assert all(int(batch[kind]["ns"]) > 0 for batch in sizes.values()), kind


def check_repository(seen: dict[str, Any], unavailable: str, invalid: str) -> None:
    assert seen["unloaded"] is False
    assert seen["refused"][0] == unavailable
    assert "was unloaded" in seen["refused"][1]
    assert seen["loaded"] is True
    assert seen["override"][0] == invalid


@pytest.mark.external
async def test_kserves_client_works_over_rest_and_grpc(service: Inference) -> None:
    rest_url = f"http://127.0.0.1:{service.fronts.rest.port}"
    grpc_address = f"127.0.0.1:{service.fronts.grpc.port}"
    seen = await run_client(KSERVE, "kserve_client.py", rest_url, grpc_address)
    told = {"live": True, "ready": True, "model": True, "nothing": False}
    full = {"id": "k1", "best": [2, 0], "outputs": ["probabilities", "class", "confidence"]}
    refused = seen["rest"].pop("refused")
    assert "no model 'nothing'" in refused
    assert seen["rest"] == {**told, "json": full, "binary": full}
    assert seen["grpc"] == {**told, "typed": full, "raw": {**full, "outputs": ["probabilities"]}}
