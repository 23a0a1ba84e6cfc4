"""Several people on one image: what stands, what a reviewer decides, how far they agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from loopline.store.items import Shape
from services.annotate.domain.consensus import (
    cohen_kappa,
    fleiss_kappa,
    merge,
    ratings,
)


def box(x: float, class_name: str = "coat", by: str = "a") -> Shape:
    return Shape(f"{by}{x}", class_name, bbox_xyxy=(x, 0.0, x + 10, 10.0), source=f"labeler:{by}")


def image(class_name: str, by: str = "a") -> Shape:
    return Shape(f"{by}-{class_name}", class_name, source=f"labeler:{by}")


def test_what_a_quorum_drew_stands_as_the_one_in_the_middle_drew_it() -> None:
    said = {by: [box(x, by=by)] for by, x in (("a", 0.0), ("b", 1.0), ("c", 2.0))}
    found = merge(said)
    assert found.shapes == (box(1.0, by="b"),)
    assert found.disputes == 0
    assert found.agreement == 1.0


def test_what_only_a_few_saw_is_dropped_where_a_quorum_did_not() -> None:
    said = {"a": [box(0, by="a"), box(50, by="a")], "b": [box(0, by="b")], "c": [box(0, by="c")]}
    found = merge(said)
    assert [shape.bbox_xyxy for shape in found.shapes] == [(0, 0.0, 10, 10.0)]
    assert found.disputes == 0
    assert found.agreement == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_two_who_disagree_are_a_dispute() -> None:
    assert merge({"a": [box(0, by="a")], "b": []}).disputes == 1
    assert merge({"a": [box(0)], "b": [box(0, "shirt", "b")]}).disputes == 1
    assert merge({"a": [image("coat")], "b": [image("shirt", "b")]}).disputes == 1


def test_a_place_with_three_classes_is_a_dispute_and_nothing_stands() -> None:
    said = {"a": [box(0, "x", "a")], "b": [box(0, "y", "b")], "c": [box(0, "z", "c")]}
    assert (merge(said).shapes, merge(said).disputes) == ((), 1)


def test_whole_image_classes_are_voted_on_one_by_one() -> None:
    said = {
        "a": [image("coat"), image("wet")],
        "b": [image("coat", "b"), image("wet", "b")],
        "c": [image("coat", "c")],
    }
    assert [shape.class_name for shape in merge(said).shapes] == ["coat", "wet"]
    assert [shape.class_name for shape in merge(said, quorum=3).shapes] == ["coat"]


def test_everybody_saying_nothing_is_agreement() -> None:
    found = merge({"a": [], "b": []})
    assert (found.shapes, found.disputes, found.agreement) == ((), 0, 1.0)


def test_neighbours_stay_two_places_with_one_shape_of_a_person_each() -> None:
    said = {"a": [box(0, by="a"), box(4, by="a")], "b": [box(0, by="b"), box(4, by="b")]}
    found = merge(said)
    assert sorted(shape.bbox_xyxy[0] for shape in found.shapes if shape.bbox_xyxy) == [0, 4]
    assert found.agreement == 1.0


@given(st.lists(st.floats(0, 90), max_size=5), st.lists(st.floats(0, 90), max_size=5))
def test_a_merge_invents_nothing_and_does_not_depend_on_who_comes_first(
    xs: list[float], ys: list[float]
) -> None:
    said = {
        "a": [box(x, by="a") for x in xs],
        "b": [box(y, by="b") for y in ys],
        "c": [box(y, by="c") for y in ys],
    }
    found = merge(said)
    assert found == merge(dict(reversed(said.items())))
    drawn = {(s.class_name, s.bbox_xyxy, s.source) for shapes in said.values() for s in shapes}
    assert {(s.class_name, s.bbox_xyxy, s.source) for s in found.shapes} <= drawn
    assert len({shape.id for shape in found.shapes}) == len(found.shapes)


def test_ratings_name_the_class_of_every_person_at_every_place() -> None:
    said = {"a": [box(0, by="a")], "b": [box(1, "shirt", "b"), box(60, by="b")]}
    assert ratings(said) == [{"a": "coat", "b": "shirt"}, {"a": "", "b": "coat"}]
    assert ratings({"a": [], "b": []}) == [{"a": "", "b": ""}]


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("xyz")), min_size=2))
def test_cohens_kappa_is_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    ours = cohen_kappa(pairs)
    if ours is not None:
        assert ours == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))


def test_fleiss_kappa_is_that_of_the_textbook() -> None:
    # https://en.wikipedia.org/wiki/Fleiss%27_kappa: 10 subjects, 14 raters, 5 categories
    table = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    units = [{str(k): count for k, count in enumerate(row)} for row in table]
    assert fleiss_kappa(units) == pytest.approx(0.210, abs=5e-4)


def test_kappa_is_undefined_where_there_is_nothing_to_tell_apart() -> None:
    assert cohen_kappa([]) is None
    assert cohen_kappa([("x", "x")] * 3) is None
    assert fleiss_kappa([]) is None
    assert fleiss_kappa([{"x": 3}]) is None
    with pytest.raises(ValueError, match="same number"):
        fleiss_kappa([{"x": 3}, {"x": 2}])
