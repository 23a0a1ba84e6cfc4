"""The Open Inference Protocol and the typed RPC, as a client sees them."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Sequence
from typing import Any

import cv2
import grpc
import numpy as np
import pytest

from loopline.contracts import ArtefactRef, ModelCommitted
from loopline.contracts.inference.v1 import predict_pb2
from loopline.contracts.oip.v2 import (
    service_pb2,
)
from loopline.digests import sha256_hex
from loopline.store.commits import Committed
from loopline.testing.onnx_models import (
    COLOURS,
    colour_classifier,
    commit_model,
    move_alias,
    solid,
)
from services.inference.domain.tensors import Array, Arrays, join_raw_bytes, split_raw_bytes
from services.inference.service import Inference
from tests.unit.inference.conftest import BOTH_FRONTS, Client

InferRequest = service_pb2.ModelInferRequest
StatusCode = grpc.StatusCode


def encoded(colour: str, suffix: str = ".png") -> bytes:
    bgr = cv2.cvtColor(solid(colour, 40), cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(suffix, bgr)[1])


def pixels(*colours: str) -> bytes:
    return np.stack([solid(colour) for colour in colours]).tobytes()


def raw_request(datatype: str, shape: Sequence[int], raw: bytes, **fields: object) -> InferRequest:
    request = InferRequest(**({"model_name": "colours"} | fields))  # type: ignore[arg-type]
    request.inputs.add(name="image", datatype=datatype, shape=shape)
    request.raw_input_contents.append(raw)
    return request


def images_request(*files: bytes, **fields: object) -> InferRequest:
    return raw_request("BYTES", [len(files)], join_raw_bytes(files), **fields)


def classes(response: service_pb2.ModelInferResponse) -> list[str]:
    index = [output.name for output in response.outputs].index("class")
    count = response.outputs[index].shape[0]
    if response.raw_output_contents:
        found = split_raw_bytes(response.raw_output_contents[index], count)
    else:
        found = tuple(response.outputs[index].contents.bytes_contents)
    return [name.decode() for name in found]


async def refusal(client: Client, request: InferRequest | bytes) -> tuple[StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        await client.infer(request)
    return caught.value.code(), caught.value.details() or ""


async def deploy(
    service: Inference, sharpness: float = 0.1, name: str = "colours"
) -> Committed[ModelCommitted]:
    onnx = colour_classifier(sharpness=sharpness)
    model = await commit_model(service.log, service.objects, onnx, name=name)
    await move_alias(service.log, model.ref)
    await service.aliases.catch_up()
    return model


@pytest.fixture
async def model(service: Inference) -> ArtefactRef:
    return (await deploy(service)).ref


# --- answers


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
async def test_encoded_images_are_answered(client: Client, model: ArtefactRef, suffix: str) -> None:
    files = [encoded(colour, suffix) for colour in ("blue", "red", "green")]
    response = await client.infer(images_request(*files, id="42"))
    assert classes(response) == ["blue", "red", "green"]
    assert (response.model_name, response.model_version, response.id) == ("colours", "1", "42")
    assert response.parameters["model_digest"].string_param == model.digest
    outputs = {o.name: (o.datatype, list(o.shape)) for o in response.outputs}
    assert outputs == {
        "probabilities": ("FP32", [3, 3]),
        "class": ("BYTES", [3]),
        "confidence": ("FP32", [3]),
    }
    rows = np.frombuffer(response.raw_output_contents[0], "<f4").reshape(3, 3)
    assert np.frombuffer(response.raw_output_contents[2], "<f4").tolist() == rows.max(1).tolist()


@BOTH_FRONTS
async def test_a_typed_request_gets_a_typed_answer(client: Client, model: ArtefactRef) -> None:
    request = InferRequest(model_name="colours")
    tensor = request.inputs.add(name="image", datatype="UINT8", shape=[1, 8, 8, 3])
    tensor.contents.uint_contents.extend(pixels("green"))
    response = await client.infer(request)
    assert classes(response) == ["green"]
    assert not response.raw_output_contents
    assert len(response.outputs[0].contents.fp32_contents) == 3

    request.inputs[0].CopyFrom(InferRequest.InferInputTensor(name="image", datatype="BYTES"))
    request.inputs[0].shape.extend([1, 1])
    request.inputs[0].contents.bytes_contents.append(encoded("red"))
    assert classes(await client.infer(request)) == ["red"]


async def test_raw_pixels_are_answered(client: Client, model: ArtefactRef) -> None:
    request = raw_request("UINT8", [2, 8, 8, 3], pixels("red", "blue"))
    assert classes(await client.infer(request)) == ["red", "blue"]


async def test_only_the_outputs_asked_for_are_given(client: Client, model: ArtefactRef) -> None:
    request = images_request(encoded("red"))
    request.outputs.add(name="confidence")
    request.outputs.add(name="class")
    response = await client.infer(request)
    assert [output.name for output in response.outputs] == ["confidence", "class"]


@BOTH_FRONTS
async def test_many_at_once_are_each_given_their_own_answer(
    client: Client, model: ArtefactRef, service: Inference
) -> None:
    wanted = [COLOURS[index % 3] for index in range(40)]
    requests = [
        images_request(encoded(c)) if index % 2 else raw_request("UINT8", [1, 8, 8, 3], pixels(c))
        for index, c in enumerate(wanted)
    ]
    responses = await asyncio.gather(*map(client.infer, requests))
    assert [classes(response)[0] for response in responses] == wanted
    figures = service.repository.loaded()[0].statistics.snapshot()
    assert figures.success.count == figures.images == 40
    assert figures.executions <= 40


@BOTH_FRONTS
async def test_predict_answers_good_images_beside_a_bad_one(
    client: Client, model: ArtefactRef
) -> None:
    files = [encoded("red"), b"not an image", encoded("blue")]
    request = predict_pb2.PredictRequest(model="colours", images=files, id="7")
    response = await client.predict(request)
    assert response.id == "7"
    assert response.model.digest == model.digest
    assert response.model.version == 1
    first, second, third = response.predictions
    assert [p.asset for p in response.predictions] == [sha256_hex(file) for file in files]
    assert (first.class_name, third.class_name) == ("red", "blue")
    assert "not a PNG, JPEG" in second.error
    assert not second.shapes
    assert first.shapes[0].class_name == "red"
    assert first.shapes[0].confidence == first.confidence > 0.9
    assert [score.class_name for score in first.scores] == list(COLOURS)


async def test_predict_answers_where_every_image_is_bad(client: Client, model: ArtefactRef) -> None:
    response = await client.predict(predict_pb2.PredictRequest(model="colours", images=[b"x"]))
    assert response.predictions[0].error


# --- refusals


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        pytest.param(
            raw_request("UINT8", [1, 9, 9, 3], bytes(243)), "expected [N, 8, 8, 3]", id="shape"
        ),
        pytest.param(raw_request("FP32", [1, 8, 8, 3], bytes(768)), "datatype FP32", id="datatype"),
        pytest.param(raw_request("UINT8", [1, 8, 8, 3], bytes(7)), "has 7 elements", id="bytes"),
        pytest.param(raw_request("UINT8", [0, 8, 8, 3], b""), "batch is empty", id="empty batch"),
        pytest.param(
            images_request(*[b""] * 17), "17 images: at most 16", id="batch over the limit"
        ),
        pytest.param(
            raw_request("BYTES", [1], struct.pack("<I", 99)), "claims 99 bytes", id="BYTES length"
        ),
        pytest.param(InferRequest(model_name="colours"), "takes one input", id="no input"),
        pytest.param(
            InferRequest(model_name="colours", raw_input_contents=[b"x"]),
            "0 inputs and 1 raw_input_contents",
            id="raw without input",
        ),
        pytest.param(b"\xff\xff\xff", "not a ModelInferRequest", id="not protobuf"),
        pytest.param(
            images_request(encoded("red"), b"GARBAGE"), "image 1: not a PNG", id="no image"
        ),
        pytest.param(images_request(b""), "image 0: ", id="zero bytes"),
        pytest.param(
            images_request(encoded("red", ".jpg")[:-20]), "image 0: ", id="truncated JPEG"
        ),
        pytest.param(images_request(encoded("red")[:-20]), "image 0: ", id="truncated PNG"),
    ],
)
async def test_a_bad_request_is_an_invalid_argument_that_says_why(
    client: Client, model: ArtefactRef, request_: InferRequest | bytes, message: str
) -> None:
    code, details = await refusal(client, request_)
    assert code == StatusCode.INVALID_ARGUMENT
    assert message in details
    assert classes(await client.infer(images_request(encoded("red")))) == ["red"]


async def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    client: Client, model: ArtefactRef
) -> None:
    bomb = bytearray(encoded("red"))
    bomb[16:24] = struct.pack(">II", 20_000, 20_000)
    code, details = await refusal(client, images_request(bytes(bomb)))
    assert code == StatusCode.INVALID_ARGUMENT
    assert "20000 x 20000 pixels" in details


async def test_an_output_that_does_not_exist_is_refused(client: Client, model: ArtefactRef) -> None:
    request = images_request(encoded("red"))
    request.outputs.add(name="boxes")
    code, details = await refusal(client, request)
    assert code == StatusCode.INVALID_ARGUMENT
    assert "no output 'boxes'" in details


@pytest.mark.parametrize(
    ("name", "version"),
    [
        pytest.param("nothing", "", id="unknown model"),
        pytest.param("No.Such>Model", "1", id="a name that cannot be"),
        pytest.param("colours", "9", id="unknown version"),
        pytest.param("colours", "challenger", id="unknown alias"),
        pytest.param("colours", "9" * 30, id="a version that cannot be"),
    ],
)
async def test_what_is_not_there_is_not_found(
    client: Client, model: ArtefactRef, name: str, version: str
) -> None:
    request = images_request(encoded("red"), model_name=name, model_version=version)
    assert (await refusal(client, request))[0] == StatusCode.NOT_FOUND


@BOTH_FRONTS
async def test_a_message_above_the_limit_is_refused(client: Client, model: ArtefactRef) -> None:
    code, _ = await refusal(client, images_request(bytes(65 * 1024 * 1024)))
    assert code == StatusCode.RESOURCE_EXHAUSTED


@BOTH_FRONTS
async def test_a_full_queue_refuses_instead_of_growing(
    client: Client, model: ArtefactRef, service: Inference
) -> None:
    (servable,) = service.repository.loaded()
    admission = servable.admission
    admission.enter(admission.capacity_images - 1)
    code, details = await refusal(client, images_request(encoded("red"), encoded("red")))
    assert code == StatusCode.RESOURCE_EXHAUSTED
    assert "try again later" in details
    assert classes(await client.infer(images_request(encoded("red")))) == ["red"]
    admission.leave(admission.capacity_images - 1)
    assert admission.inside == 0


@BOTH_FRONTS
async def test_a_deadline_frees_its_place(
    client: Client, model: ArtefactRef, service: Inference
) -> None:
    """The engine is kept busy, so that the request is still queued when its time is up."""
    (servable,) = service.repository.loaded()
    busy, gate = threading.Event(), threading.Event()
    run = servable.batcher._run

    def slow(feeds: Arrays) -> dict[str, Array]:
        busy.set()
        assert gate.wait(20)
        return run(feeds)

    servable.batcher._run = slow
    first = asyncio.create_task(client.infer(raw_request("UINT8", [1, 8, 8, 3], pixels("red"))))
    assert await asyncio.to_thread(busy.wait, 20)
    late = raw_request("UINT8", [1, 8, 8, 3], pixels("blue"))
    with pytest.raises(grpc.RpcError) as caught:
        await client.call("ModelInfer", late, service_pb2.ModelInferResponse, timeout_s=0.2)
    assert caught.value.code() == StatusCode.DEADLINE_EXCEEDED
    gate.set()
    assert classes(await first) == ["red"]
    while servable.admission.inside:
        await asyncio.sleep(0.01)
    assert servable.statistics.snapshot().images == 1


async def test_images_are_decoded_while_the_engine_is_busy(
    client: Client, model: ArtefactRef, service: Inference, monkeypatch: pytest.MonkeyPatch
) -> None:
    (servable,) = service.repository.loaded()
    busy, gate, decoded = threading.Event(), threading.Event(), threading.Semaphore(0)
    run, submit = servable.batcher._run, servable.batcher.submit

    def slow(feeds: Arrays) -> dict[str, Array]:
        busy.set()
        assert gate.wait(20)
        return run(feeds)

    def queued(*args: Any, **kwargs: Any) -> None:
        submit(*args, **kwargs)
        decoded.release()

    monkeypatch.setattr(servable.batcher, "_run", slow)
    first = asyncio.create_task(client.infer(raw_request("UINT8", [1, 8, 8, 3], pixels("red"))))
    assert await asyncio.to_thread(busy.wait, 20)
    monkeypatch.setattr(servable.batcher, "submit", queued)
    colours = ("green", "blue")
    later = [asyncio.create_task(client.infer(images_request(encoded(c)))) for c in colours]
    try:
        for _ in later:  # pixels are there, and the engine has not answered anybody yet
            assert await asyncio.to_thread(decoded.acquire, timeout=20)
        assert servable.statistics.snapshot().executions == 0
    finally:
        gate.set()
    assert [classes(await one)[0] for one in (first, *later)] == ["red", *colours]
    assert servable.statistics.snapshot().executions == 2
