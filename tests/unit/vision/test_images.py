"""Pixels are the same for every service, whatever file they came in."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from loopline.errors import Rejected
from loopline.vision.images import INTERPOLATIONS, UInt8Image, decode, resize

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def red_over_blue() -> Image.Image:
    """2 px wide, 4 px high: the upper half red, the lower half blue."""
    image = Image.new("RGB", (2, 4), BLUE)
    image.paste(RED, (0, 0, 2, 2))
    return image


def test_colours_come_back_as_rgb() -> None:
    pixels = decode(encoded(red_over_blue(), "PNG"), 3)
    assert pixels.shape == (4, 2, 3)
    assert tuple(pixels[0, 0]) == RED
    assert tuple(pixels[3, 1]) == BLUE


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "I;16", "1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_png_mode_becomes_eight_bits_of_the_channels_asked_for(
    mode: str, channels: int
) -> None:
    pixels = decode(encoded(Image.new(mode, (5, 3)), "PNG"), channels)
    assert pixels.shape == (3, 5, channels)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


def test_sixteen_bit_samples_keep_their_high_byte() -> None:
    ok, png = cv2.imencode(".png", np.full((2, 2), 0xAB12, np.uint16))
    assert ok
    assert decode(png.tobytes(), 1).tolist() == [[[0xAB], [0xAB]]] * 2


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_pixels_are_laid_over_white(kind: str) -> None:
    image = Image.new("RGBA", (8, 8), (*RED, 0))
    options = {"lossless": True} if kind == "WEBP" else {}
    assert tuple(decode(encoded(image, kind, **options), 3)[0, 0]) == WHITE


def test_half_transparent_black_is_grey_at_any_depth() -> None:
    for dtype in (np.dtype(np.uint8), np.dtype(np.uint16)):
        alpha = np.iinfo(dtype).max // 2
        bgra: UInt8Image = np.array([[[0, 0, 0, alpha]]], dtype=dtype)
        ok, png = cv2.imencode(".png", bgra)
        assert ok
        assert decode(png.tobytes(), 1)[0, 0, 0] == 128


def test_a_transparent_palette_entry_is_white() -> None:
    image = Image.new("P", (2, 2))
    image.putpalette(RED * 256)
    assert tuple(decode(encoded(image, "PNG", transparency=0), 3)[0, 0]) == WHITE


@pytest.mark.parametrize(
    ("kind", "alpha"),
    [("JPEG", False), ("PNG", False), ("PNG", True), ("WEBP", False), ("WEBP", True)],
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind: str, orientation: int, alpha: bool) -> None:
    upright = np.zeros((8, 16, 3), np.uint8)
    upright[:, :8] = RED  # left half red, right half blue, and the lower left corner white
    upright[:, 8:] = BLUE
    upright[4:, :4] = WHITE
    stored = Image.fromarray(_stored_as(upright, orientation)).resize(
        (64, 64), Image.Resampling.NEAREST
    )
    if alpha:
        stored.putalpha(254)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = decode(encoded(stored, kind, exif=exif, **options), 3).astype(int)
    assert np.abs(pixels[4, 28] - RED).max() < 30
    assert np.abs(pixels[4, 60] - BLUE).max() < 30
    assert np.abs(pixels[60, 4] - WHITE).max() < 30


def _stored_as(upright: UInt8Image, orientation: int) -> UInt8Image:
    """How a camera that says `orientation` has stored an image (the inverse of the turn)."""
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    return np.ascontiguousarray(turns[orientation](upright))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"file,class,split\n", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="only a magic number"),
        pytest.param(b"\xff\xd8\xff\xe0garbage", id="a broken JPEG"),
    ],
)
def test_bytes_that_are_no_image_are_refused(data: bytes) -> None:
    with pytest.raises(Rejected):
        decode(data, 3)


def test_floating_point_samples_are_refused() -> None:
    with pytest.raises(Rejected):
        decode(encoded(Image.new("F", (4, 4)), "TIFF"), 1)


def test_two_channels_are_refused_by_name() -> None:
    with pytest.raises(Rejected, match="not 2"):
        decode(encoded(red_over_blue(), "PNG"), 2)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_keeps_the_channel_axis_and_flat_colour(interpolation: str, channels: int) -> None:
    flat = np.full((28, 20, channels), 77, np.uint8)
    for height, width in ((7, 5), (64, 64), (14, 40)):
        scaled = resize(flat, height, width, interpolation)
        assert scaled.shape == (height, width, channels)
        assert (scaled == 77).all()


def test_area_averages_what_falls_together() -> None:
    board = np.indices((4, 4)).sum(axis=0) % 2 * 200
    assert (resize(board[..., None].astype(np.uint8), 2, 2, "area") == 100).all()


def test_area_is_bilinear_where_the_image_grows() -> None:
    ramp = np.arange(16, dtype=np.uint8).reshape(4, 4, 1) * 10
    assert (resize(ramp, 9, 9, "area") == resize(ramp, 9, 9, "bilinear")).all()


def test_resize_to_the_same_size_copies_nothing() -> None:
    image = np.zeros((3, 4, 1), np.uint8)
    assert resize(image, 3, 4, "bicubic") is image


def test_an_unknown_interpolation_is_refused_by_name() -> None:
    with pytest.raises(Rejected, match="lanczos"):
        resize(np.zeros((3, 4, 1), np.uint8), 3, 4, "lanczos")
