"""Where models were wrong, how far people agree, and models asked on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from loopline.contracts import ArtefactRef, catalog
from loopline.contracts import Shape as ShapeMessage
from loopline.contracts.inference.v1 import predict_pb2, predict_pb2_grpc
from loopline.digests import canonical_json, sha256_hex
from loopline.store.items import Item, Shape
from loopline.store.objects import Area
from loopline.testing.flywheel import asset, item
from services.annotate.adapters.models import Models
from services.annotate.domain.wrong import Kind, differences
from tests.unit.annotate.desk import JOB, TOKEN, Desk
from tests.unit.annotate.people import label

Json = dict[str, Any]
IMAGES = [b"image one", b"image two", b"a bad image"]


def box(x: float, class_name: str = "coat", name: str = "", edited_from: str = "") -> Shape:
    at = (x, 0.0, x + 10, 10.0)
    return Shape(name or f"{class_name}{x}", class_name, bbox_xyxy=at, edited_from=edited_from)


@pytest.mark.parametrize(
    ("predicted", "labels", "expected"),
    [
        pytest.param([box(0)], [box(0.1)], [], id="right"),
        pytest.param([box(0)], [box(3)], [Kind.MOVED], id="moved"),
        pytest.param([box(0)], [box(0, "shirt")], [Kind.CLASS], id="another class"),
        pytest.param([box(0)], [], [Kind.INVENTED], id="nothing there"),
        pytest.param([], [box(0)], [Kind.MISSED], id="not seen"),
        pytest.param(
            [box(0, name="p")], [box(60, name="l", edited_from="p")], [Kind.MOVED], id="dragged far"
        ),
        pytest.param([Shape("p", "coat")], [Shape("l", "coat")], [], id="whole image right"),
        pytest.param([Shape("p", "coat")], [Shape("l", "shirt")], [Kind.CLASS], id="whole image"),
        pytest.param(
            [Shape("p", "coat")], [Shape("l", "coat"), Shape("m", "wet")], [Kind.MISSED], id="more"
        ),
    ],
)
def test_prediction_and_labels_are_told_apart(
    predicted: list[Shape], labels: list[Shape], expected: list[Kind]
) -> None:
    assert [wrong.kind for wrong in differences(predicted, labels)] == expected


async def test_where_the_model_was_wrong_is_a_question_to_the_job(desk: Desk) -> None:
    await desk.open(await desk.command(4))
    for number, class_name in enumerate(("shirt", "coat", "coat")):
        await label(desk, number, class_name=class_name)
    path = f"/v1/jobs/{JOB}/wrong"
    found = (await desk.client.get(path)).json()
    assert found["looked_at"] == 3
    assert [(row["asset"], row["kind"]) for row in found["wrong"]] == [
        (asset(1), "class"), (asset(2), "class"),
    ]  # fmt: skip
    first = found["wrong"][0]
    assert (first["predicted"]["class_name"], first["label"]["class_name"]) == ("shirt", "coat")
    [model] = [c.ref.digest for c in await desk.service.log.heads(catalog.MODEL_COMMITTED)]
    assert first["model"] == model
    sure = (await desk.client.get(path, params={"confidence_min": 0.415})).json()
    assert [row["asset"] for row in sure["wrong"]] == [asset(2)]
    none = (await desk.client.get(path, params={"class_name": "sock"})).json()
    assert none["wrong"] == []


async def test_labelers_are_scored_against_the_truth_and_each_other(desk: Desk) -> None:
    rows = [item(n, labeled=n >= 8) for n in range(10)]  # 8 is a coat, 9 a shirt
    dataset = await desk.flywheel.dataset("catalogue", rows)
    truth = await desk.service.objects.put(Area.PLANS, canonical_json([asset(8), asset(9)]))
    command = await desk.command_over(
        [asset(0), asset(1)], dataset=dataset.ref, labelers_per_item=2,
        ground_truth_digest=truth, ground_truth_count=2, ground_truth_every=2,
    )  # fmt: skip
    await desk.open(command)
    for number in (0, 1, 8, 9):
        await label(desk, number, "ada", spent_s=2)
    for number, class_name in ((0, "coat"), (1, "shirt"), (8, "coat"), (9, "shirt")):
        await label(desk, number, "bob", class_name=class_name)
    told = (await desk.client.get(f"/v1/jobs/{JOB}/labelers")).json()
    ada, bob = told["labelers"]
    assert (ada["labeler"], ada["items"], ada["spent_s"]) == ("ada", 2, 8)
    assert (ada["ground_truth_items"], ada["ground_truth_score"]) == (2, 0.5)
    assert bob["ground_truth_score"] == 1.0
    assert ada["agreement"] == bob["agreement"] == 0.5
    [pair] = told["pairs"]
    assert (pair["a"], pair["b"], pair["places"], pair["kappa"]) == ("ada", "bob", 2, 0.0)
    assert told["fleiss_kappa"] == pytest.approx(-1 / 3, abs=1e-6)


class Served(predict_pb2_grpc.PredictServiceServicer):
    """A model behind the contract: a box on every image that is good."""

    def __init__(self) -> None:
        self.asked: list[predict_pb2.PredictRequest] = []
        self.tokens: list[str] = []

    async def Predict(  # noqa: N802 - gRPC's name
        self, request: predict_pb2.PredictRequest, context: Any
    ) -> predict_pb2.PredictResponse:
        self.asked.append(request)
        self.tokens.append(dict(context.invocation_metadata()).get("authorization", ""))
        if request.model == "none":
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no model none")
        answers = []
        for data in request.images:
            if data == IMAGES[2]:
                answers.append(predict_pb2.ImagePrediction(error="it is no image"))
                continue
            sure, unsure = (ShapeMessage(class_name="coat", confidence=c) for c in (0.9, 0.2))
            for at, shape in enumerate((sure, unsure)):
                shape.bbox_xyxy.x_max, shape.bbox_xyxy.y_max = 5 + at, 5
            answers.append(predict_pb2.ImagePrediction(shapes=[sure, unsure]))
        model = ArtefactRef(name=request.model, version=7, digest="c" * 64)
        return predict_pb2.PredictResponse(model=model, predictions=answers)


@pytest.fixture
async def served(desk: Desk) -> AsyncIterator[Served]:
    """A gRPC server that desk's annotate asks, and a job over real assets."""
    server, model = grpc.aio.server(), Served()
    predict_pb2_grpc.add_PredictServiceServicer_to_server(model, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    service = desk.service
    await service.models.close()
    service.models = Models(
        service.objects, f"127.0.0.1:{port}", service.settings.api_token, 5.0, 2
    )
    service.preannotation._models = service.models
    assets = [await service.objects.put(Area.ASSETS, data) for data in IMAGES]
    rows = [Item(digest, "image/png", 9, 28, 28) for digest in assets]
    dataset = await desk.flywheel.dataset("catalogue", rows)
    await desk.open(await desk.command_over(assets, dataset=dataset.ref, classes=["coat", "shirt"]))
    yield model
    await server.stop(None)


async def test_a_model_is_asked_about_one_item_and_shown_from_then_on(
    desk: Desk, served: Served
) -> None:
    digest = sha256_hex(IMAGES[0])
    path = f"/v1/jobs/{JOB}/items/{digest}"
    body = {"model": "fast@champion", "confidence_min": 0.5}
    said = (await desk.client.post(f"{path}/predict", json=body)).json()
    assert said["model"] == {"name": "fast", "version": 7, "digest": "c" * 64}
    [shape] = said["shapes"]
    assert shape["source"] == f"model:{'c' * 64}"
    assert served.asked[0].version == "champion"
    assert served.asked[0].unrecorded
    assert served.tokens == [f"Bearer {TOKEN}"]
    item_now = (await desk.client.get(path)).json()
    assert item_now["predicted"] == said["shapes"]
    moved = {"class_name": "shirt", "bbox_xyxy": [0, 0, 5, 5], "edited_from": shape["id"]}
    labels = {"labeler": "ada", "shapes": [moved]}
    assert (await desk.client.post(f"{path}/labels", json=labels)).status_code == 200
    [kept] = desk.bus.sent(catalog.LABELS_SUBMITTED)
    assert kept.shown_by.digest == "c" * 64
    assert kept.shown[0].id == kept.shapes[0].edited_from
    [wrong] = (await desk.client.get(f"/v1/jobs/{JOB}/wrong")).json()["wrong"]
    assert (wrong["kind"], wrong["model"]) == ("class", "c" * 64)


async def test_a_model_is_asked_about_a_whole_job_in_the_background(
    desk: Desk, served: Served
) -> None:
    path = f"/v1/jobs/{JOB}/predict"
    assert (await desk.client.get(path)).status_code == 404
    begun = await desk.client.post(path, json={"model": "fast"})
    assert begun.status_code == 202
    await desk.service.preannotation.finished(JOB)
    told = (await desk.client.get(path)).json()
    assert (told["state"], told["total"], told["done"], told["failed"]) == ("completed", 3, 2, 1)
    assert [len(request.images) for request in served.asked] == [2, 1]
    items = (await desk.client.get(f"/v1/jobs/{JOB}/items")).json()["items"]
    assert [row["predicted"] is not None for row in items] == [True, True, False]


async def test_what_a_model_cannot_answer_is_said(desk: Desk, served: Served) -> None:
    bad = f"/v1/jobs/{JOB}/items/{sha256_hex(IMAGES[2])}/predict"
    answer = await desk.client.post(bad, json={"model": "fast"})
    assert (answer.status_code, answer.json()["error"]) == (422, "model fast: it is no image")
    answer = await desk.client.post(bad, json={"model": "none"})
    assert answer.status_code == 404
    await desk.client.post(f"/v1/jobs/{JOB}/predict", json={"model": "none"})
    await desk.service.preannotation.finished(JOB)
    told = (await desk.client.get(f"/v1/jobs/{JOB}/predict")).json()
    assert (told["state"], told["error"]) == ("failed", "model none: there is no model none")
