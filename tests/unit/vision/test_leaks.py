"""A split that leaks is told, by pictures and by what was made from what."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from loopline.vision.leaks import Leak, Sample, find_leaks


def picture(seed: int) -> np.ndarray:
    """A smooth random picture of 64 px."""
    noise = np.random.default_rng(seed).normal(size=(8, 8)).astype(np.float32)
    grown = cv2.resize(noise, (64, 64), interpolation=cv2.INTER_CUBIC)
    grown = (grown - grown.min()) / (grown.max() - grown.min())
    return np.asarray(20 + 215 * grown, np.uint8)


def thumbprint(image: np.ndarray) -> bytes:
    return np.asarray(cv2.resize(image, (28, 28), interpolation=cv2.INTER_AREA)).tobytes()


def sample(name: str, split: str, image: np.ndarray, parent: str = "") -> Sample:
    return Sample(name, split, thumbprint(image), parent)


OTHERS = [sample(f"other{n}", "train", picture(100 + n)) for n in range(50)]


@pytest.mark.parametrize(
    "copied",
    [
        pytest.param(lambda image: image, id="the same"),
        pytest.param(lambda image: (image * 0.9 + 20).astype(np.uint8), id="brighter"),
        pytest.param(lambda image: np.roll(image, 2, axis=1), id="moved"),
        pytest.param(lambda image: cv2.resize(image, (48, 48)), id="smaller"),
    ],
)  # fmt: skip
def test_a_copy_of_a_test_image_among_the_training_images_is_found(copied: object) -> None:
    assert callable(copied)
    tested = sample("tested", "test", picture(1))
    copy = sample("copy", "train", copied(picture(1)))
    assert find_leaks([tested, copy, *OTHERS]) == [
        Leak("tested", "test", "copy", "train", "same picture")
    ]


def test_different_pictures_are_no_leak() -> None:
    tested = [sample(f"tested{n}", "test", picture(n)) for n in range(20)]
    assert find_leaks([*tested, *OTHERS]) == []


def test_copies_within_a_split_or_in_none_are_no_leak() -> None:
    same = [sample(f"same{n}", "train", picture(1)) for n in range(3)]
    assert find_leaks([*same, sample("unused", "", picture(1))]) == []


def test_every_pair_of_splits_is_looked_at() -> None:
    found = find_leaks([sample(split, split, picture(1)) for split in ("train", "val", "test")])
    assert [(leak.split, leak.other_split) for leak in found] == [
        ("test", "train"),
        ("test", "val"),
        ("val", "train"),
    ]


def test_what_was_made_from_a_test_image_must_not_be_trained_on() -> None:
    """A rotated copy looks like nothing else; its parent tells."""
    tested = sample("tested", "test", picture(1))
    augmented = sample("augmented", "train", np.rot90(picture(1)).copy(), parent="tested")
    assert find_leaks([tested, augmented]) == [
        Leak("tested", "test", "augmented", "train", "made from it")
    ]


def test_an_item_without_a_thumbprint_is_passed_over() -> None:
    assert find_leaks([Sample("old", "test"), sample("new", "train", picture(1))]) == []


def test_ten_thousand_items_take_seconds() -> None:
    random = np.random.default_rng(0)
    prints = random.integers(0, 256, (10_000, 28 * 28), dtype=np.uint8)
    samples = [
        Sample(str(n), "test" if n % 5 == 0 else "train", bytes(one))
        for n, one in enumerate(prints)
    ]
    began = time.process_time()
    assert find_leaks(samples) == []
    assert time.process_time() - began < 20.0  # 3 s on an idle core
