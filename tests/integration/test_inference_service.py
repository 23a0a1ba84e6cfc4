"""Inference processes on a real bus and real storage, asked by clients that are not ours."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest

from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    Commit,
    FlowCommitted,
    RunKind,
    catalog,
)
from loopline.contracts.inference.v1 import predict_pb2
from loopline.flows import Flow
from loopline.store import runs
from loopline.store.commits import Committed
from loopline.testing.onnx_models import (
    COLOURS,
    colour_detector,
    commit_model,
    move_alias,
    solid,
)
from loopline.testing.servers import NatsTestServer
from tests.integration.inference_platform import (
    Ask,
    Platform,
    Process,
    asking,
    status,
    until,
    version,
)


async def test_an_unmodified_tritonclient_gets_right_answers(platform: Platform) -> None:
    model = await platform.deploy()
    process = await platform.start()
    told = await triton(process, platform.folder)
    for seen in (told, told["aio"]):
        answers = seen["answers"]
        assert answers["files"] == ["blue", "red"]
        assert answers["raw"] == ["green"]
        assert answers["typed"] == ["blue"]
        assert answers["by_version"] == ["red"]
        assert answers["requested"] == ["confidence"]
        assert (answers["id"], answers["version"]) == ("r1", "1")
        assert answers["digest"] == model.ref.digest
        assert [max(row) for row in answers["probabilities"]] == answers["confidence"]
        assert all(sum(row) == pytest.approx(1) for row in answers["probabilities"])
        assert "expected [N, 8, 8, 3]" in seen["refusals"]["shape"][1]
        assert "image 1: " in seen["refusals"]["image"][1]
    assert told["aio"]["concurrently"] == [COLOURS[index % 3] for index in range(30)]

    described = told["described"]
    assert described["live"]
    assert described["ready"]
    assert described["model_ready"]
    assert not described["other_ready"]
    assert described["server"]["name"] == "loopline"
    assert described["metadata"]["inputs"] == [
        {"name": "image", "datatype": "UINT8", "shape": ["-1", "8", "8", "3"]}
    ]
    assert described["config"]["name"] == "colours"
    assert described["config"]["input"][0]["data_type"] == "TYPE_UINT8"
    assert described["index"] == [{"name": "colours", "version": "1", "state": "READY"}]
    (statistics,) = described["statistics"]
    assert int(statistics["inference_stats"]["success"]["count"]) == 11
    assert int(statistics["inference_stats"]["fail"]["count"]) == 5


async def test_it_is_ready_without_a_model_and_serves_the_first_one_when_it_comes(
    platform: Platform,
) -> None:
    process = await platform.start()
    with asking(process) as ask:
        assert await status(ask) == grpc.StatusCode.NOT_FOUND
        await platform.deploy()
        await until(lambda: status(ask), grpc.StatusCode.OK)


async def test_every_process_follows_a_moved_alias(platform: Platform) -> None:
    first = await platform.deploy(0.1)
    one, other = await asyncio.gather(platform.start(), platform.start())
    with asking(one) as ask_one, asking(other) as ask_other:
        for ask in (ask_one, ask_other):
            assert (await asyncio.to_thread(ask)).model_version == "1"
        await platform.deploy(0.2)
        for ask in (ask_one, ask_other):
            await until(lambda ask=ask: version(ask), "2")  # type: ignore[misc]
        await move_alias(platform.log, first.ref)
        for ask in (ask_one, ask_other):
            await until(lambda ask=ask: version(ask), "1")  # type: ignore[misc]


async def test_a_running_process_serves_a_pipeline_once_its_flow_is_put(
    platform: Platform,
) -> None:
    detector = await commit_model(
        platform.log, platform.objects, colour_detector(16), name="boxes", shape=(16, 16, 3),
        task="detection",
    )  # fmt: skip
    await move_alias(platform.log, detector.ref)
    classifier = await platform.deploy()
    process = await platform.start()
    document = """
        flow: shelves
        datasets: [shelves]
        serve: [{model: colours, batch_max: 4, timeout_ms: 20000}]
        pipeline: [{name: parts, detector: {model: boxes}, classifier: {model: colours}}]
        """
    flow = Flow.parse(document)
    ref = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_FLOW, name=flow.name, digest=flow.digest)
    run = runs.new_run(RunKind.RUN_KIND_EDIT, parameters={"flow": flow.name})
    message = FlowCommitted(commit=Commit(artefact=ref, run=run), document=document)

    async def build(_: Committed[FlowCommitted] | None) -> FlowCommitted:
        return message

    await platform.log.commit(catalog.FLOW_COMMITTED, build, name=flow.name)
    png = bytes(cv2.imencode(".png", cv2.cvtColor(solid("green", 40), cv2.COLOR_RGB2BGR))[1])
    asked = predict_pb2.PredictRequest(model="parts", images=[png])
    with grpc.insecure_channel(process.grpc) as channel:
        predict = channel.unary_unary(
            "/loopline.contracts.inference.v1.PredictService/Predict",
            request_serializer=predict_pb2.PredictRequest.SerializeToString,
            response_deserializer=predict_pb2.PredictResponse.FromString,
        )

        async def is_served(predict: Callable[..., object] = predict) -> bool:
            try:
                await asyncio.to_thread(predict, asked, timeout=20)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                return False
            return True

        await until(is_served, True)
        answer = await asyncio.to_thread(predict, asked, timeout=20)
    (image,) = answer.predictions
    assert [shape.class_name for shape in image.shapes] == ["green"]
    assert image.shapes[0].bbox_xyxy.x_max == 40
    assert [crop.class_name for crop in image.crops] == ["green"]
    assert [step.digest for step in answer.steps] == [
        detector.ref.digest,
        classifier.ref.digest,
    ]


async def test_a_swap_under_load_fails_no_request(platform: Platform) -> None:
    await platform.deploy(0.1)
    process = await platform.start()
    seen: list[str] = []
    stopping = asyncio.Event()

    async def load(ask: Ask) -> None:
        while not stopping.is_set():
            seen.append(await version(ask))

    with asking(process) as ask:
        loads = [asyncio.create_task(load(ask)) for _ in range(4)]
        for number in range(2, 6):
            await platform.deploy(0.1 * number)
            await until(lambda: version(ask), str(number))
        stopping.set()
        await asyncio.gather(*loads)  # raises what any request raised
    assert set(seen) == {"1", "2", "3", "4", "5"}


@pytest.mark.slow
async def test_swaps_during_a_minute_of_load_fail_nothing_and_hardly_show(
    platform: Platform,
) -> None:
    """Four tritonclients ask without pause; in every other 3 s the alias moves."""
    await platform.deploy(0.1)
    process = await platform.start()
    script = Path(__file__).parent / "inference_load_client.py"
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), process.grpc, "4"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    await asyncio.sleep(2.0)  # connections and caches
    quiet: list[tuple[float, float]] = []
    swapping: list[tuple[float, float]] = []
    for number in range(2, 12):  # in turns, so that what else the machine does is in both
        began = time.time()
        await asyncio.sleep(3.0)
        quiet.append((began, time.time()))
        began = time.time()
        await platform.deploy(0.1 * number)
        await asyncio.sleep(3.0)
        swapping.append((began, time.time()))
    output, _ = await asyncio.wait_for(client.communicate(b""), 30)
    answers = [json.loads(line) for line in output.splitlines()]
    assert [error for *_, error in answers if error] == []
    assert {version for _, _, version, _ in answers} >= {str(number) for number in range(1, 12)}
    p99_quiet, p99_swapping = p99(answers, quiet), p99(answers, swapping)
    assert p99_swapping <= 2 * p99_quiet, (p99_quiet, p99_swapping, len(answers))


def p99(answers: Iterable[Any], spans: Iterable[tuple[float, float]]) -> float:
    """Return the 99th percentile of the latencies of what ended within the spans, seconds."""
    spans = list(spans)
    found = [
        latency for at, latency, *_ in answers if any(begin < at < end for begin, end in spans)
    ]
    return float(np.percentile(found, 99))


async def test_it_follows_on_after_the_bus_was_away(
    platform: Platform, bus_server: NatsTestServer
) -> None:
    await platform.deploy(0.1)
    process = await platform.start()
    bus_server.process.restart()
    with asking(process) as ask:
        assert (await asyncio.to_thread(ask)).model_version == "1"
        await until(lambda: deployed(platform), True)
        await until(lambda: version(ask), "2")


async def test_sigterm_ends_it_in_order(platform: Platform) -> None:
    await platform.deploy()
    process = await platform.start()
    with asking(process) as ask:
        assert await status(ask) == grpc.StatusCode.OK
        started = time.monotonic()
        assert await asyncio.to_thread(process.stop) == 0
        assert time.monotonic() - started < 10, platform.output()
        assert await status(ask) == grpc.StatusCode.UNAVAILABLE
    assert "service_stopped" in platform.output()


async def deployed(platform: Platform) -> bool:
    """Deploy once more; False while the bus does not answer."""
    try:
        await platform.deploy(0.2)
    except Exception:
        return False
    return True


async def triton(process: Process, folder: Path) -> dict[str, Any]:
    """Run the tritonclient script against a process; return what it saw."""
    write_images(folder)
    script = Path(__file__).parent / "clients/triton_grpc.py"
    sections = ("answers", "refusals", "described")
    client = await asyncio.create_subprocess_exec(
        sys.executable, script, process.grpc, folder, *sections, stdout=-1, stderr=-1
    )
    output, errors = await asyncio.wait_for(client.communicate(), 120)
    assert client.returncode == 0, errors.decode()
    seen: dict[str, Any] = json.loads(output)
    return seen


def write_images(folder: Path) -> None:
    """Write the images that the script sends."""
    for name in ("blue.jpg", "red.png"):
        bgr = cv2.cvtColor(solid(name.partition(".")[0], 48), cv2.COLOR_RGB2BGR)
        assert cv2.imwrite(str(folder / name), bgr)
    jpeg = (folder / "blue.jpg").read_bytes()
    (folder / "broken.jpg").write_bytes(jpeg[: len(jpeg) // 2])
