"""Models: versions, reports with the images of a cell, comparing, promoting, rolling back."""

from __future__ import annotations

import numpy as np
import pytest

from loopline.access import Role
from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    Commit,
    Evaluation,
    EvaluationCommitted,
    ModelCommitted,
    Rollout,
    RunKind,
    catalog,
)
from loopline.evaluation.outcomes import ClassificationOutcomes, to_bytes
from loopline.evaluation.report import Confusion, ImageView, Report, ShapeView
from loopline.store import runs
from loopline.store.commits import Committed
from loopline.store.objects import Area
from loopline.testing.flywheel import asset, item
from loopline.testing.onnx_models import move_alias
from tests.unit.console.desk import Desk


def report() -> Report:
    """Return a report with one shirt that was taken for a coat."""
    wrong = ImageView(
        asset=asset(1), width_px=28, height_px=28, badness=0.9, reason="surely wrong",
        truth=(ShapeView(class_name="shirt"),),
        predicted=(ShapeView(class_name="coat", confidence=0.9, verdict="wrong"),),
    )  # fmt: skip
    return Report(
        task="classification", count=2, classes=("coat", "shirt"), metrics={"accuracy": 0.5},
        headline=("accuracy",), per_class=(), worst=(wrong,),
        confusion=Confusion(labels=("coat", "shirt"), counts=((1, 0), (1, 0)), unit="images"),
    )  # fmt: skip


@pytest.fixture
async def shop(desk: Desk) -> Desk:
    """A console over two versions of a model, the first of them champion."""
    await desk.flywheel.dataset("shoes", [item(n, labeled=True) for n in range(4)])
    first = await desk.flywheel.model("shoes", "w1", {"accuracy": 0.8, "f1:coat": 0.7})
    await desk.flywheel.model("shoes", "w2", {"accuracy": 0.9, "f1:coat": 0.75})
    await desk.flywheel.alias(first)
    await desk.seen()
    return desk


def outcomes(flip: bool) -> ClassificationOutcomes:
    """Return what was found on four images, of which two are shirts taken for coats."""
    targets = np.array([0, 1, 0, 1])
    predicted = np.array([0, 1, 0, 1] if flip else [0, 0, 0, 0])
    return ClassificationOutcomes(
        tuple(asset(n) for n in range(4)), targets, predicted, (targets != predicted) * 1, 2
    )


async def evaluated(desk: Desk, version: int = 2, flip: bool = False) -> str:
    """Commit an evaluation of a version; return its report's digest."""
    told = report().model_copy(update={"notes": (str(version),)})
    digest = await desk.service.objects.put(Area.REPORTS, told.model_dump_json().encode())
    model = desk.service.view.commits[f"model:shoes@{version}"].ref
    dataset = desk.service.view.commits["dataset:shoes@1"].ref
    evaluation = Evaluation(
        split="test", split_digest="5" * 64, count=2, metrics={"accuracy": 0.5},
        report_digest=digest,
        outcomes_digest=await desk.service.objects.put(Area.REPORTS, to_bytes(outcomes(flip))),
        page_digest=await desk.service.objects.put(Area.REPORTS, b"<h1>page</h1>"),
    )  # fmt: skip
    kind = ArtefactKind.ARTEFACT_KIND_EVALUATION
    message = EvaluationCommitted(
        commit=Commit(
            artefact=ArtefactRef(kind=kind, name="shoes", digest=digest),
            run=runs.new_run(RunKind.RUN_KIND_EVALUATE, inputs=[model, dataset]),
        ),
        model=model, dataset=dataset, task="classification", evaluation=evaluation,
    )  # fmt: skip

    async def build(_: Committed[EvaluationCommitted] | None) -> EvaluationCommitted:
        return message

    await desk.service.log.commit(catalog.EVALUATION_COMMITTED, build, model="shoes")
    await desk.seen()
    return digest


async def test_versions_show_the_metric_that_matters_and_the_alias(shop: Desk) -> None:
    client = await shop.signed_in(Role.VIEWER)
    newest, oldest = (await client.get("/api/models/shoes/versions")).json()["versions"]
    assert (newest["main_metric"], newest["main_value"]) == ("accuracy", 0.9)
    assert [alias["alias"] for alias in oldest["aliases"]] == ["champion"]
    assert newest["aliases"] == []
    [model] = (await client.get("/api/models")).json()["models"]
    assert (model["versions"], model["aliases"]) == (2, {"champion": 1})
    assert (await client.get("/api/models/none/versions")).status_code == 404
    assert (await client.get("/api/models/shoes/versions/3")).status_code == 404


async def test_report_of_an_evaluation_and_the_images_of_a_cell(shop: Desk) -> None:
    id_ = await evaluated(shop)
    client = await shop.signed_in(Role.VIEWER)
    version = (await client.get("/api/models/shoes/versions/2")).json()
    assert [one["id"] for one in version["evaluations"]] == ["", id_]
    place = f"/api/models/shoes/versions/2/evaluations/{id_}"
    told = (await client.get(place)).json()
    assert told["report"]["confusion"]["counts"] == [[1, 0], [1, 0]]
    assert told["evaluation"]["dataset"]["node"] == "dataset:shoes@1"
    cell = (await client.get(f"{place}/cell?truth=shirt&predicted=coat")).json()
    image, other = cell["items"]
    assert (image["asset"], other["asset"]) == (asset(1), asset(3)), "the worst first, then all"
    assert (cell["total"], cell["is_whole"]) == (2, True)
    assert other["predicted"][0]["class_name"] == "coat"
    assert image["shapes"][0]["class_name"] == "shirt"
    assert image["predicted"][0]["class_name"] == "coat"
    empty = (await client.get(f"{place}/cell?truth=coat&predicted=shirt")).json()
    assert empty["items"] == []
    page = await client.get(f"{place}/page")
    assert page.text == "<h1>page</h1>"
    assert "script-src 'none'" in page.headers["content-security-policy"]
    other = await client.get(f"/api/models/shoes/versions/1/evaluations/{id_}")
    assert other.status_code == 404, "an evaluation is of one version"


async def test_versions_are_compared_on_the_same_split_only(shop: Desk) -> None:
    client = await shop.signed_in(Role.VIEWER)
    found = (await client.get("/api/models/shoes/compare?a=1&b=2")).json()
    assert found["is_comparable"]
    [accuracy] = found["metrics"]
    assert accuracy["difference"] == pytest.approx(0.1)
    assert [one["name"] for one in found["per_class"]] == ["f1:coat"]
    assert found["parameters"] == {"weights": ["w1", "w2"]}
    await shop.flywheel.model("shoes", "w3", {"accuracy": 0.7}, split_digest="6" * 64)
    await shop.seen()
    other = (await client.get("/api/models/shoes/compare?a=1&b=3")).json()
    assert not other["is_comparable"]
    assert other["reason"]


async def test_comparison_says_how_sure_it_is_where_images_were_kept(shop: Desk) -> None:
    await evaluated(shop, 1)
    await evaluated(shop, 2, flip=True)
    client = await shop.signed_in(Role.VIEWER)
    found = (await client.get("/api/models/shoes/compare?a=1&b=2")).json()
    accuracy = found["confidence"]["metrics"]["accuracy"]
    assert (accuracy["a"], accuracy["b"]) == (0.5, 1.0)
    assert accuracy["low"] <= 0.5 <= accuracy["high"]
    assert found["confidence"]["b"] == "shoes@v2"


async def test_promoting_and_rolling_back_are_moves_in_the_log(shop: Desk) -> None:
    client = await shop.signed_in(Role.OPERATOR)
    body = {"alias": "champion", "version": 2, "reason": "better on boots"}
    moved = (await client.post("/api/models/shoes/promote", json=body)).json()
    assert (moved["version"], moved["previous"]) == (2, 1)
    assert moved["actor"] == {"kind": "user", "name": "operator"}
    back = (await client.post("/api/models/shoes/rollback", json={"alias": "champion"})).json()
    assert (back["version"], back["previous"]) == (1, 2)
    moves = (await client.get("/api/models/shoes/aliases")).json()["moves"]
    assert [move["version"] for move in moves] == [1, 2, 1]
    assert moves[1]["reason"] == "better on boots"
    last = shop.bus.sent(catalog.ALIAS_MOVED)[-1]
    assert last.commit.run.actor.name == "operator"
    nothing = await client.post("/api/models/shoes/rollback", json={"alias": "none"})
    assert nothing.status_code == 404
    missing = await client.post("/api/models/shoes/promote", json={"version": 9})
    assert missing.status_code == 404


async def rolled_out(desk: Desk, version: int) -> None:
    """Put a version beside the champion, as a program does."""
    target = desk.service.view.commits["model:shoes@1"].ref
    second = desk.service.view.commits[f"model:shoes@{version}"].ref
    beside = Rollout(candidate=second, canary=0.1, shadow=0.25)
    await move_alias(desk.service.log, target, rollout=beside)
    await desk.seen()


@pytest.mark.parametrize(
    ("verb", "body", "version"),
    [("promote", {"version": 2}, 2), ("rollback", {}, 1)],
    ids=["forwards", "back"],
)
async def test_a_rollout_is_shown_and_ended(
    shop: Desk, verb: str, body: dict[str, int], version: int
) -> None:
    await rolled_out(shop, 2)
    client = await shop.signed_in(Role.OPERATOR)
    [rolled, first] = (await client.get("/api/models/shoes/aliases")).json()["moves"]
    assert rolled["version"] == 1
    assert rolled["rollout"] == {"version": 2, "canary": 0.1, "shadow": 0.25}
    assert first["rollout"] is None
    ended = (await client.post(f"/api/models/shoes/{verb}", json=body)).json()
    assert (ended["version"], ended["rollout"]) == (version, None)
    assert not shop.bus.sent(catalog.ALIAS_MOVED)[-1].HasField("rollout")


async def test_alias_that_never_moved_has_nothing_to_go_back_to(shop: Desk) -> None:
    client = await shop.signed_in(Role.OPERATOR)
    answer = await client.post("/api/models/shoes/rollback", json={})
    assert answer.status_code == 422


async def test_files_are_downloaded_under_a_name_that_says_what_they_are(shop: Desk) -> None:
    digest = await shop.service.objects.put(Area.MODELS, b"onnx")
    committed = shop.service.view.commits["model:shoes@1"]
    assert isinstance(committed.message, ModelCommitted)
    committed.message.files.add(name="model.onnx", digest=digest, size_bytes=4)
    client = await shop.signed_in(Role.VIEWER)
    answer = await client.get("/api/models/shoes/versions/1/files/model.onnx")
    assert answer.content == b"onnx"
    assert "shoes-v1-model.onnx" in answer.headers["content-disposition"]
    version = (await client.get("/api/models/shoes/versions/1")).json()
    assert version["size_bytes"] == 4
    assert (await client.get("/api/models/shoes/versions/1/files/x")).status_code == 404


async def test_training_and_measuring_are_commands_in_the_persons_name(shop: Desk) -> None:
    client = await shop.signed_in(Role.OPERATOR)
    body = {"model": "shoes", "dataset": "shoes", "parameters": {"epochs": 3}}
    answer = await client.post("/api/models/train", json=body)
    assert answer.status_code == 202
    [command] = shop.bus.sent(catalog.TRAIN_MODEL)
    assert (command.dataset.version, command.parameters["epochs"]) == (1, 3)
    assert command.actor.name == "operator"
    measured = await client.post(
        "/api/models/shoes/versions/1/evaluate", json={"dataset": "shoes", "split": "val"}
    )
    assert measured.status_code == 202
    [evaluate] = shop.bus.sent(catalog.EVALUATE_MODEL)
    assert (evaluate.model.version, evaluate.split) == (1, "val")
