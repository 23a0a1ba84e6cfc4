"""Cut the demo's sample out of Fashion-MNIST: the same bytes whenever it is run.

Reads the four files of Debian's package ``dataset-fashion-mnist`` (or the same files from
https://github.com/zalandoresearch/fashion-mnist) and writes ``fashion/catalogue.zip``: 6,600
untouched 28x28 images as PNG files and ``index.csv``, which says of each its class and its part.

How the images are chosen: per class, in the order of the dataset (which its makers shuffled),
without looking at them. From the 60,000 training images of each class the first 150 are
``labeled``, the next 300 ``unlabeled``, the next 60 ``spare``; from the 10,000 test images the
first 150 are ``test``. A file is named after its part of the dataset and its index there, so that
it can be found again.

    python examples/data/cut_fashion.py --source /usr/share/datasets/fashion-mnist
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)
# Images taken per class, in this order, from the files of this prefix.
PARTS = (
    ("train", (("labeled", 150), ("unlabeled", 300), ("spare", 60))),
    ("t10k", (("test", 150),)),
)
# A zip entry carries a date; this one is the commit that the Debian package was made from.
ENTRY_DATE = (2020, 5, 23, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Cut:
    """One chosen image."""

    file: str
    part: str
    class_name: str
    pixels: NDArray[np.uint8]


def read_idx(path: Path, header_bytes: int) -> NDArray[np.uint8]:
    """The payload of a gzipped IDX file of bytes, flat."""
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header_bytes)


def cuts(source: Path) -> Iterator[Cut]:
    """The chosen images, in the order of the dataset's files."""
    for prefix, parts in PARTS:
        images = read_idx(source / f"{prefix}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
        labels = read_idx(source / f"{prefix}-labels-idx1-ubyte.gz", 8)
        chosen: list[tuple[int, str]] = []
        for label in range(len(CLASSES)):
            indices = iter(np.flatnonzero(labels == label))
            chosen += [(int(next(indices)), part) for part, count in parts for _ in range(count)]
        for index, part in sorted(chosen):
            name = f"{prefix}-{index:05d}.png"
            yield Cut(name, part, CLASSES[labels[index]], images[index])


def png(pixels: NDArray[np.uint8]) -> bytes:
    """The image as an 8-bit grey PNG file, compressed as far as PNG goes."""
    done, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not done:
        raise RuntimeError("OpenCV could not encode a PNG")
    return encoded.tobytes()


def write(target: Path, chosen: list[Cut]) -> None:
    """Write the zip: PNG files stored as they are, the index deflated."""
    index = io.StringIO()
    rows = csv.writer(index, lineterminator="\n")
    rows.writerow(("file", "part", "class"))
    rows.writerows((cut.file, cut.part, cut.class_name) for cut in chosen)
    with zipfile.ZipFile(target, "w") as archive:
        entry = zipfile.ZipInfo("index.csv", ENTRY_DATE)
        archive.writestr(entry, index.getvalue(), zipfile.ZIP_DEFLATED, 9)
        for cut in chosen:
            archive.writestr(zipfile.ZipInfo(cut.file, ENTRY_DATE), png(cut.pixels))


def main() -> None:
    """Cut the sample beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument(
        "--target", type=Path, default=Path(__file__).parent / "fashion" / "catalogue.zip"
    )
    arguments = parser.parse_args()
    chosen = list(cuts(arguments.source))
    write(arguments.target, chosen)
    size_mb = arguments.target.stat().st_size / 1e6
    print(f"{arguments.target}: {len(chosen)} images, {size_mb:.1f} MB")


if __name__ == "__main__":
    main()
