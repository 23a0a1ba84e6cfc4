"""Observations: commits and rows as rules see them, field by field as documented."""

from __future__ import annotations

import pytest

from loopline.contracts import ArtefactRef, Commit, DatasetCommitted, Evaluation, ModelCommitted
from loopline.flows import observations
from loopline.flows.contexts import FIELDS, Kind
from loopline.store.items import Prediction, Shape
from loopline.testing import flywheel

CLASSES = ("coat", "shirt")


def _shape(confidence: float | None, **geometry: object) -> Shape:
    return Shape(id="1", class_name="tree", confidence=confidence, **geometry)  # type: ignore[arg-type]


def _model(*evaluations: Evaluation) -> ModelCommitted:
    return ModelCommitted(
        commit=Commit(artefact=ArtefactRef(name="m", version=2, digest="d" * 64)),
        recipe="classification",
        task="classification",
        classes=CLASSES,
        evaluations=evaluations,
    )


def test_every_documented_field_is_there_and_no_other() -> None:
    prediction = observations.prediction(flywheel.prediction(1, 0.9), CLASSES)
    model = _model()
    seen = {
        "dataset": observations.dataset(DatasetCommitted()),
        "candidate": observations.evaluated_model(model),
        "champion": observations.evaluated_model(model),
        "item": observations.item(flywheel.item(1)),
        "prediction": prediction,
        "model": observations.model(model),
    }
    assert set(seen["dataset"]) == set(FIELDS[Kind.TRAIN]["dataset"].fields)
    for name in ("candidate", "champion"):
        assert set(seen[name]) == set(FIELDS[Kind.PROMOTE][name].fields)
    for name in ("item", "prediction", "model"):
        assert set(seen[name]) == set(FIELDS[Kind.ROUTE][name].fields)
    assert set(prediction["shapes"][0]) == set(
        FIELDS[Kind.ROUTE]["prediction"].fields["shapes"].example[0]
    )


@pytest.mark.parametrize(
    ("shapes", "scores", "surest"),
    [
        pytest.param((), (0.25, 0.75), ("shirt", 0.75), id="scores"),
        pytest.param((), (0.5, 0.5), ("coat", 0.5), id="tie: the first class"),
        pytest.param((), (), ("", 1.0), id="nothing found"),
        pytest.param((_shape(0.2),), (), ("", 0.8), id="nothing found for sure"),
        pytest.param((_shape(0.9), _shape(0.2)), (), ("tree", 0.9), id="doubtful shapes"),
        pytest.param(
            (_shape(0.9), _shape(0.4)), (), ("tree", 0.4), id="as sure as the least sure shape"
        ),
        pytest.param((_shape(None),), (), ("", 1.0), id="a shape without confidence"),
        pytest.param((), (0.1, 0.2, 0.7), ("", 0.7), id="a score without class"),
    ],
)
def test_surest(
    shapes: tuple[Shape, ...], scores: tuple[float, ...], surest: tuple[str, float]
) -> None:
    assert observations.surest(Prediction("a" * 64, shapes, scores), CLASSES, 0.3) == surest


def test_doubtful_shapes_do_not_count_but_are_told_of() -> None:
    row = Prediction("a" * 64, (_shape(0.9), _shape(0.25), _shape(0.1)), ())
    seen = observations.prediction(row, CLASSES, 0.3)
    assert (seen["count"], seen["classes"], seen["doubt"]) == (1, ["tree"], 0.25)
    assert [shape["confidence"] for shape in seen["shapes"]] == [0.9]
    assert observations.prediction(row, CLASSES)["count"] == 3


@pytest.mark.parametrize(("scores", "margin"), [((0.2, 0.5, 0.3), 0.2), ((0.8,), 0.8), ((), 1.0)])
def test_margin(scores: tuple[float, ...], margin: float) -> None:
    seen = observations.prediction(Prediction("a" * 64, (), scores), ("a", "b", "c"))
    assert seen["margin"] == pytest.approx(margin)


@pytest.mark.parametrize(
    ("shape", "geometry"),
    [
        (_shape(0.5), "image"),
        (_shape(0.5, bbox_xyxy=(0.0, 0.0, 1.0, 1.0)), "box"),
        (_shape(0.5, polygon=(0.0, 0.0, 1.0, 0.0, 1.0, 1.0)), "polygon"),
        (_shape(0.5, mask_rle="abc"), "mask"),
    ],
)
def test_geometry(shape: Shape, geometry: str) -> None:
    [seen] = observations.prediction(Prediction("a" * 64, (shape,), ()), CLASSES)["shapes"]
    assert seen["geometry"] == geometry
    assert len(seen["bbox_xyxy"]) == (4 if geometry == "box" else 0)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://customer/photos/0001.png", "0001.png"),
        ("s3://customer/blue%20coat%20%C3%A9.png", "blue coat é.png"),
        ("s3://customer/a.png?versionId=1", "a.png"),
        ("", ""),
    ],
)
def test_file_name(uri: str, name: str) -> None:
    assert observations.file_name(uri) == name


def test_metrics_are_those_of_the_test_split() -> None:
    model = _model(
        Evaluation(split="val", metrics={"accuracy": 0.9}),
        Evaluation(split="test", count=10, metrics={"accuracy": 0.8}),
    )
    seen = observations.evaluated_model(model)
    assert (seen["metrics"], seen["count"]) == ({"accuracy": 0.8}, 10)
    assert observations.evaluated_model(_model())["metrics"] == {}
