"""Detection, segmentation and plain tensors: what clients and datasets are told."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper

from loopline.contracts import ArtefactRef
from loopline.contracts.inference.v1 import predict_pb2
from loopline.contracts.oip.v2 import model_config_pb2, service_pb2
from loopline.digests import sha256_hex
from loopline.errors import Rejected
from loopline.store.items import Item
from loopline.store.objects import Area
from loopline.testing.memory import MemoryBus
from loopline.testing.onnx_models import (
    COLOURS,
    colour_detector,
    colour_segmenter,
    commit_model,
    move_alias,
)
from loopline.vision import masks
from services.inference.adapters.engine.session import EngineOptions, OnnxEngine
from services.inference.domain.model import TENSORS, ModelVersion
from services.inference.domain.tensors import join_raw_bytes
from services.inference.service import Inference
from tests.unit.inference.conftest import Client
from tests.unit.inference.test_applications import World

SIDE_PX = 16
WIDTH_PX, HEIGHT_PX = 64, 32  # of the pictures; in a letterbox they lie in rows 4 to 12
GREEN = (16, 8, 40, 24)


def picture() -> bytes:
    """Return a black PNG with a green rectangle."""
    image = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    x_min, y_min, x_max, y_max = GREEN
    image[y_min:y_max, x_min:x_max, 1] = 255
    return bytes(cv2.imencode(".png", image)[1])


async def deploy(service: Inference, task: str) -> ArtefactRef:
    onnx = colour_detector(SIDE_PX) if task == "detection" else colour_segmenter(SIDE_PX)
    model = await commit_model(
        service.log,
        service.objects,
        onnx,
        name=task,
        shape=(SIDE_PX, SIDE_PX, 3),
        task=task,
        fit="letterbox",
    )
    await move_alias(service.log, model.ref)
    await service.aliases.catch_up()
    return model.ref


async def infer(
    client: Client, model: str, datatype: str, shape: list[int], raw: bytes, name: str = "image"
) -> dict[str, bytes]:
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.raw_input_contents.append(raw)
    response = await client.infer(request)
    return dict(zip([o.name for o in response.outputs], response.raw_output_contents, strict=True))


async def test_boxes_come_in_pixels_of_the_image_that_was_sent(
    client: Client, service: Inference
) -> None:
    await deploy(service, "detection")
    outputs = await infer(client, "detection", "BYTES", [1], join_raw_bytes([picture()]))
    scores = np.frombuffer(outputs["scores"], "<f4")
    labels = np.frombuffer(outputs["labels"], "<i8")
    boxes = np.frombuffer(outputs["boxes"], "<f4").reshape(3, 4)
    green = COLOURS.index("green")
    assert scores[green] == pytest.approx(0.9)
    assert labels[green] == green
    assert boxes[green].tolist() == pytest.approx(GREEN, abs=4)  # a pixel of the input is 4


async def test_boxes_come_in_pixels_of_the_input_where_pixels_were_sent(
    client: Client, service: Inference
) -> None:
    await deploy(service, "detection")
    pixels = np.zeros((1, SIDE_PX, SIDE_PX, 3), np.uint8)
    pixels[0, 2:6, 3:9, 1] = 255
    outputs = await infer(client, "detection", "UINT8", list(pixels.shape), pixels.tobytes())
    boxes = np.frombuffer(outputs["boxes"], "<f4").reshape(3, 4)
    assert boxes[COLOURS.index("green")].tolist() == [3, 2, 9, 6]


@pytest.mark.parametrize("task", ["detection", "segmentation"])
async def test_predict_tells_shapes_in_the_image(
    client: Client, service: Inference, task: str
) -> None:
    model = await deploy(service, task)
    request = predict_pb2.PredictRequest(model=task, images=[b"no image", picture()])
    response = await client.predict(request)
    bad, good = response.predictions
    assert bad.error
    assert good.asset == sha256_hex(picture())
    (shape,) = good.shapes
    assert shape.class_name == "green"
    assert shape.source == f"model:{model.digest}"
    assert shape.confidence > 0.8
    if task == "detection":
        box = shape.bbox_xyxy
        found = (box.x_min, box.y_min, box.x_max, box.y_max)
    else:
        found = masks.box_of(shape.mask.rle, WIDTH_PX, HEIGHT_PX) or (0, 0, 0, 0)
    assert found == pytest.approx(GREEN, abs=4)
    assert not good.scores
    assert not good.class_name


async def test_metadata_tells_the_outputs_of_the_task(client: Client, service: Inference) -> None:
    await deploy(service, "segmentation")
    metadata = await client.call(
        "ModelMetadata",
        service_pb2.ModelMetadataRequest(name="segmentation"),
        service_pb2.ModelMetadataResponse,
    )
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.outputs] == [
        ("mask", "UINT8", [-1, SIDE_PX, SIDE_PX]),
        ("confidence", "FP32", [-1, SIDE_PX, SIDE_PX]),
    ]
    config = await client.call(
        "ModelConfig",
        model_config_pb2.ModelConfigRequest(name="segmentation"),
        model_config_pb2.ModelConfigResponse,
    )
    assert config.config.parameters["task"].string_value == "segmentation"
    assert config.config.output[0].data_type == model_config_pb2.TYPE_UINT8


@pytest.mark.parametrize("task", ["detection", "segmentation"])
async def test_an_application_keeps_the_shapes_of_every_item(
    service: Inference, bus: MemoryBus, task: str
) -> None:
    world, model = World(service, bus), await deploy(service, task)
    data = picture()
    await service.objects.put(Area.ASSETS, data)
    item = Item(sha256_hex(data), "image/png", len(data), WIDTH_PX, HEIGHT_PX)
    committed = await world.apply(model, (await world.commit([item])).ref)
    (row,) = (await world.rows(committed)).values()
    (shape,) = row.shapes
    assert row.scores == ()
    assert (shape.class_name, shape.id) == ("green", f"{model.digest[:16]}-0")
    assert (shape.bbox_xyxy is not None) == (task == "detection")
    assert (shape.mask_rle is not None) == (task == "segmentation")


# --- graphs that are not ours


def adder(batch: str | int = "batch") -> bytes:
    """Return a graph of two FP32 inputs, `a` and `b` `(batch, 2)`, that gives their `sum`."""
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        "adder",
        [tensor(name, TensorProto.FLOAT, [batch, 2]) for name in "ab"],
        [tensor("sum", TensorProto.FLOAT, [batch, 2])],
    )
    opsets = [helper.make_opsetid("", 20)]
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return data


async def ask_adder(client: Client, rows: int, datatype: str = "FP32") -> list[float]:
    request = service_pb2.ModelInferRequest(model_name="adder")
    values = np.arange(rows * 2, dtype="<f4")
    for name in "ab":
        request.inputs.add(name=name, datatype=datatype, shape=[rows, 2])
        request.raw_input_contents.append(values.tobytes())
    response = await client.infer(request)
    assert [output.name for output in response.outputs] == ["sum"]
    return [float(value) for value in np.frombuffer(response.raw_output_contents[0], "<f4")]


async def deploy_adder(service: Inference, batch: str | int = "batch") -> None:
    model = await commit_model(
        service.log, service.objects, adder(batch), name="adder", classes=(), task=TENSORS
    )
    await move_alias(service.log, model.ref)
    await service.aliases.catch_up()


async def test_a_graph_of_tensors_is_served_as_it_is(client: Client, service: Inference) -> None:
    await deploy_adder(service)
    assert await ask_adder(client, 2) == [0, 2, 4, 6]


async def test_a_graph_without_a_batch_axis_takes_what_it_says(
    client: Client, service: Inference
) -> None:
    await deploy_adder(service, batch=3)
    assert await ask_adder(client, 3) == [0, 2, 4, 6, 8, 10]
    with pytest.raises(Exception, match=r"shape \[2, 2\]: expected \[3, 2\]"):
        await ask_adder(client, 2)


async def test_tensors_of_another_datatype_are_refused(client: Client, service: Inference) -> None:
    await deploy_adder(service)
    with pytest.raises(Exception, match="datatype INT32: expected FP32"):
        await ask_adder(client, 2, "INT32")


async def test_a_graph_of_tensors_takes_no_images(client: Client, service: Inference) -> None:
    await deploy_adder(service)
    with pytest.raises(Exception, match="takes tensors, not images"):
        await client.predict(predict_pb2.PredictRequest(model="adder", images=[picture()]))


def test_a_detector_without_the_outputs_of_its_task_is_refused() -> None:
    model = ModelVersion(
        "d", 1, "d" * 64, COLOURS, SIDE_PX, SIDE_PX, 3, "area", "e" * 64, 1, task="detection"
    )
    with pytest.raises(Rejected, match="expected 'image' and 'boxes', 'scores', 'labels'"):
        OnnxEngine(colour_segmenter(SIDE_PX), model, EngineOptions(threads=1))
