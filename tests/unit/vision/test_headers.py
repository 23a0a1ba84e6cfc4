"""Image headers: their size is known before anything is decoded, and equals what Pillow says."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from loopline.vision.headers import ImageHeader, NotAnImage, Truncated, read_header

FORMATS = (
    pytest.param("PNG", "L", {}, id="png-grey"),
    pytest.param("PNG", "RGBA", {}, id="png-alpha"),
    pytest.param("PNG", "P", {}, id="png-palette"),
    pytest.param("JPEG", "L", {}, id="jpeg-grey"),
    pytest.param("JPEG", "RGB", {}, id="jpeg"),
    pytest.param("JPEG", "RGB", {"progressive": True}, id="jpeg-progressive"),
    pytest.param("JPEG", "CMYK", {}, id="jpeg-cmyk"),
    pytest.param("JPEG", "RGB", {"comment": b"x" * 70_000}, id="jpeg-long-comment"),
    pytest.param("WEBP", "RGB", {}, id="webp-lossy"),
    pytest.param("WEBP", "RGB", {"lossless": True}, id="webp-lossless"),
    pytest.param("WEBP", "RGBA", {}, id="webp-alpha"),
    pytest.param("GIF", "P", {}, id="gif"),
    pytest.param("BMP", "RGB", {}, id="bmp"),
    pytest.param("TIFF", "RGB", {}, id="tiff"),
    pytest.param("TIFF", "L", {"compression": "tiff_lzw"}, id="tiff-lzw"),
    pytest.param("TIFF", "RGB", {"big_tiff": True}, id="bigtiff"),
)


def encode(kind: str, mode: str, width: int, height: int, **options: Any) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    file = io.BytesIO()
    if "comment" in options:
        options["comment"] = options["comment"][:65_000]
    Image.fromarray(noise).convert(mode).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "mode", "options"), FORMATS)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (37, 11), (300, 257)])
def test_header_tells_what_was_encoded(
    kind: str, mode: str, options: dict[str, Any], width: int, height: int
) -> None:
    header = read_header(encode(kind, mode, width, height, **options))
    assert header == ImageHeader(f"image/{kind.lower()}", width, height)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_and_nothing_else_is_raised(data: bytes) -> None:
    with contextlib.suppress(NotAnImage, Truncated):
        assert read_header(data).pixels > 0


@given(
    st.sampled_from(
        [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"GIF89a", b"II*\0"]
    ),
    st.binary(max_size=200),
)
def test_garbage_after_a_magic_number_is_truncated_or_read(magic: bytes, rest: bytes) -> None:
    with contextlib.suppress(Truncated):
        assert read_header(magic + rest).pixels > 0


@pytest.mark.parametrize(("kind", "mode", "options"), FORMATS)
def test_every_cut_in_the_header_is_told(kind: str, mode: str, options: dict[str, Any]) -> None:
    data = encode(kind, mode, 37, 11, **options)
    for length in range(10):
        with pytest.raises((NotAnImage, Truncated)):
            read_header(data[:length])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_file_that_ends_early_is_truncated(kind: str, share: float) -> None:
    data = encode(kind, "RGB", 200, 100)
    with pytest.raises(Truncated):
        read_header(data[: int(len(data) * share)])


def test_jpeg_thumbnail_in_the_header_does_not_stand_for_the_picture() -> None:
    """The embedded thumbnail has a size and an end mark of its own."""
    exif = b"Exif\0\0" + encode("JPEG", "RGB", 16, 8)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    photo = encode("JPEG", "RGB", 200, 100)
    data = photo[:2] + segment + photo[2:]
    assert read_header(data) == ImageHeader("image/jpeg", 200, 100)
    with pytest.raises(Truncated):
        read_header(data[: len(segment) + 500])


def test_bomb_tells_its_size_in_a_few_bytes() -> None:
    header = read_header(bomb(20_000, 20_000))
    assert (header.width_px, header.height_px, header.pixels) == (20_000, 20_000, 400_000_000)


@pytest.mark.parametrize("size", [(0, 10), (10, 0)])
def test_no_pixels_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(Truncated, match="claims"):
        read_header(bomb(*size))


def bomb(width: int, height: int) -> bytes:
    """A PNG of one grey, as small as it gets."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
