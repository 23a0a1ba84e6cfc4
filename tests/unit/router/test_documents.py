"""What the customer gets, byte for byte."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from loopline.digests import canonical_json
from loopline.errors import Rejected
from loopline.store.items import Prediction, Shape
from loopline.testing import flywheel
from services.router.domain import documents
from services.router.domain.plan import RoutingPlan, Version
from services.router.domain.reports import Job, report
from services.router.domain.results import Routed, Summary, from_lines, to_lines
from services.router.domain.routing import Outcome, Selected, Uncertain

PLAN = RoutingPlan(
    workspace="default",
    run_id="7" * 64,
    flow=Version("catalogue", 2, "f" * 64),
    document="flow: catalogue\ndatasets: [catalogue]",
    predictions=Version("catalogue-dddddddddddddddd", 1, "a" * 64),
    predictions_root="b" * 64,
    predictions_sequence=4,
    model=Version("catalogue", 3, "d" * 64),
    recipe="classification",
    task="classification",
    classes=("coat", "shirt"),
    dataset=Version("catalogue", 5, "e" * 64),
    dataset_root="c" * 64,
    selection_digest="9" * 64,
    selected=2,
    chunks=("1" * 64,),
)
PROVENANCE = {
    "workspace": "default",
    "flow": "catalogue",
    "flow_version": 2,
    "flow_digest": "f" * 64,
    "run": "7" * 64,
    "predictions": "a" * 64,
    "model": "catalogue",
    "model_version": 3,
    "model_digest": "d" * 64,
    "dataset": "catalogue",
    "dataset_version": 5,
    "dataset_digest": "e" * 64,
}


def _annotations(*shapes: Shape, scores: tuple[float, ...] = ()) -> list[dict[str, Any]]:
    prediction = Prediction(flywheel.asset(1), shapes, scores)
    record = json.loads(documents.delivered_object(PLAN, flywheel.item(1), prediction))
    annotations: list[dict[str, Any]] = record["coco"]["annotations"]
    return annotations


def test_delivered_object_is_the_documented_one() -> None:
    data = documents.delivered_object(PLAN, flywheel.item(1), flywheel.prediction(1, 0.75))
    image = {"file_name": "0001.png", "width": 28, "height": 28}
    assert json.loads(data) == {
        "loopline": {**PROVENANCE, "asset": flywheel.asset(1)},
        "image": {"uri": "s3://customer/photos/0001.png", **image},
        "coco": {
            "images": [{"id": 1, **image}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 2, "score": 0.75, "iscrowd": 0}
            ],
            "categories": [{"id": 1, "name": "coat"}, {"id": 2, "name": "shirt"}],
        },
        "confidence": 0.75,
    }
    assert data == canonical_json(json.loads(data))


def test_box_is_x_y_width_height() -> None:
    box = Shape(id="a", class_name="coat", bbox_xyxy=(2.0, 3.0, 10.0, 7.0), confidence=0.5)
    [annotation] = _annotations(box)
    assert annotation["bbox"] == [2.0, 3.0, 8.0, 4.0]
    assert (annotation["area"], annotation["category_id"]) == (32.0, 1)


def test_polygon_has_its_box_and_its_area() -> None:
    ring = (0.0, 0.0, 4.0, 0.0, 0.0, 3.0)
    [annotation] = _annotations(Shape(id="a", class_name="coat", polygon=ring))
    assert annotation["segmentation"] == [list(ring)]
    assert (annotation["bbox"], annotation["area"]) == ([0.0, 0.0, 4.0, 3.0], 6.0)


def test_mask_is_run_length_encoded() -> None:
    [annotation] = _annotations(Shape(id="a", class_name="coat", mask_rle="abc"))
    assert annotation["segmentation"] == {"size": [28, 28], "counts": "abc"}


def test_scores_without_shape_give_one_annotation_and_nothing_gives_none() -> None:
    [annotation] = _annotations(scores=(0.9, 0.1))
    assert (annotation["category_id"], annotation["score"]) == (1, 0.9)
    assert _annotations() == []


def test_class_the_model_does_not_have_is_category_0() -> None:
    [annotation] = _annotations(Shape(id="a", class_name="hat", confidence=0.5))
    assert annotation["category_id"] == 0


def test_manifest_lists_the_objects_by_key() -> None:
    delivered = [
        Routed(flywheel.asset(i), Outcome.DELIVERED, "r", 0.9, "", f"out/{i}.json", "5" * 64, 700)
        for i in (2, 1)
    ]
    manifest = json.loads(documents.manifest(PLAN, delivered, "8" * 64))
    assert manifest["loopline"] == {**PROVENANCE, "delivery_digest": "8" * 64}
    assert manifest["count"] == 2
    assert [entry["key"] for entry in manifest["objects"]] == ["out/1.json", "out/2.json"]
    assert manifest["objects"][0] == {
        "key": "out/1.json",
        "sha256": "5" * 64,
        "size_bytes": 700,
        "asset": flywheel.asset(1),
    }


def test_keys() -> None:
    assert documents.object_key("out/", "a" * 64) == f"out/{'a' * 64}.json"
    assert documents.manifest_key("") == "manifest.json"


def test_plan_round_trips_and_is_canonical() -> None:
    data = PLAN.to_json()
    assert RoutingPlan.from_json(json.loads(data)) == PLAN
    assert replace(PLAN).to_json() == data == canonical_json(json.loads(data))


@pytest.mark.parametrize("document", [{}, {"flow": {}}, {**json.loads(PLAN.to_json()), "x": 1}])
def test_what_is_no_plan_is_rejected(document: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match="the routing plan cannot be read"):
        RoutingPlan.from_json(document)


def test_result_round_trips() -> None:
    routed = [
        Routed("a", Outcome.DELIVERED, "r", 0.1 + 0.2, "", "k", "d", 3),
        Routed("b", Outcome.UNCERTAIN, "s", 1e-9),
        Routed("c", Outcome.UNROUTED, reason="no rule\nholds"),
    ]
    assert list(from_lines(to_lines(routed))) == routed


@pytest.mark.parametrize("line", [b"{", b"{}", b"[]", b'{"asset": "a", "outcome": "lost"}'])
def test_what_is_no_result_is_rejected(line: bytes) -> None:
    with pytest.raises(Rejected, match="a chunk's result cannot be read"):
        list(from_lines(line))


def test_report_counts_everything_once() -> None:
    summary = Summary(
        delivered=[Routed("a", Outcome.DELIVERED, "sure")],
        uncertain={"unsure": [Uncertain("b", 0.5), Uncertain("c", 0.4)]},
    )
    summary.unrouted["no rule holds"] = 3
    jobs = [Job("relabel-77777777", "unsure", Selected(("c",), 1))]
    found = json.loads(report(PLAN, summary, jobs, {"relabel-77777777": "2" * 64}))
    counts = [found[key] for key in ("delivered", "relabeled", "unrouted", "over_limit")]
    assert counts == [1, 1, 4, 1]
    assert found["matched_by_rule"] == {"sure": 1, "unsure": 2}
    assert found["unrouted_reasons"] == {"no rule holds": 3}
    assert found["jobs"] == [
        {
            "name": "relabel-77777777",
            "rule": "unsure",
            "items": 1,
            "over_limit": 1,
            "items_digest": "2" * 64,
        }
    ]
