"""Cut the colour scene: tiles of four photos, a folder per photo, for `loopline demo --images`.

The photos come with the wheel of scikit-image. Run `python examples/data/cut_photos.py WHEEL`; it
writes examples/data/photos/<class>/<row>-<column>.jpg, the same bytes every time.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np

PHOTOS = {
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "rocket": "rocket.jpg",
    "stars": "hubble_deep_field.jpg",
}
TILE_PX = 48
TILES = 54  # per photo
QUALITY = 90
TARGET = Path(__file__).parent / "photos"


def main() -> None:
    """Cut every photo of the wheel that the command line names."""
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        for name, file in PHOTOS.items():
            data = np.frombuffer(wheel.read(f"skimage/data/{file}"), np.uint8)
            photo = cv2.imdecode(data, cv2.IMREAD_COLOR)
            assert photo is not None, f"{file} cannot be read"
            cut(name, np.asarray(photo, np.uint8))


def cut(name: str, photo: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    """Write the first tiles of a photo (H, W, 3), row by row, without overlap."""
    folder = TARGET / name
    folder.mkdir(parents=True, exist_ok=True)
    height_px, width_px = photo.shape[:2]
    corners = [
        (y, x)
        for y in range(0, height_px - TILE_PX + 1, TILE_PX)
        for x in range(0, width_px - TILE_PX + 1, TILE_PX)
    ]
    for y, x in corners[:TILES]:
        tile = photo[y : y + TILE_PX, x : x + TILE_PX]
        path = folder / f"{y:04}-{x:04}.jpg"
        cv2.imwrite(str(path), tile, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


if __name__ == "__main__":
    main()
