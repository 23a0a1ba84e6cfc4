"""Decoding for a thumbprint: size as training sees it, truncation found, whatever the format."""

from __future__ import annotations

import io
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from loopline.vision.headers import read_header
from loopline.vision.images import decode
from loopline.vision.perceptual import SHIFTS, THUMBPRINT_BYTES, same_picture, stack
from services.ingest.adapters.decoding import look_at
from services.ingest.domain.drops import Reason, Unfit

UNMOVED = SHIFTS.index((0, 0))


def photo(width: int, height: int) -> NDArray[np.uint8]:
    """Soft blobs of colour, different in every corner."""
    coarse = np.random.default_rng(7).integers(0, 255, (9, 12, 3), np.uint8)
    resized = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized, np.uint8)


def encode(image: NDArray[np.uint8], kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def turned(data: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize(("width", "height"), [(640, 480), (29, 31), (20, 300), (1000, 999)])
def test_size_is_that_of_the_decoded_image(kind: str, width: int, height: int) -> None:
    data = encode(photo(width, height), kind)
    look = look_at(data, read_header(data))
    assert (look.width_px, look.height_px) == (width, height)
    assert len(look.thumbprint) == THUMBPRINT_BYTES


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("width", "height"), [(640, 480), (500, 500), (513, 512), (40, 30)])
def test_size_is_upright_as_training_decodes_it(orientation: int, width: int, height: int) -> None:
    """Boxes are drawn on the upright image; a reduced decode must not lose which way is up."""
    data = turned(encode(photo(width, height), "JPEG", quality=95), orientation)
    look = look_at(data, read_header(data))
    assert (look.height_px, look.width_px) == decode(data, 1).shape[:2]


def test_reduced_jpeg_and_whole_png_give_the_same_picture() -> None:
    for width, height in [(640, 480), (225, 224), (300, 2000), (60, 80)]:
        image = photo(width, height)
        looks = [
            look_at(data, read_header(data)).thumbprint
            for data in (encode(image, "JPEG", quality=90), encode(image, "PNG"))
        ]
        one, other = stack(looks[:1]), stack(looks[1:])
        assert same_picture(one, other, np.array([UNMOVED])).all(), (width, height)


def test_small_image_is_its_own_thumbprint() -> None:
    image = np.arange(784, dtype=np.uint8).reshape(28, 28)
    data = encode(image, "PNG")
    assert look_at(data, read_header(data)).thumbprint == image.tobytes()


def test_hidden_colours_of_a_cut_out_do_not_count() -> None:
    """Two cut-outs that look the same on a page, with different rubbish under the transparency."""
    image = np.zeros((60, 60, 4), np.uint8)
    image[20:40, 10:50] = (200, 30, 90, 255)
    other = image.copy()
    other[:10, :, :3] = 255
    one, two = (look_at(d, read_header(d)) for d in (encode(image, "PNG"), encode(other, "PNG")))
    assert one.thumbprint == two.thumbprint


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("size", [(60, 40), (640, 480)])
def test_file_that_ends_early_is_corrupt(kind: str, share: float, size: tuple[int, int]) -> None:
    data = encode(photo(*size), kind)
    header = read_header(data)
    with pytest.raises(Unfit) as caught:
        look_at(data[: int(len(data) * share)], header)
    assert caught.value.reason is Reason.CORRUPT


@pytest.mark.parametrize("scale", [1, 4, 8, 16])
def test_jpeg_that_ends_early_is_corrupt_at_every_reduction(scale: int) -> None:
    data = encode(photo(64 * scale, 57 * scale), "JPEG")
    header = read_header(data)
    with pytest.raises(Unfit):
        look_at(data[: len(data) * 4 // 5], header)


def test_samples_that_are_no_integers_are_corrupt_to_us() -> None:
    data = encode(np.zeros((40, 40), np.float32), "TIFF")
    with pytest.raises(Unfit, match="float32"):
        look_at(data, read_header(data))


def test_transparency_costs_no_more_memory_than_the_image() -> None:
    """A few kilobytes may hold a hundred megapixels of it."""
    image = np.zeros((3000, 4000, 4), np.uint8)
    image[..., 3] = 128
    data = encode(image, "PNG")
    header = read_header(data)
    tracemalloc.start()
    look_at(data, header)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 3 * image.nbytes
