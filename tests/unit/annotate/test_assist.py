"""Cutting out what is pointed at: built-in tools, and a pair of real ONNX graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from loopline.store.objects import Area
from loopline.vision import masks
from services.annotate.adapters.assist.toolbox import Toolbox
from tests.unit.annotate.desk import Desk

HEIGHT, WIDTH = 160, 240
CENTRE, RADIUS = (150, 80), 40


def disc() -> npt.NDArray[np.bool_]:
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    made: npt.NDArray[np.bool_] = np.hypot(xs - CENTRE[0], ys - CENTRE[1]) < RADIUS
    return made


def photo(scale: int = 1) -> bytes:
    """Return a noisy picture of an orange disc on blue ground, as PNG."""
    random = np.random.default_rng(7)
    image = np.where(disc()[..., None], (230, 140, 40), (30, 60, 120)).astype(np.int16)
    image = np.clip(image + random.integers(-18, 18, image.shape), 0, 255).astype(np.uint8)
    image = np.repeat(np.repeat(image, scale, 0), scale, 1)
    ok, data = cv2.imencode(".png", image[..., ::-1])
    assert ok
    return bytes(data)


async def cut(desk: Desk, data: bytes | None = None, **body: Any) -> Any:
    asset = await desk.service.objects.put(Area.ASSETS, data or photo())
    return await desk.client.post("/v1/assist/mask", json={"asset": asset, **body})


def overlap(found: Any) -> float:
    return masks.iou(found["mask_rle"], masks.encode(disc()))


@pytest.mark.parametrize("tool", ["grabcut", "otsu"])
async def test_a_box_is_cut_to_what_is_in_it(desk: Desk, tool: str) -> None:
    answer = await cut(desk, tool=tool, bbox_xyxy=[100, 30, 200, 130])
    found = answer.json()
    assert overlap(found) > 0.95
    x0, y0, x1, y1 = found["bbox_xyxy"]
    assert (x0, y0, x1, y1) == pytest.approx((110, 40, 190, 120), abs=4)
    ring = masks.from_polygons([found["polygon"]], WIDTH, HEIGHT)
    assert masks.iou(masks.encode(ring), found["mask_rle"]) > 0.9


async def test_a_click_is_enough_for_grabcut_and_another_takes_away(desk: Desk) -> None:
    on_it = {"x": 150, "y": 80}
    found = (await cut(desk, points=[on_it])).json()
    assert overlap(found) > 0.9
    again = (await cut(desk, points=[on_it])).json()
    assert again["mask_rle"] == found["mask_rle"]  # the same prompt, the same mask
    beside = {"x": 125, "y": 80, "positive": False}
    box = [100, 30, 200, 130]
    less = (await cut(desk, bbox_xyxy=box, points=[on_it, beside])).json()
    mask = masks.decode(less["mask_rle"], WIDTH, HEIGHT)
    assert mask[80, 150]
    assert not mask[80, 125]


async def test_a_large_image_costs_no_more(desk: Desk) -> None:
    found = (await cut(desk, photo(12), bbox_xyxy=[1200, 360, 2400, 1560])).json()
    whole = np.repeat(np.repeat(disc(), 12, 0), 12, 1)
    assert masks.iou(found["mask_rle"], masks.encode(whole)) > 0.95


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        pytest.param({}, 422, "point at something", id="nothing"),
        pytest.param({"bbox_xyxy": [500, 0, 600, 50]}, 422, "no area", id="outside"),
        pytest.param({"points": [{"x": -1, "y": 0}]}, 422, "outside the image", id="click"),
        pytest.param({"tool": "otsu", "points": [{"x": 1, "y": 1}]}, 422, "needs a box", id="o"),
        pytest.param({"tool": "magic"}, 404, "there are grabcut, otsu", id="tool"),
    ],
)
async def test_what_points_at_nothing_is_refused(
    desk: Desk, body: dict[str, Any], status: int, reason: str
) -> None:
    answer = await cut(desk, **body)
    assert answer.status_code == status
    assert reason in answer.json()["error"]


def write_pair(folder: Path, side: int = 64) -> None:
    """Write a tiny pair: the embedding is the red channel; the mask what is as red as the point."""
    folder.mkdir(parents=True)
    red = helper.make_node("Slice", ["images", "from", "to", "axis"], ["image_embeddings"])
    graph = helper.make_graph(
        [red],
        "encoder",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info("image_embeddings", TensorProto.FLOAT, [1, 1, side, side])],
        [
            numpy_helper.from_array(np.array([value], np.int64), name)
            for name, value in (("from", 0), ("to", 1), ("axis", 1))
        ],
    )
    _save(graph, folder / "encoder.onnx")
    _save(_decoder(side), folder / "decoder.onnx")


def _decoder(side: int) -> onnx.GraphProto:
    nodes = [
        # the first point, (x, y) -> (0, 0, y, x)
        helper.make_node("Gather", ["point_coords", "zero"], ["first"], axis=1),
        helper.make_node("Cast", ["first"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Gather", ["whole", "swap"], ["yx"], axis=2),
        helper.make_node("Reshape", ["yx", "two"], ["yx2"]),
        helper.make_node("Concat", ["origin", "yx2"], ["index"], axis=0),
        helper.make_node("Reshape", ["index", "row"], ["indices"]),
        helper.make_node("GatherND", ["image_embeddings", "indices"], ["redness"]),
        helper.make_node("Sub", ["image_embeddings", "redness"], ["differs"]),
        helper.make_node("Abs", ["differs"], ["distance"]),
        helper.make_node("Sub", ["near", "distance"], ["masks"]),
        helper.make_node("ReduceMax", ["point_labels"], ["highest"], keepdims=0),
        helper.make_node("Mul", ["highest", "score"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "one_one"], ["iou_predictions"]),
    ]
    constants = {
        "zero": np.array([0], np.int64), "swap": np.array([1, 0], np.int64),
        "two": np.array([2], np.int64), "origin": np.array([0, 0], np.int64),
        "row": np.array([1, 4], np.int64), "near": np.array(1.0, np.float32),
        "score": np.array(0.3, np.float32), "one_one": np.array([1, 1], np.int64),
    }  # fmt: skip
    value = helper.make_tensor_value_info
    return helper.make_graph(
        nodes,
        "decoder",
        [
            value("image_embeddings", TensorProto.FLOAT, [1, 1, side, side]),
            value("point_coords", TensorProto.FLOAT, [1, "n", 2]),
            value("point_labels", TensorProto.FLOAT, [1, "n"]),
        ],
        [
            value("masks", TensorProto.FLOAT, [1, 1, side, side]),
            value("iou_predictions", TensorProto.FLOAT, [1, 1]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )


def _save(graph: onnx.GraphProto, path: Path) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


async def test_a_pair_that_a_user_brings_answers_clicks_and_boxes(
    desk: Desk, tmp_path: Path
) -> None:
    # 240 px wide: the pair's input of 240 keeps the picture's scale, padded below
    write_pair(tmp_path / "models" / "tiny-sam", side=WIDTH)
    desk.service.toolbox = Toolbox(desk.service.objects, tmp_path / "models")
    tools = (await desk.client.get("/v1/assist/tools")).json()["tools"]
    assert [(tool["name"], tool["kind"]) for tool in tools] == [
        ("grabcut", "built_in"), ("otsu", "built_in"), ("tiny-sam", "model"),
    ]  # fmt: skip
    found = (await cut(desk, tool="tiny-sam", points=[{"x": 150, "y": 80}])).json()
    assert overlap(found) > 0.97
    assert found["score"] == pytest.approx(0.3)
    boxed = (await cut(desk, tool="tiny-sam", bbox_xyxy=[150, 80, 190, 120])).json()
    assert boxed["score"] == pytest.approx(0.9)  # 3 marks the box's second corner


async def test_a_pair_that_is_none_is_refused_with_the_reason(desk: Desk, tmp_path: Path) -> None:
    write_pair(tmp_path / "models" / "half")
    (tmp_path / "models" / "half" / "encoder.onnx").unlink()
    desk.service.toolbox = Toolbox(desk.service.objects, tmp_path / "models")
    answer = await cut(desk, tool="half", points=[{"x": 1, "y": 1}])
    assert answer.status_code == 422
    assert "there is no half/encoder.onnx" in answer.json()["error"]
