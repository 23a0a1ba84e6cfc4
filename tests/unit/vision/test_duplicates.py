"""Near duplicates among real product photos: changed copies are found, look-alikes are kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from loopline.demo import planting
from loopline.vision import hash_index
from loopline.vision.duplicates import Newcomers
from loopline.vision.hash_index import HashIndex
from loopline.vision.perceptual import (
    SHIFTS,
    THUMBPRINT_SIDE_PX,
    perceptual_hashes,
    same_picture,
    shifted_hashes,
    stack,
)
from tests.unit.ingest.shop import pictures, pixels

BITS = 6
Image = NDArray[np.uint8]


@cache
def photos(count: int = 2000) -> Image:
    return np.stack([pixels(picture.data) for picture in pictures()[:count]])


def random_hashes(seed: int, count: int) -> NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, 2**64, count, np.uint64, endpoint=False)


def brighter(image: Image) -> Image:
    light = image * planting.BRIGHTER_GAIN + planting.BRIGHTER_OFFSET
    return np.asarray(np.clip(light, 0, 255), np.uint8)


def darker(image: Image) -> Image:
    return np.asarray(image * 0.7, np.uint8)


def to_the_right(image: Image) -> Image:
    return np.concatenate([image[:, :1], image[:, :-1]], axis=1)


def downwards(image: Image) -> Image:
    return np.concatenate([image[:1], image[:-1]])


def diagonally(image: Image) -> Image:
    return np.pad(image, ((1, 0), (1, 0)))[:28, :28]


def recompressed(image: Image) -> Image:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def enlarged(image: Image) -> Image:
    large = cv2.resize(image, (56, 56), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(large, (28, 28), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


@pytest.mark.parametrize(
    ("change", "recall"),
    [
        pytest.param(brighter, 0.96, id="brighter"),
        pytest.param(darker, 0.99, id="darker"),
        pytest.param(to_the_right, 0.99, id="to-the-right"),
        pytest.param(downwards, 0.99, id="downwards"),
        pytest.param(diagonally, 0.99, id="diagonally"),
        pytest.param(recompressed, 0.99, id="recompressed"),
        pytest.param(enlarged, 0.97, id="enlarged"),
    ],
)
def test_changed_copies_are_found(change: Callable[[Image], Image], recall: float) -> None:
    known = photos()[::10]
    newcomers = Newcomers(np.stack([change(image) for image in known]), BITS)
    candidates = newcomers.like(perceptual_hashes(known))
    thumbprints = {n: image.tobytes() for n, image in enumerate(known)}
    repeats = newcomers.repeats(candidates, thumbprints)
    found = sum(repeats.get(n) == -1 - n for n in range(len(known)))
    assert found / len(known) >= recall


def test_product_photos_that_look_alike_are_kept() -> None:
    """2,000 photos, a tenth of them trousers: none is dropped but true repetitions."""
    assert len(Newcomers(photos(), BITS).repeats()) <= 2


def test_copies_within_one_import_are_found_whichever_comes_first() -> None:
    originals = photos()[:50]
    both = np.concatenate([originals, np.stack([downwards(image) for image in originals])])
    assert Newcomers(both, BITS).repeats() == {n + 50: n for n in range(50)}
    assert Newcomers(both[::-1], BITS).repeats() == {99 - n: 49 - n for n in range(50)}


def test_image_is_not_compared_with_one_that_is_dropped_itself() -> None:
    """b repeats a and is dropped; c repeats b alone, so it stays."""
    a = photos()[3]
    b, c = to_the_right(a), to_the_right(to_the_right(a))
    assert Newcomers(np.stack([a, b, c]), BITS).repeats() == {1: 0}


def test_blank_pages_are_one_page() -> None:
    """Images without structure have nothing to correlate, and all the same hash."""
    blank = np.full((3000, 28, 28), 255, np.uint8)
    blank[1500:] = 254
    assert set(Newcomers(blank, BITS).repeats()) == set(range(1, 3000))


def test_black_and_white_pages_are_two() -> None:
    pages = np.stack([np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)])
    assert Newcomers(pages, BITS).repeats() == {}


def test_known_image_without_a_thumbprint_confirms_nothing() -> None:
    newcomers = Newcomers(photos()[:4], BITS)
    candidates = newcomers.like(perceptual_hashes(photos()[:4]))
    assert newcomers.repeats(candidates, dict.fromkeys(range(4), b"")) == {}


@pytest.mark.parametrize("large", [0, 20_000], ids=["flipped-bands", "equal-bands"])
@pytest.mark.parametrize("bits", [0, 1, 5, 6, 7, 10])
def test_search_finds_every_pair_within_the_bits(
    bits: int, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_index, "LARGE", large)
    hashes = random_hashes(1, 300)
    rng = np.random.default_rng(2)
    probes = hashes.copy()
    for n in range(len(probes)):
        for bit in rng.choice(64, rng.integers(0, 12), replace=False):
            probes[n] ^= np.uint64(1) << np.uint64(bit)
    found = HashIndex(hashes, bits).close(probes)
    distance = np.bitwise_count(probes[:, None] ^ hashes[None, :])
    expected = {
        (p, m) for p, m in itertools.product(range(300), range(300)) if distance[p, m] <= bits
    }
    assert set(zip(found.probe.tolist(), found.match.tolist(), strict=True)) == expected


def test_search_over_nothing_finds_nothing() -> None:
    empty = np.empty(0, np.uint64)
    assert len(HashIndex(empty, BITS).close(random_hashes(1, 5)).probe) == 0
    assert len(HashIndex(random_hashes(1, 5), BITS).close(empty).probe) == 0
    assert Newcomers(stack([]), BITS).repeats() == {}


def test_too_many_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="0 to 16 bits"):
        HashIndex(random_hashes(1, 5), 17)


@settings(max_examples=20)
@given(st.integers(0, 1999), st.integers(1, 60))
def test_hash_does_not_depend_on_the_company(number: int, count: int) -> None:
    """Arithmetic on integers: a batch of any size gives the same bits."""
    some = photos()[number : number + count]
    alone = [int(perceptual_hashes(image[None])[0]) for image in some]
    assert perceptual_hashes(some).tolist() == alone


def test_brightness_does_not_change_a_hash_much() -> None:
    images = photos()[:500]
    light = np.asarray(images // 2 + 40, np.uint8)
    distance = np.bitwise_count(perceptual_hashes(images) ^ perceptual_hashes(light))
    assert float(distance.mean()) < 1.0


def test_thumbprints_are_compared_at_the_displacement_that_was_found() -> None:
    original = photos()[:20]
    moved = np.stack([downwards(image) for image in original])
    back, forth = SHIFTS.index((-1, 0)), SHIFTS.index((1, 0))
    assert same_picture(moved, original, np.full(20, back)).all()
    assert not same_picture(moved, original, np.full(20, forth)).any()


def test_nine_displacements_are_hashed() -> None:
    assert shifted_hashes(photos()[:3]).shape == (3, len(SHIFTS))
    assert THUMBPRINT_SIDE_PX**2 <= 1024
