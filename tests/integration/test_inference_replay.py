"""A candidate runs on recorded production requests before an alias moves to it, end to end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import cv2
import grpc
import numpy as np
from typer.testing import CliRunner

from loopline.cli.main import app
from loopline.contracts import catalog
from loopline.contracts.inference.v1 import predict_pb2
from loopline.testing.onnx_models import COLOURS, colour_classifier, commit_model
from loopline.testing.servers import NatsTestServer
from tests.integration.inference_platform import Platform, Process, asking, until, version

IMAGES = 9
LEAST_OF_ALL = -0.1  # the sharpness of a classifier that names the colour there is least of


async def test_a_candidate_is_promoted_by_what_it_says_of_recorded_requests(
    platform: Platform, bus_server: NatsTestServer
) -> None:
    await platform.deploy()
    for sharpness in (LEAST_OF_ALL, 0.2):
        onnx = colour_classifier(sharpness=sharpness)
        await commit_model(platform.log, platform.objects, onnx)
    process = await platform.start(
        LOOPLINE_SAMPLE_SHARE="1", LOOPLINE_SAMPLE_EVERY_S="0.1", LOOPLINE_SAMPLE_PER_MINUTE="1000"
    )
    asked = [picture(number) for number in range(IMAGES)]
    assert await asyncio.to_thread(production, process, asked) == 1

    client = loopline(platform, bus_server, process)

    async def images() -> int:
        code, told = await client("colours@v3")
        return told["images"] if code == 0 else 0

    await until(images, IMAGES)  # until then nothing is recorded yet
    with asking(process) as ask:
        promote = ("--promote", "champion", "--agreement", "0.9")
        code, told = await client("colours@v2", *promote)
        assert (code, told["images"], told["agreed"], told["promoted"]) == (1, IMAGES, 0, False)
        assert await version(ask) == "1"
        code, told = await client("colours@v3", *promote)
        assert (code, told["images"], told["agreed"], told["promoted"]) == (0, IMAGES, IMAGES, True)
        await until(lambda: version(ask), "3")
    head = await platform.log.head(catalog.ALIAS_MOVED, model="colours", alias="champion")
    assert head is not None
    assert head.message.reason == (
        "replay: colours@v3 agreed on 9 of 9 recorded images (100.0%), could not answer 0"
    )
    # The trials themselves were no production: the version that failed is measured as before.
    code, told = await client("colours@v2")
    assert (code, told["images"], told["agreed"]) == (0, IMAGES, 0)


def picture(number: int) -> bytes:
    """Return a PNG mostly of a colour, that differs from all others."""
    image = np.zeros((12, 12, 3), np.uint8)
    image[..., number % 3] = 150 + number
    return bytes(cv2.imencode(".png", image)[1])


def production(process: Process, files: Sequence[bytes]) -> int:
    """Ask as a customer's program does; return the version that answered."""
    with grpc.insecure_channel(process.grpc) as channel:
        predict = channel.unary_unary(
            "/loopline.contracts.inference.v1.PredictService/Predict",
            request_serializer=predict_pb2.PredictRequest.SerializeToString,
            response_deserializer=predict_pb2.PredictResponse.FromString,
        )
        answer = predict(predict_pb2.PredictRequest(model="colours", images=files), timeout=20)
    assert {said.class_name for said in answer.predictions} == set(COLOURS)
    return int(answer.model.version)


def loopline(platform: Platform, bus: NatsTestServer, process: Process) -> Any:
    """Return what runs `loopline model replay`: its exit code, and what it told."""
    env = {name: value for name, value in platform.env.items() if name.startswith("LOOPLINE_")} | {
        "LOOPLINE_NATS_USER": bus.user,
        "LOOPLINE_NATS_PASSWORD": bus.password,
        "LOOPLINE_INFERENCE_GRPC": process.grpc,
    }

    def run(arguments: Sequence[str]) -> tuple[int, dict[str, Any]]:
        done = CliRunner().invoke(app, ["model", "replay", *arguments, "--json"], env=env)
        return done.exit_code, json.loads(done.stdout) if done.stdout else {}

    async def replay(*arguments: str) -> tuple[int, dict[str, Any]]:
        return await asyncio.to_thread(run, arguments)

    return replay
