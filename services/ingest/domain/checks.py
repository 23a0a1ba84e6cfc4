"""What an object must be to become an asset: checked before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from loopline.vision.headers import ImageHeader, NotAnImage, Truncated, read_header
from services.ingest.domain.drops import Reason, Unfit


@dataclass(frozen=True, slots=True)
class Rules:
    """What is kept of what is found; part of the run's parameters.

    Args:
        min_side_px: Shorter sides are too small.
        max_megapixels: More pixels are too large.
        max_object_bytes: More bytes are not read.
        drop_near_duplicates: Whether to look for images that show the same.
        near_duplicate_bits: Of 64, how many bits two perceptual hashes may differ.
    """

    min_side_px: int
    max_megapixels: int
    max_object_bytes: int
    drop_near_duplicates: bool
    near_duplicate_bits: int


def check_bytes(size_bytes: int, rules: Rules) -> None:
    """Refuse an object by its size alone.

    Raises:
        Unfit: It is empty, or larger than what is read of one object.
    """
    if size_bytes == 0:
        raise Unfit(Reason.EMPTY, "0 bytes")
    if size_bytes > rules.max_object_bytes:
        detail = f"{size_bytes} bytes: at most {rules.max_object_bytes} are read"
        raise Unfit(Reason.TOO_MANY_BYTES, detail)


def check_header(data: bytes, rules: Rules) -> ImageHeader:
    """Return what the image says of itself, if it may be decoded.

    Raises:
        Unfit: It is no image, is cut off, or has too few or too many pixels.
    """
    try:
        header = read_header(data)
    except NotAnImage as error:
        raise Unfit(Reason.NOT_AN_IMAGE, error.message) from error
    except Truncated as error:
        raise Unfit(Reason.CORRUPT, error.message) from error
    if header.pixels > rules.max_megapixels * 1_000_000:
        raise Unfit(
            Reason.TOO_LARGE,
            f"{_size(header)}: at most {rules.max_megapixels} megapixels are decoded",
        )
    if min(header.width_px, header.height_px) < rules.min_side_px:
        raise Unfit(
            Reason.TOO_SMALL,
            f"{_size(header)}: {rules.min_side_px} or more are wanted on each side",
        )
    return header


def _size(header: ImageHeader) -> str:
    return f"{header.width_px} x {header.height_px} pixels"
