"""COCO compressed run-length masks: read far enough to know whether one fits its image.

The encoding is that of pycocotools (`rleToString`): column-major runs, zeros first, each written as
a difference to the run before the last one, in groups of 5 bits offset by 48.
"""

from __future__ import annotations

_OFFSET = 48
_CONTINUES = 0x20
_NEGATIVE = 0x10


def run_lengths(rle: str) -> list[int]:
    """Return the runs of a compressed mask: zeros, ones, zeros, ...

    Args:
        rle: The compressed counts; empty gives no runs.

    Raises:
        ValueError: A character is outside the alphabet, or the last run is cut off.

    >>> run_lengths("52203")
    [5, 2, 2, 2, 5]
    """
    runs: list[int] = []
    position = 0
    while position < len(rle):
        run, position = _read_run(rle, position)
        if len(runs) > 2:
            run += runs[-2]
        runs.append(run)
    return runs


def _read_run(rle: str, position: int) -> tuple[int, int]:
    value = 0
    shift = 0
    while True:
        if position >= len(rle):
            raise ValueError("the last run is cut off")
        group = ord(rle[position]) - _OFFSET
        if not 0 <= group < 64:
            raise ValueError(f"{rle[position]!r} is not a run-length character")
        value |= (group & 0x1F) << shift
        shift += 5
        position += 1
        if not group & _CONTINUES:
            return (value | (-1 << shift) if group & _NEGATIVE else value), position


def check_mask(rle: str, width_px: int, height_px: int) -> None:
    """Refuse a mask that is not one of an image of that size.

    Raises:
        ValueError: It cannot be read, has a negative run, is of another size, or is empty.
    """
    runs = run_lengths(rle)
    if any(run < 0 for run in runs):
        raise ValueError("a run is negative")
    if sum(runs) != width_px * height_px:
        raise ValueError(
            f"the runs cover {sum(runs)} pixels, the image has {width_px * height_px} "
            f"({width_px} x {height_px})"
        )
    if sum(runs[1::2]) == 0:
        raise ValueError("no pixel is set")
