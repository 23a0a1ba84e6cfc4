"""What a labeler may say of an image, and how it is attributed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.errors import Rejected
from loopline.store.items import Shape
from loopline.vision.masks import check_mask, run_lengths
from services.annotate.domain.shapes import (
    Canvas,
    attribute,
    check_labeler,
    check_shapes,
    labels_digest,
    shape_content,
    shape_from_content,
)

CANVAS = Canvas("a" * 64, width_px=100, height_px=50, classes=("coat", "shirt"))
PREDICTED = (Shape("p1", "coat", confidence=0.6, source="model:m"),)


def encoded(runs: list[int]) -> str:
    """Return COCO's compressed form of runs: the reference algorithm, the other way round."""
    text = ""
    for index, run in enumerate(runs):
        value = run - (runs[index - 2] if index > 2 else 0)
        more = True
        while more:
            group = value & 0x1F
            value >>= 5
            more = value != -1 if group & 0x10 else value != 0
            text += chr((group | 0x20 if more else group) + 48)
    return text


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        pytest.param(
            Shape("", "sock"), "class 'sock' is not one of this job's", id="unknown-class"
        ),
        pytest.param(
            Shape("", "coat", bbox_xyxy=(90, 0, 101, 10)),
            "outside the 100 x 50 image",
            id="box-out",
        ),
        pytest.param(
            Shape("", "coat", bbox_xyxy=(-1, 0, 10, 10)), "outside the 100 x 50", id="box-negative"
        ),
        pytest.param(Shape("", "coat", bbox_xyxy=(10, 0, 10, 10)), "has no area", id="box-empty"),
        pytest.param(
            Shape("", "coat", bbox_xyxy=(0, 0, float("nan"), 1)), "not a number", id="box-nan"
        ),
        pytest.param(Shape("", "coat", polygon=(0, 0, 1, 1)), "needs 3 to", id="polygon-of-two"),
        pytest.param(
            Shape("", "coat", polygon=(0, 0, 5, 5, 5, 51)), "outside the 100 x 50", id="polygon-out"
        ),
        pytest.param(Shape("", "coat", mask_rle="52203"), "runs cover 16 pixels", id="mask-size"),
        pytest.param(Shape("", "coat", mask_rle="5\x00"), "not a run-length", id="mask-garbage"),
        pytest.param(
            Shape("", "coat", bbox_xyxy=(0, 0, 1, 1), mask_rle="1"),
            "more than one",
            id="two-shapes",
        ),
        pytest.param(
            Shape("", "coat", edited_from="p9"), "no shape of the prediction", id="edited"
        ),
    ],
)
def test_shape_that_cannot_be_is_refused_with_its_reason(shape: Shape, reason: str) -> None:
    with pytest.raises(Rejected, match=f"asset a+: shape 0: .*{reason}"):
        check_shapes([shape], CANVAS, PREDICTED)


def test_every_fault_of_a_submission_is_named() -> None:
    shapes = [Shape("", "sock"), Shape("", "coat"), Shape("", "hat", bbox_xyxy=(0, 0, 1, 1))]
    with pytest.raises(Rejected, match=r"shape 0: class 'sock'.*; shape 2: class 'hat'"):
        check_shapes(shapes, CANVAS, ())


def test_saying_one_class_twice_or_using_an_id_twice_is_refused() -> None:
    with pytest.raises(Rejected, match="said to be 'coat' twice"):
        check_shapes([Shape("", "coat"), Shape("", "coat")], CANVAS, ())
    box = Shape("x", "coat", bbox_xyxy=(0, 0, 1, 1))
    with pytest.raises(Rejected, match="id 'x' is used twice"):
        check_shapes([box, box], CANVAS, ())


def test_shapes_up_to_the_edge_and_an_empty_submission_are_taken() -> None:
    check_shapes([Shape("", "coat", bbox_xyxy=(0, 0, 100, 50))], CANVAS, ())
    check_shapes([Shape("", "coat", polygon=(0, 0, 100, 0, 100, 50))], CANVAS, ())
    check_shapes([Shape("", "coat", mask_rle=encoded([10, 4990]))], CANVAS, ())
    check_shapes([], CANVAS, PREDICTED)


@pytest.mark.parametrize("labeler", ["", " ada", "ada\n", "x" * 101])
def test_labeler_names_that_no_source_could_carry_are_refused(labeler: str) -> None:
    with pytest.raises(Rejected):
        check_labeler(labeler)


def test_whole_image_label_is_an_edit_of_the_prediction_that_was_shown() -> None:
    [kept] = attribute([Shape("", "shirt")], "ada", PREDICTED)
    assert kept.source == "labeler:ada"
    assert kept.edited_from == "p1"
    assert kept.id
    assert kept.confidence is None


def test_drawn_shape_is_an_edit_only_where_the_client_says_so() -> None:
    box = Shape("", "coat", bbox_xyxy=(0, 0, 1, 1))
    edited = Shape("", "coat", bbox_xyxy=(0, 0, 2, 2), edited_from="p1")
    kept = attribute([box, edited], "ada", PREDICTED)
    assert [shape.edited_from for shape in kept] == ["", "p1"]


def test_equal_submissions_have_equal_digests_and_another_labeler_another() -> None:
    shapes = [Shape("", "coat", bbox_xyxy=(0, 0, 1, 1)), Shape("", "coat", bbox_xyxy=(0, 0, 1, 1))]
    once, again = attribute(shapes, "ada", ()), attribute(shapes, "ada", ())
    assert labels_digest(once) == labels_digest(again)
    assert once[0].id != once[1].id
    assert labels_digest(attribute(shapes, "bob", ())) != labels_digest(once)


EXISTING = [
    Shape("r1-0", "coat", bbox_xyxy=(1.123456789, 2, 11, 12), source="import:r1", edited_from="x"),
    Shape("r1-1", "cape", bbox_xyxy=(30, 20, 40, 30), source="labeler:bob", review="accepted"),
]


def test_what_the_dataset_says_and_nobody_changed_stays_whose_it_was() -> None:
    """Whatever the job would let people draw, and whatever it was edited from long ago."""
    canvas = replace(CANVAS, kinds=("polygon",))
    back = [
        Shape("r1-0", "coat", bbox_xyxy=(1.1234567891, 2, 11, 12), edited_from="r1-0"),
        Shape("r1-1", "cape", bbox_xyxy=(30, 20, 40, 30), edited_from="gone"),
    ]
    check_shapes(back, canvas, (), EXISTING)
    assert attribute(back, "ada", (), EXISTING) == tuple(EXISTING)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"bbox_xyxy": (1.2, 2, 11, 12)}, id="moved"),
        pytest.param({"class_name": "shirt"}, id="another class"),
        pytest.param(
            {"bbox_xyxy": None, "polygon": (1.0, 2.0, 11.0, 2.0, 6.0, 12.0)}, id="drawn otherwise"
        ),
    ],
)
def test_a_shape_of_the_dataset_that_is_changed_says_what_it_was_made_from(
    changed: dict[str, Any],
) -> None:
    shape = replace(EXISTING[0], edited_from="", **changed)
    check_shapes([shape], CANVAS, (), EXISTING)
    [kept] = attribute([shape], "ada", (), EXISTING)
    assert (kept.id, kept.edited_from, kept.source) == ("r1-0", "r1-0", "labeler:ada")


def test_a_changed_shape_of_the_dataset_is_held_to_what_the_job_takes() -> None:
    with pytest.raises(Rejected, match="class 'cape' is not one of this job's"):
        check_shapes([replace(EXISTING[1], bbox_xyxy=(30, 20, 41, 30))], CANVAS, (), EXISTING)


def test_a_whole_image_label_is_an_edit_of_the_datasets_and_the_same_is_kept() -> None:
    existing = [Shape("r1-0", "shirt", source="import:r1")]
    assert attribute([Shape("", "shirt")], "ada", (), existing) == tuple(existing)
    [other] = attribute([Shape("", "coat")], "ada", (), existing)
    assert (other.edited_from, other.source) == ("r1-0", "labeler:ada")


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40), st.booleans())
def test_mask_runs_survive_the_encoding(runs: list[int], starts_set: bool) -> None:
    runs = [0, *runs] if starts_set else runs
    assert run_lengths(encoded(runs)) == runs


def test_mask_without_a_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match="no pixel"):
        check_mask(encoded([100]), 10, 10)


numbers = st.floats(0, 1000, allow_nan=False)


@given(
    st.builds(
        Shape,
        id=st.text(min_size=1, max_size=5),
        class_name=st.text(min_size=1, max_size=5),
        bbox_xyxy=st.none() | st.tuples(numbers, numbers, numbers, numbers),
        polygon=st.none() | st.lists(numbers, min_size=6, max_size=8).map(tuple),
        mask_rle=st.none() | st.just("52203"),
        confidence=st.none() | st.floats(0, 1),
        source=st.text(max_size=5),
        edited_from=st.text(max_size=5),
    )
)
def test_shape_survives_its_content(shape: Shape) -> None:
    assert shape_from_content(shape_content(shape)) == shape
