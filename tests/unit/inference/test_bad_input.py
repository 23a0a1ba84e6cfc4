"""Input that is wrong, odd or hostile: it is answered clearly, and what is beside it goes on."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import grpc
import httpx
import numpy as np
import orjson
import pytest
from PIL import Image

from loopline.contracts import ArtefactRef
from loopline.contracts.inference.v1 import predict_pb2
from loopline.contracts.oip.v2 import service_pb2
from loopline.store.blobs import MemoryBlobs
from loopline.testing.onnx_models import (
    COLOURS,
    colour_classifier,
    colour_detector,
    commit_model,
    move_alias,
    solid,
)
from services.inference.domain.tensors import join_raw_bytes, split_raw_bytes
from services.inference.service import Inference
from tests.unit.inference.conftest import Client

INFER = "/v2/models/colours/infer"
HEADER = "inference-header-content-length"
SIDE_PX = 16
GREEN = (16, 8, 40, 24)  # a rectangle in a picture of 64 x 32


@pytest.fixture
async def model(service: Inference) -> ArtefactRef:
    committed = await commit_model(service.log, service.objects, colour_classifier())
    await move_alias(service.log, committed.ref)
    await service.aliases.catch_up()
    return committed.ref


def images_request(*files: bytes, model: str = "colours") -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="image", datatype="BYTES", shape=[len(files)])
    request.raw_input_contents.append(join_raw_bytes(files))
    return request


async def classes(client: Client, *files: bytes) -> list[str]:
    response = await client.infer(images_request(*files))
    index = [output.name for output in response.outputs].index("class")
    return [
        name.decode() for name in split_raw_bytes(response.raw_output_contents[index], len(files))
    ]


def pillow(mode: str, colour: str, format_: str, **options: Any) -> bytes:
    """Return a solid picture as Pillow writes it in a mode."""
    image = Image.fromarray(solid(colour, 40)).convert(mode)
    data = io.BytesIO()
    image.save(data, format_, **options)
    return data.getvalue()


def deep(colour: str) -> bytes:
    """Return a PNG of 16 bits a sample."""
    bgr = cv2.cvtColor(solid(colour, 40), cv2.COLOR_RGB2BGR).astype(np.uint16) * 257
    return bytes(cv2.imencode(".png", bgr)[1])


def cut_out(colour: str) -> bytes:
    """Return a PNG that shows a colour only where it is opaque; the rest hides another one."""
    image = np.zeros((40, 40, 4), np.uint8)
    image[..., :3] = solid("blue", 40)
    image[:30, :, :3] = solid(colour, 40)[:30]
    image[:30, :, 3] = 255
    data = io.BytesIO()
    Image.fromarray(image, "RGBA").save(data, "PNG")
    return data.getvalue()


# --- images that are odd


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda colour: pillow("CMYK", colour, "JPEG"), id="CMYK JPEG"),
        pytest.param(lambda colour: pillow("P", colour, "PNG"), id="palette PNG"),
        pytest.param(lambda colour: pillow("P", colour, "GIF"), id="GIF"),
        pytest.param(lambda colour: pillow("RGB", colour, "JPEG", progressive=True), id="JPEG"),
        pytest.param(lambda colour: pillow("RGB", colour, "BMP"), id="BMP"),
        pytest.param(lambda colour: pillow("RGB", colour, "TIFF"), id="TIFF"),
        pytest.param(lambda colour: pillow("RGBA", colour, "WEBP"), id="WebP with alpha"),
        pytest.param(deep, id="16-bit PNG"),
        pytest.param(cut_out, id="alpha"),
    ],
)
async def test_odd_images_are_seen_as_people_see_them(
    client: Client, model: ArtefactRef, make: Callable[[str], bytes]
) -> None:
    assert await classes(client, *map(make, COLOURS[:2])) == ["red", "green"]


@pytest.mark.parametrize(
    ("mode", "format_"),
    [("L", "PNG"), ("LA", "PNG"), ("1", "PNG"), ("I;16", "PNG"), ("L", "JPEG"), ("L", "WEBP")],
)
async def test_grey_images_have_no_colour(
    client: Client, model: ArtefactRef, mode: str, format_: str
) -> None:
    grey = np.full((40, 40), 200, np.uint16 if mode == "I;16" else np.uint8)
    data = io.BytesIO()
    image = Image.fromarray(grey * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    image.save(data, format_)
    request = predict_pb2.PredictRequest(model="colours", images=[data.getvalue()])
    (answer,) = (await client.predict(request)).predictions
    assert not answer.error
    assert [score.score for score in answer.scores] == pytest.approx([1 / 3] * 3, abs=0.01)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_that_lies_on_its_side_is_stood_up(
    client: Client, service: Inference, format_: str
) -> None:
    """Boxes are told in the pixels of the picture as people see it."""
    onnx = colour_detector(SIDE_PX)
    committed = await commit_model(
        service.log,
        service.objects,
        onnx,
        name="boxes",
        shape=(SIDE_PX, SIDE_PX, 3),
        task="detection",
        fit="letterbox",
    )
    await move_alias(service.log, committed.ref)
    await service.aliases.catch_up()
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[GREEN[1] : GREEN[3], GREEN[0] : GREEN[2], 1] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter to the right
    data = io.BytesIO()
    Image.fromarray(np.rot90(upright)).save(data, format_, exif=exif)
    request = predict_pb2.PredictRequest(model="boxes", images=[data.getvalue()])
    (answer,) = (await client.predict(request)).predictions
    (shape,) = answer.shapes
    box = shape.bbox_xyxy
    assert (box.x_min, box.y_min, box.x_max, box.y_max) == pytest.approx(GREEN, abs=4)


# --- REST: bodies that are wrong


def document(**changed: Any) -> dict[str, Any]:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 8, 8, 3], "data": [0] * 192}
    return {"inputs": [{**tensor, **changed}]}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"{", "not JSON", id="not JSON"),
        pytest.param(b"[]", "not a JSON object", id="a list"),
        pytest.param(b"", "takes one input", id="empty"),
        pytest.param(b"[" * 100_000, "not JSON", id="deep"),
        pytest.param(b'{"inputs": 1}', "must be a list", id="inputs"),
        pytest.param(b'{"inputs": [1]}', "must be a list of objects", id="an input"),
        pytest.param(b'{"inputs": [], "outputs": {}}', "must be a list", id="outputs"),
        pytest.param(b'{"id": 7}', "id must be text", id="id"),
        pytest.param(document(shape="x"), "shape must be a list", id="shape"),
        pytest.param(document(shape=[1.5]), "no size", id="size"),
        pytest.param(document(shape=[1] * 33), "at most 32", id="axes"),
        pytest.param(document(shape=[1, 9, 9, 3]), "expected [N, 8, 8, 3]", id="other shape"),
        pytest.param(document(datatype="FP32"), "datatype FP32", id="datatype"),
        pytest.param(document(datatype="COLOUR"), "is none of", id="no datatype"),
        pytest.param(document(data=[0] * 191), "has 191 elements", id="elements"),
        pytest.param(document(data=[256] * 192), "holds the value 256", id="value"),
        pytest.param(document(data=[0.5] * 192), "0.5 is no UINT8", id="fraction"),
        pytest.param(document(data=["a"] * 192), "'a' is no UINT8", id="text"),
        pytest.param(document(data=[None] * 192), "None is no UINT8", id="null"),
        pytest.param(document(data=[True] * 192), "True is no UINT8", id="bool"),
        pytest.param(document(data={}), "data must be a list", id="data"),
        pytest.param(document(name=1), "name must be text", id="name"),
        pytest.param(document(parameters=[]), "must be an object", id="parameters"),
        pytest.param(document(shape=[0, 8, 8, 3], data=[]), "batch is empty", id="empty batch"),
        pytest.param(
            document(shape=[17, 8, 8, 3], data=[0] * 17 * 192), "at most 16", id="large batch"
        ),
        pytest.param(
            document(parameters={"binary_data_size": 4}), "exactly one of", id="data twice"
        ),
    ],
)
async def test_a_wrong_body_is_a_bad_request_that_says_why(
    rest: httpx.AsyncClient, model: ArtefactRef, body: Any, reason: str
) -> None:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    answer = await rest.post(INFER, content=content)
    assert answer.status_code == 400, answer.text
    assert reason in answer.json()["error"]
    assert (await rest.post(INFER, json=document())).status_code == 200


@pytest.mark.parametrize(
    ("length", "tail", "size", "reason"),
    [
        (None, b"", 192, "0 bytes are left"),
        (None, bytes(191), 192, "191 bytes are left"),
        (None, bytes(193), 192, "1 bytes follow"),
        (None, bytes(192), -1, "binary_data_size is -1"),
        (None, bytes(192), "192", "whole number"),
        ("x", bytes(192), 192, "inference-header-content-length is 'x'"),
        ("999999", bytes(192), 192, "the body has"),
        ("-1", bytes(192), 192, "inference-header-content-length is '-1'"),
        ("1", bytes(192), 192, "not JSON"),
    ],
)
async def test_binary_data_that_does_not_add_up_is_refused(
    rest: httpx.AsyncClient,
    model: ArtefactRef,
    length: str | None,
    tail: bytes,
    size: Any,
    reason: str,
) -> None:
    body = document(parameters={"binary_data_size": size})
    del body["inputs"][0]["data"]
    head = orjson.dumps(body)
    headers = {HEADER: length if length is not None else str(len(head))}
    answer = await rest.post(INFER, content=head + tail, headers=headers)
    assert answer.status_code == 400, answer.text
    assert reason in answer.json()["error"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_explodes_when_decompressed_is_refused(
    rest: httpx.AsyncClient, model: ArtefactRef, encoding: str
) -> None:
    """200 KB that would be 200 MB: it stops at the limit, it does not decompress them first."""
    bits = 31 if encoding == "gzip" else 15
    deflate = zlib.compressobj(9, wbits=bits)
    bomb = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(200)) + deflate.flush()
    answer = await rest.post(INFER, content=bomb, headers={"content-encoding": encoding})
    assert answer.status_code == 413
    assert "when it is decompressed" in answer.json()["error"]


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("br", b"x", "not known"),
        ("gzip", b"not gzip", "is not gzip"),
        ("gzip", zlib.compress(b"{}")[:-3], "ends early"),
    ],
)
async def test_a_body_of_another_encoding_is_refused(
    rest: httpx.AsyncClient, model: ArtefactRef, encoding: str, body: bytes, reason: str
) -> None:
    answer = await rest.post(INFER, content=body, headers={"content-encoding": encoding})
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


async def test_a_body_above_the_limit_is_refused_before_it_is_read(
    service: Inference, model: ArtefactRef
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.fronts.rest.port)
    size = 65 * 1024**2
    writer.write(f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n".encode())
    status = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    assert status.split()[1] == b"413"


async def test_a_body_without_a_length_is_read_up_to_the_limit(
    rest: httpx.AsyncClient, model: ArtefactRef
) -> None:
    async def endless() -> Any:
        for _ in range(70):
            yield bytes(1024**2)

    answer = await rest.post(INFER, content=endless())
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/nothing", 404),
        ("POST", "/v2/models/nothing/infer", 404),
        ("GET", "/v2/models/colours/versions/9", 404),
        ("GET", "/v2/models/nothing/stats", 404),
        ("GET", "/v2/models/nothing/ready", 400),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/colours/infer", 405),
        ("POST", "/v2/repository/models/nothing/load", 404),
        ("POST", "/v2/cudasharedmemory/region/x/register", 501),
        ("GET", "/v2/systemsharedmemory/region/x/status", 404),
    ],
)
async def test_what_is_not_there_is_said_with_its_status(
    rest: httpx.AsyncClient, model: ArtefactRef, method: str, path: str, status: int
) -> None:
    content = orjson.dumps(document()) if path.endswith("infer") else b""
    assert (await rest.request(method, path, content=content)).status_code == status


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"key": 1}, "key must be text"),
        ({"key": "x", "byte_size": "1"}, "whole number"),
        ({"key": "../etc/passwd", "byte_size": 1}, "not the name"),
        ({"key": "nothing", "byte_size": 1}, "cannot be opened"),
    ],
)
async def test_shared_memory_that_is_none_is_a_bad_request(
    rest: httpx.AsyncClient, body: dict[str, Any], reason: str
) -> None:
    answer = await rest.post("/v2/systemsharedmemory/region/x/register", json=body)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


# --- parameters


@pytest.mark.parametrize(
    ("where", "name", "value", "reason"),
    [
        ("output", "classification", 0, ""),
        ("output", "classification", -1, "can be asked for"),
        ("output", "classification", 5_000, "can be asked for"),
        ("output", "shared_memory_region", "r", "must be given"),
        ("input", "shared_memory_region", 7, "must be text"),
        ("request", "timeout", "soon", "whole number"),
    ],
)
async def test_parameters_are_taken_as_they_are_meant_or_refused(
    client: Client, model: ArtefactRef, where: str, name: str, value: Any, reason: str
) -> None:
    request = images_request(bytes(cv2.imencode(".png", solid("red", 8))[1]))
    wanted = request.outputs.add(name="probabilities")
    holder: Any = {"output": wanted, "input": request.inputs[0], "request": request}[where]
    field = "string_param" if isinstance(value, str) else "int64_param"
    setattr(holder.parameters[name], field, value)
    if not reason:
        assert (await client.infer(request)).outputs[0].datatype == "FP32"
        return
    with pytest.raises(grpc.RpcError) as caught:
        await client.infer(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert reason in (caught.value.details() or "")


async def test_parameters_of_others_are_left_alone(client: Client, model: ArtefactRef) -> None:
    request = images_request(bytes(cv2.imencode(".png", solid("red", 8))[1]))
    request.parameters["sequence_id"].int64_param = 7
    request.parameters["camera"].string_param = "door"
    request.parameters["nothing"].SetInParent()
    assert (await client.infer(request)).model_name == "colours"


# --- models that are broken


async def test_a_model_whose_file_has_a_flipped_byte_is_not_served(
    client: Client, service: Inference, model: ArtefactRef, blobs: MemoryBlobs
) -> None:
    committed = await commit_model(service.log, service.objects, colour_classifier(sharpness=0.5))
    (file,) = committed.message.files
    key = next(info.key for info in blobs.list("") if info.key.endswith(file.digest))
    data = bytearray(blobs.get(key))
    data[len(data) // 2] ^= 1
    blobs.put(key, bytes(data))
    request = images_request(bytes(cv2.imencode(".png", solid("red", 8))[1]))
    request.model_version = "2"
    with pytest.raises(grpc.RpcError) as caught:
        await client.infer(request)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "v2 cannot be served" in (caught.value.details() or "")
    request.model_version = "1"
    assert (await client.infer(request)).model_version == "1"


async def test_a_model_that_needs_an_operator_that_is_not_there_says_which(
    client: Client, service: Inference, model: ArtefactRef
) -> None:
    onnx = colour_classifier().replace(b"Softmax", b"Hardmoe")
    await commit_model(service.log, service.objects, onnx)
    request = images_request(bytes(cv2.imencode(".png", solid("red", 8))[1]))
    request.model_version = "2"
    with pytest.raises(grpc.RpcError) as caught:
        await client.infer(request)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "Hardmoe" in (caught.value.details() or "")


async def test_many_bad_requests_among_good_ones_change_no_answer(
    client: Client, model: ArtefactRef
) -> None:
    """Batches are formed of what waits, so the bad and the good meet there."""
    good = {
        colour: bytes(cv2.imencode(".png", cv2.cvtColor(solid(colour, 8), cv2.COLOR_RGB2BGR))[1])
        for colour in COLOURS
    }
    bad = service_pb2.ModelInferRequest(model_name="colours")
    bad.inputs.add(name="image", datatype="BYTES", shape=[1])
    bad.raw_input_contents.append(struct.pack("<I", 5) + b"image")

    async def ask(number: int) -> list[str]:
        if number % 3 == 0:
            with pytest.raises(grpc.RpcError):
                await client.infer(bad)
            return []
        return await classes(client, good[COLOURS[number % 3]], good["red"])

    answers = await asyncio.gather(*(ask(number) for number in range(60)))
    assert answers == [[] if n % 3 == 0 else [COLOURS[n % 3], "red"] for n in range(60)]
