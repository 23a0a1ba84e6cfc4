"""Cut the nuclei scene: tiles of one fluorescence image, with a mask for each nucleus, as COCO.

The image comes with the wheel of StarDist. Run `python examples/data/cut_nuclei.py WHEEL`; it
writes examples/data/nuclei/<split>/<row>-<column>.png and labels.json, the same bytes every time.

The right and the lower edge of the image are for testing, the rest for training. Only training
tiles overlap each other, so nothing that is trained on is seen in the test.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from loopline.vision import masks

TILE_PX = 128
STEP_PX = 64  # between training tiles
VISIBLE_MIN = 0.3  # of a nucleus that a tile's edge cuts; smaller slivers are no labels
REGIONS = (  # split, y_min, x_min, y_max, x_max, px between tiles
    ("train", 0, 0, 384, 384, STEP_PX),
    ("test", 0, 384, 512, 512, TILE_PX),
    ("test", 384, 0, 512, 384, TILE_PX),
)
TARGET = Path(__file__).parent / "nuclei"

Pixels = np.ndarray[tuple[int, ...], np.dtype[Any]]


def main() -> None:
    """Cut the image of the wheel that the command line names."""
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        image, nuclei = (
            cv2.imdecode(
                np.frombuffer(wheel.read(f"stardist/data/images/{name}2d.tif"), np.uint8),
                cv2.IMREAD_UNCHANGED,
            )
            for name in ("img", "mask")
        )
    assert image is not None
    assert nuclei is not None
    pixels = np.clip(image.astype(np.float64) * 255 / image.max(), 0, 255).round().astype(np.uint8)
    document: dict[str, list[Any]] = {"images": [], "annotations": []}
    whole = np.bincount(nuclei.ravel())
    for split, y_min, x_min, y_max, x_max, step in REGIONS:
        for y in range(y_min, y_max - TILE_PX + 1, step):
            for x in range(x_min, x_max - TILE_PX + 1, step):
                window = np.s_[y : y + TILE_PX, x : x + TILE_PX]
                name = f"{split}/{y:03}-{x:03}.png"
                write_tile(document, name, pixels[window], nuclei[window], whole)
    labels = {**document, "categories": [{"id": 1, "name": "nucleus"}]}
    (TARGET / "labels.json").write_text(json.dumps(labels, separators=(",", ":")) + "\n")


def write_tile(
    document: dict[str, list[Any]], name: str, pixels: Pixels, nuclei: Pixels, whole: Pixels
) -> None:
    """Write a tile (H, W), and add it with its nuclei, each a number in `nuclei` (H, W).

    `whole` has the area of each, by its number.
    """
    path = TARGET / name
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)
    image_id = len(document["images"]) + 1
    split = name.partition("/")[0]
    document["images"].append(
        {"id": image_id, "file_name": name, "width": TILE_PX, "height": TILE_PX, "split": split}
    )
    for number in np.unique(nuclei[nuclei > 0]):
        rle = masks.encode(nuclei == number)
        box = masks.box_of(rle, TILE_PX, TILE_PX)
        if box is None or masks.area(rle) < VISIBLE_MIN * whole[number]:
            continue
        document["annotations"].append(
            {
                "id": len(document["annotations"]) + 1,
                "image_id": image_id,
                "category_id": 1,
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "area": masks.area(rle),
                "iscrowd": 0,
                "segmentation": {"size": [TILE_PX, TILE_PX], "counts": rle},
            }
        )


if __name__ == "__main__":
    main()
