"""What writing and reading many images takes: `python -m tests.unit.formats.streaming coco 100000`.

Runs in a process of its own and prints JSON. Memory is the most that the process held resident, as
the kernel counted it (`VmHWM`): all of it, so that what expat, ijson and SQLite hold counts like
Python's own, and at no cost for each allocation. A rehearsal comes first, after which the kernel
counts anew: what is imported, cached and kept by the allocator is there by then, and what is left
is what the images themselves take.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from loopline.formats.labeled import LabeledImage
from loopline.formats.registry import find_format
from loopline.store.items import Shape

WIDTH, HEIGHT = 640, 480
REHEARSED = 500  # images
SHAPES_EACH = 2
STATUS = Path("/proc/self/status")
COUNT_ANEW = Path("/proc/self/clear_refs")


def png(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Return a small PNG of that size: YOLO reads the size off it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (height * (width + 1)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def many(count: int) -> Iterator[LabeledImage]:
    """Yield images with a box and a ring each, none of which anybody keeps."""
    for number in range(count):
        at = float(number % 400)
        shapes = (
            Shape("1", "coat", bbox_xyxy=(at, at / 2, at + 50.25, at / 2 + 60.5)),
            Shape("2", "hat", polygon=(at, 0.0, at + 9.5, 0.0, at, 20.125)),
        )
        yield LabeledImage(f"{number:06}.png", WIDTH, HEIGHT, shapes, "train")


def told(name: str, count: int, folder: Path) -> dict[str, float]:
    """Write so many images into a new folder and read them again; return the seconds of each."""
    made = find_format(name)
    folder.mkdir()
    began = time.process_time()
    made.write(many(count), folder)
    written = time.process_time()
    if name.startswith("yolo"):
        small = png(16, 16)
        for image in many(count):
            (folder / made.image_path(image)).write_bytes(small)
    began_reading = time.process_time()
    assert sum(len(image.shapes) for image in made.read(folder)) == SHAPES_EACH * count
    read = time.process_time()
    return {"write_s": round(written - began, 2), "read_s": round(read - began_reading, 2)}


def peak_bytes() -> int:
    """Return the most memory that was resident since the count began."""
    [line] = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def main(name: str, count: int) -> None:
    """Print what it takes."""
    with tempfile.TemporaryDirectory() as folder:
        told(name, REHEARSED, Path(folder, "rehearsal"))
        COUNT_ANEW.write_text("5")  # proc(5): the peak becomes what is resident now
        before = peak_bytes()
        seconds = told(name, count, Path(folder, "told"))
        grown = peak_bytes() - before
    print(json.dumps({**seconds, "grown_bytes": grown, "peak_bytes": before + grown}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
