"""What is trained on, and what is refused."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.digests import sha256_hex
from loopline.errors import Rejected
from services.trainer.domain.examples import Annotation, Example, select, set_aside

CLASSES = ("coat", "shirt")


def example(number: int, class_name: str = "coat", split: str = "train") -> Example:
    return Example(
        sha256_hex(f"{number}".encode()), split, (Annotation(class_name),), size_bytes=10
    )


def catalogue(train: int = 40, validation: int = 0, test: int = 10) -> list[Example]:
    splits = ["train"] * train + ["val"] * validation + ["test"] * test
    return [example(n, CLASSES[n % 2], split) for n, split in enumerate(splits)]


def test_a_validation_split_is_used_as_it_is() -> None:
    selection = select(catalogue(validation=6), CLASSES, 0.1, "catalogue@v1")
    assert not selection.validation_from_train
    assert [len(s) for s in (selection.train, selection.validation, selection.test)] == [40, 6, 10]


def test_without_one_a_part_of_every_class_is_set_aside_from_training() -> None:
    selection = select(catalogue(), CLASSES, 0.1, "catalogue@v1")
    assert selection.validation_from_train
    assert Counter(e.class_names for e in selection.validation) == {
        frozenset({"coat"}): 2,
        frozenset({"shirt"}): 2,
    }
    assert {e.split for e in selection.validation} == {"val"}
    assert len(selection.train) == 36
    assert len(selection.test) == 10


def test_the_order_of_the_items_does_not_matter() -> None:
    items = catalogue()
    one = select(items, CLASSES, 0.2, "catalogue@v1")
    assert one == select(items[::-1], CLASSES, 0.2, "catalogue@v1")
    assert [e.asset for e in one.train] == sorted(e.asset for e in one.train)


@given(st.integers(1, 60), st.floats(0, 0.99), st.integers(0, 40))
def test_what_is_set_aside_stays_so_as_the_dataset_grows(
    count: int, share: float, more: int
) -> None:
    _, aside = set_aside([example(n) for n in range(count)], share)
    kept, later = set_aside([example(n) for n in range(count + more)], share)
    assert len(kept) >= 1
    assert len(kept) + len(later) == count + more
    lots = {e.asset for e in later}
    newcomers = {example(n).asset for n in range(count, count + more)}
    gone = {e.asset for e in aside} - lots
    assert len(gone) <= len(lots & newcomers)  # only ever displaced by new images


def test_nothing_is_set_aside_where_none_is_asked_for() -> None:
    selection = select(catalogue(), CLASSES, 0.0, "catalogue@v1")
    assert selection.validation == ()


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_split_is_refused_by_name(split: str) -> None:
    rest = [e for e in catalogue() if e.split != split]
    with pytest.raises(Rejected, match=f"catalogue@v1 has no labeled items in split '{split}'"):
        select(rest, CLASSES, 0.1, "catalogue@v1")


def test_a_class_without_images_to_train_on_is_refused_by_name() -> None:
    with pytest.raises(Rejected, match="split 'train' of class 'hat'"):
        select(catalogue(), [*CLASSES, "hat"], 0.1, "catalogue@v1")


def test_a_class_with_a_single_image_is_trained_on_and_not_set_aside() -> None:
    lone = example(1000, "hat")
    selection = select([*catalogue(), lone], [*CLASSES, "hat"], 0.9, "catalogue@v1")
    assert lone in selection.train


def test_a_label_that_is_none_of_the_classes_is_refused_with_the_image() -> None:
    stray = example(1000, "sock")
    with pytest.raises(Rejected, match=f"image {stray.asset[:12]} is labeled 'sock'"):
        select([*catalogue(), stray], CLASSES, 0.1, "catalogue@v1")


def test_a_dataset_without_classes_is_refused() -> None:
    with pytest.raises(Rejected, match="no classes"):
        select(catalogue(), [], 0.1, "catalogue@v1")
