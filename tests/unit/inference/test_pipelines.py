"""Pipelines and serving terms that flows declare: a detector and a classifier behind one name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import grpc
import httpx
import numpy as np
import pytest

from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    Commit,
    FlowCommitted,
    Rollout,
    Run,
    catalog,
)
from loopline.contracts.inference.v1 import predict_pb2
from loopline.contracts.oip.v2 import (
    model_config_pb2,
    repository_pb2,
    service_pb2,
    statistics_pb2,
)
from loopline.flows import Flow
from loopline.flows.problems import InvalidFlow
from loopline.store.commits import Committed
from loopline.testing.onnx_models import (
    COLOURS,
    colour_classifier,
    colour_detector,
    commit_model,
    move_alias,
)
from services.inference.domain.crops import surest, window
from services.inference.domain.tensors import join_raw_bytes
from services.inference.service import Inference
from services.inference.settings import InferenceSettings
from tests.unit.inference.conftest import Client

SIDE_PX = 16
PIPELINE = "parts"
FLOW = f"""
flow: shelves
datasets: [shelves]
pipeline:
  - name: {PIPELINE}
    detector: {{model: boxes}}
    classifier: {{model: colours}}
"""
BOXES = {"red": (1, 2, 5, 6), "green": (8, 1, 12, 4), "blue": (3, 9, 10, 15)}


def scene(*colours: str) -> bytes:
    """Return a PNG of the detector's size with a patch of each colour at its place."""
    image = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    for colour in colours:
        x_min, y_min, x_max, y_max = BOXES[colour]
        image[y_min:y_max, x_min:x_max, COLOURS.index(colour)] = 255
    return bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1])


async def put(service: Inference, document: str) -> Committed[FlowCommitted]:
    """Commit a flow and have it followed."""
    flow = Flow.parse(document)
    kind = ArtefactKind.ARTEFACT_KIND_FLOW
    artefact = ArtefactRef(kind=kind, name=flow.name, digest=flow.digest)
    message = FlowCommitted(
        commit=Commit(artefact=artefact, run=Run(id=flow.digest)), document=document
    )

    async def build(_: Committed[FlowCommitted] | None) -> FlowCommitted:
        return message

    committed = await service.log.commit(catalog.FLOW_COMMITTED, build, name=flow.name)
    await service.aliases.catch_up()
    return committed


async def serve(service: Inference, name: str, onnx: bytes, task: str, side_px: int) -> ArtefactRef:
    """Commit a model version, and make it the champion."""
    shape = (side_px, side_px, 3)
    model = await commit_model(
        service.log, service.objects, onnx, name=name, shape=shape, task=task
    )
    await move_alias(service.log, model.ref)
    await service.aliases.catch_up()
    return model.ref


@pytest.fixture
def settings(settings: InferenceSettings) -> InferenceSettings:
    return settings.model_copy(update={"models_max": 4})  # a second version beside both steps


@pytest.fixture
async def steps(service: Inference) -> dict[str, ArtefactRef]:
    """The detector and the classifier of the flow, which is put."""
    detector = await serve(service, "boxes", colour_detector(SIDE_PX), "detection", SIDE_PX)
    classifier = await serve(service, "colours", colour_classifier(8), "classification", 8)
    await put(service, FLOW)
    return {"detector": detector, "classifier": classifier}


def request(*files: bytes) -> service_pb2.ModelInferRequest:
    """Return a request to the pipeline."""
    asked = service_pb2.ModelInferRequest(model_name=PIPELINE, id="7")
    asked.inputs.add(name="image", datatype="BYTES", shape=[len(files)])
    asked.raw_input_contents.append(join_raw_bytes(list(files)))
    return asked


def tensors(answer: service_pb2.ModelInferResponse) -> dict[str, np.ndarray]:
    """Return the answer's arrays; text as `str`."""
    found = {}
    for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
        if output.datatype == "BYTES":
            texts, at = [], 0
            while at < len(raw):
                size = int.from_bytes(raw[at : at + 4], "little")
                texts.append(raw[at + 4 : at + 4 + size].decode())
                at += 4 + size
            values = np.array(texts, object)
        else:
            values = np.frombuffer(raw, {"FP32": "<f4", "INT64": "<i8"}[output.datatype])
        found[output.name] = values.reshape(tuple(output.shape))
    return found


@contextmanager
def refused(code: grpc.StatusCode, reason: str) -> Iterator[None]:
    """Check that a call is refused so."""
    with pytest.raises(grpc.RpcError, match=reason) as raised:
        yield
    assert raised.value.code() is code


async def test_each_box_is_told_with_the_class_of_what_is_in_it(
    client: Client, steps: dict[str, ArtefactRef]
) -> None:
    answer = await client.infer(request(scene("red", "blue"), scene(), scene("green")))
    found = tensors(answer)
    assert found["boxes"].shape == (3, 2, 4)
    assert found["class"].tolist() == [["red", "blue"], ["", ""], ["green", ""]]
    assert found["label_names"].tolist() == found["class"].tolist()
    assert found["labels"].tolist() == [[0, 2], [-1, -1], [1, -1]]
    assert found["boxes"][0].tolist() == [list(BOXES["red"]), list(BOXES["blue"])]
    assert found["scores"].tolist() == [
        pytest.approx([0.9, 0.9]), [0, 0], pytest.approx([0.9, 0])
    ]  # fmt: skip
    assert (found["confidence"] > 0.9).tolist() == [[True, True], [False, False], [True, False]]
    told = {name: value.string_param for name, value in answer.parameters.items()}
    assert told["detector"] == "boxes@v1"
    assert told["detector_digest"] == steps["detector"].digest
    assert told["classifier_digest"] == steps["classifier"].digest
    assert (answer.model_name, answer.id) == (PIPELINE, "7")


async def test_the_typed_answer_has_shapes_crops_and_both_models_digests(
    client: Client, steps: dict[str, ArtefactRef]
) -> None:
    files = [scene("green", "blue"), b"no image", scene("red")]
    answer = await client.predict(predict_pb2.PredictRequest(model=PIPELINE, images=files))
    first, bad, last = answer.predictions
    assert [shape.class_name for shape in first.shapes] == ["green", "blue"]
    assert [crop.class_name for crop in first.crops] == ["green", "blue"]
    assert min(crop.score for crop in first.crops) > 0.9
    assert last.shapes[0].bbox_xyxy.y_max == BOXES["red"][3]
    assert bad.error
    assert [step.digest for step in answer.steps] == [ref.digest for ref in steps.values()]
    assert answer.model.name == PIPELINE


async def test_over_http_it_answers_the_same(
    rest: httpx.AsyncClient, steps: dict[str, ArtefactRef]
) -> None:
    body = request(scene("red"))
    head = orjson_head(len(body.raw_input_contents[0]))
    headers = {"Inference-Header-Content-Length": str(len(head))}
    content = head + body.raw_input_contents[0]
    answer = await rest.post(f"/v2/models/{PIPELINE}/infer", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["parameters"]["classifier_digest"] == steps["classifier"].digest
    assert {one["name"]: one.get("data") for one in told["outputs"]}["class"] == ["red"]


def orjson_head(size_bytes: int) -> bytes:
    """Return the JSON before a binary image."""
    return (
        '{"inputs":[{"name":"image","shape":[1],"datatype":"BYTES",'
        f'"parameters":{{"binary_data_size":{size_bytes}}}}}],'
        '"parameters":{"binary_data_output":false}}'
    ).encode()


async def test_a_moved_alias_answers_the_next_request(
    service: Inference, client: Client, steps: dict[str, ArtefactRef]
) -> None:
    before = await client.infer(request(scene("red")))
    second = await serve(service, "colours", colour_classifier(8, 0.2), "classification", 8)
    after = await client.infer(request(scene("red")))
    assert after.parameters["classifier"].string_param == "colours@v2"
    assert after.parameters["classifier_digest"].string_param == second.digest
    digests = {answer.parameters["model_digest"].string_param for answer in (before, after)}
    assert len(digests) == 2


def keyed(key: str, *files: bytes) -> service_pb2.ModelInferRequest:
    """Return a request to the pipeline of a customer."""
    asked = request(*files)
    asked.parameters["sticky_key"].string_param = key
    return asked


async def test_a_key_keeps_its_version_of_the_classifier_through_all_groups_of_cuts(
    service: Inference,
    client: Client,
    steps: dict[str, ArtefactRef],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A canary that reads red as green: one answer of both versions would show both classes."""
    monkeypatch.setattr("services.inference.adapters.pipeline_run.CROPS_AT_ONCE", 2)
    onnx = colour_classifier(8, sharpness=-0.1)  # what there is least of
    other = await commit_model(service.log, service.objects, onnx, name="colours")
    canary = Rollout(candidate=other.ref, canary=0.5)
    await move_alias(service.log, steps["classifier"], rollout=canary)
    await service.aliases.catch_up()
    scenes = [scene("red", "green", "blue")] * 3  # nine cuts: five groups
    keys = [f"customer-{number}" for number in range(24)]

    async def answered(key: str) -> tuple[str, list[bool]]:
        answer = await client.infer(keyed(key, *scenes))
        found = tensors(answer)
        right = (found["class"] == found["label_names"]).ravel().tolist()
        return answer.parameters["classifier_digest"].string_param, right

    once = dict(zip(keys, await asyncio.gather(*map(answered, keys)), strict=True))
    for digest, right in once.values():
        assert right == [digest == steps["classifier"].digest] * 9
    assert {digest for digest, _ in once.values()} == {
        steps["classifier"].digest, other.ref.digest
    }  # fmt: skip
    again = dict(zip(keys, await asyncio.gather(*map(answered, keys)), strict=True))
    assert again == once
    (followed,) = service.rollouts.active()
    canaries = sum(digest == other.ref.digest for digest, _ in once.values())
    assert followed.tally.figures() == {"canary": 2 * canaries}, "a request counts once"
    alone = request(scene("red"))
    alone.model_name = "colours"
    for key in keys:
        alone.parameters["sticky_key"].string_param = key
        direct = (await client.infer(alone)).parameters["model_digest"].string_param
        assert direct == once[key][0], "who asks the classifier itself gets the same version"


async def test_without_a_key_all_cuts_of_a_request_are_still_answered_by_one_version(
    service: Inference,
    client: Client,
    steps: dict[str, ArtefactRef],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.inference.adapters.pipeline_run.CROPS_AT_ONCE", 2)
    onnx = colour_classifier(8, sharpness=-0.1)
    other = await commit_model(service.log, service.objects, onnx, name="colours")
    await move_alias(
        service.log, steps["classifier"], rollout=Rollout(candidate=other.ref, canary=0.5)
    )
    await service.aliases.catch_up()
    asked = [request(*[scene("red", "green", "blue")] * 3) for _ in range(24)]
    seen = set()
    for answer in await asyncio.gather(*map(client.infer, asked)):
        found = tensors(answer)
        right = set((found["class"] == found["label_names"]).ravel().tolist())
        assert len(right) == 1
        seen |= right
    assert seen == {True, False}


async def test_it_is_told_of_like_a_model(client: Client, steps: dict[str, ArtefactRef]) -> None:
    ask = repository_pb2.RepositoryIndexRequest()
    index = await client.call("RepositoryIndex", ask, repository_pb2.RepositoryIndexResponse)
    assert (PIPELINE, "1", "READY") in {(m.name, m.version, m.state) for m in index.models}
    metadata = await client.call(
        "ModelMetadata",
        service_pb2.ModelMetadataRequest(name=PIPELINE),
        service_pb2.ModelMetadataResponse,
    )
    assert metadata.platform == "ensemble"
    assert [(i.name, i.datatype) for i in metadata.inputs] == [("image", "BYTES")]
    config = await client.call(
        "ModelConfig",
        model_config_pb2.ModelConfigRequest(name=PIPELINE),
        model_config_pb2.ModelConfigResponse,
    )
    asked = [step.model_name for step in config.config.ensemble_scheduling.step]
    assert asked == ["boxes", "colours"]
    await client.infer(request(scene("red")))
    statistics = await client.call(
        "ModelStatistics",
        statistics_pb2.ModelStatisticsRequest(name=PIPELINE),
        statistics_pb2.ModelStatisticsResponse,
    )
    assert statistics.model_stats[0].inference_stats.success.count == 1


async def test_many_at_once_share_the_classifiers_executions(
    service: Inference, client: Client, steps: dict[str, ArtefactRef]
) -> None:
    asked = [request(scene("red", "green", "blue")) for _ in range(12)]
    answers = await asyncio.gather(*map(client.infer, asked))
    for answer in answers:
        assert tensors(answer)["class"].tolist() == [["red", "green", "blue"]]
    figures = service.repository.find("colours").statistics.snapshot()
    assert figures.images == 36
    assert figures.executions <= 12
    assert service.repository.find("boxes").admission.inside == 0


async def test_bad_requests_are_refused_by_name(
    client: Client, steps: dict[str, ArtefactRef]
) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "image 1: "):
        await client.infer(request(scene("red"), b"no image"))
    pixels = service_pb2.ModelInferRequest(model_name=PIPELINE)
    pixels.inputs.add(name="image", datatype="UINT8", shape=[1, SIDE_PX, SIDE_PX, 3])
    pixels.raw_input_contents.append(bytes(SIDE_PX * SIDE_PX * 3))
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "a pipeline takes BYTES"):
        await client.infer(pixels)
    other = request(scene("red"))
    other.model_version = "3"
    with refused(grpc.StatusCode.NOT_FOUND, "has the version 1, not 3"):
        await client.infer(other)


async def test_a_pipeline_without_its_models_says_which_is_missing(
    service: Inference, client: Client
) -> None:
    await serve(service, "boxes", colour_detector(SIDE_PX), "detection", SIDE_PX)
    await put(service, FLOW)
    ask = repository_pb2.RepositoryIndexRequest()
    index = await client.call("RepositoryIndex", ask, repository_pb2.RepositoryIndexResponse)
    (entry,) = [model for model in index.models if model.name == PIPELINE]
    assert entry.state == "UNAVAILABLE"
    assert "colours" in entry.reason
    with refused(grpc.StatusCode.NOT_FOUND, "colours"):
        await client.infer(request(scene("red")))


async def test_a_step_of_another_task_is_refused(service: Inference, client: Client) -> None:
    await serve(service, "boxes", colour_classifier(SIDE_PX), "classification", SIDE_PX)
    await serve(service, "colours", colour_classifier(8), "classification", 8)
    await put(service, FLOW)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "needs detection here"):
        await client.infer(request(scene("red")))


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ("pipeline: [{name: parts, detector: {model: boxes}}]", "classifier"),
        (
            "pipeline: [{name: parts, detector: {model: boxes}, classifier: {model: parts}}]",
            "a name of its own",
        ),
        (
            "pipeline: [{name: parts, detector: {modell: boxes}, classifier: {model: colours}}]",
            "unknown field; did you mean 'model'",
        ),
        ("serve: [{model: colours, batch_max: 2, batch_preferred: 4}]", "larger than batch_max"),
        ("serve: [{model: colours}, {model: colours}]", "another serve rule is called 'colours'"),
        ("serve: [{model: colours, timeout_ms: 0}]", "timeout_ms"),
    ],
)
def test_bad_declarations_are_refused_with_their_line(section: str, reason: str) -> None:
    with pytest.raises(InvalidFlow, match=reason) as raised:
        Flow.parse(f"flow: f\ndatasets: [d]\n{section}")
    assert "line 3" in str(raised.value)


async def test_terms_of_a_flow_hold_at_once_and_end_with_it(
    service: Inference, client: Client
) -> None:
    await serve(service, "colours", colour_classifier(8), "classification", 8)
    usual = await described(client)
    await put(service, f"{FLOW}serve:\n  - {{model: colours, batch_max: 4, batch_preferred: 2, "
              "delay_max_ms: 1.5, queue_images: 9, timeout_ms: 700, priority: 5}\n")  # fmt: skip
    told = await described(client)
    assert list(told.preferred_batch_size) == [2]
    assert told.max_queue_delay_microseconds == 1_500
    assert told.default_priority_level == 5
    assert told.default_queue_policy.max_queue_size == 9
    assert told.default_queue_policy.default_timeout_microseconds == 700_000
    asked = request(*[scene("red")] * 10)
    asked.model_name = "colours"
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "it takes 9"):
        await client.infer(asked)
    await put(service, FLOW + "description: without\n")
    assert await described(client) == usual


async def test_requests_that_name_no_priority_get_their_models(service: Inference) -> None:
    await serve(service, "colours", colour_classifier(8), "classification", 8)
    servable = service.repository.find("colours")
    assert servable.policy.priority == 100
    await put(service, "flow: a\ndatasets: [a]\nserve: [{model: colours, priority: 3}]\n")
    await put(service, "flow: b\ndatasets: [b]\nserve: [{model: colours, priority: 9}]\n")
    assert servable.policy.priority == 3, "the first flow by name decides"


async def described(client: Client) -> model_config_pb2.ModelDynamicBatching:
    """Return how requests to the classifier are said to be batched."""
    answer = await client.call(
        "ModelConfig",
        model_config_pb2.ModelConfigRequest(name="colours"),
        model_config_pb2.ModelConfigResponse,
    )
    batching = answer.config.dynamic_batching
    assert isinstance(batching, model_config_pb2.ModelDynamicBatching)
    return batching


def test_the_surest_boxes_are_kept_and_empty_ones_are_not() -> None:
    boxes = np.array([[0, 0, 4, 4], [1, 1, 1.5, 9], [2, 2, 9, 9], [3, 3, 5, 5]], np.float32)
    scores = np.array([0.5, 0.9, 0.8, 0.1], np.float32)
    found = surest(boxes, scores, np.arange(4), score_min=0.3, most=1)
    assert found.labels.tolist() == [2]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param((-3, -3, 2, 2), (0, 2, 0, 2), id="over the corner"),
        pytest.param((20, 20, 30, 30), (9, 10, 9, 10), id="outside"),
        pytest.param((4, 4, 4, 4), (4, 5, 4, 5), id="empty"),
    ],
)
def test_a_window_lies_within_its_image_and_has_a_pixel(
    box: tuple[float, float, float, float], expected: tuple[int, int, int, int]
) -> None:
    assert window(box, 0.0, 10, 10) == expected
