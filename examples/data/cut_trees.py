"""Cut the trees scene: tiles of aerial photos with a box for each crown, as COCO.

The photos come with the wheel of DeepForest. Run `python examples/data/cut_trees.py WHEEL`; it
writes examples/data/trees/<split>/<photo>-<row>-<column>.jpg and labels.json, the same bytes every
time. One photo is for testing alone: it shows another place than those that are trained on.
"""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

TILE_PX = 400
QUALITY = 88
VISIBLE_MIN = 0.4  # of a crown that a tile's edge cuts; of what is less, the box goes too
PHOTOS = {  # the wheel's names: the split, and the name here
    "2019_YELL_2_528000_4978000_image_crop2": ("train", "yell2"),
    "OSBS_029": ("train", "osbs"),
    "SOAP_061": ("train", "soap"),
    "2019_YELL_2_541000_4977000_image_crop": ("test", "yell1"),
}
VAL_ROW = 2000  # px: of the largest photo, tiles from here down are for validation
TARGET = Path(__file__).parent / "trees"

Box = tuple[float, float, float, float]


def main() -> None:
    """Cut the photos of the wheel that the command line names."""
    document: dict[str, list[Any]] = {"images": [], "annotations": []}
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        for name, (split, short) in PHOTOS.items():
            data = np.frombuffer(wheel.read(f"deepforest/data/{name}.png"), np.uint8)
            photo = cv2.imdecode(data, cv2.IMREAD_COLOR)
            assert photo is not None, f"{name} cannot be read"
            boxes = read_boxes(wheel.read(f"deepforest/data/{name}.xml"))
            for y in corners(photo.shape[0]):
                for x in corners(photo.shape[1]):
                    where = "val" if short == "yell2" and y >= VAL_ROW else split
                    cut(document, f"{where}/{short}-{y:04}-{x:04}.jpg", photo, boxes, (x, y))
    labels = {**document, "categories": [{"id": 1, "name": "tree"}]}
    (TARGET / "labels.json").write_text(json.dumps(labels, separators=(",", ":")) + "\n")


def corners(side_px: int) -> list[int]:
    """Return where tiles begin along a side, without overlap; what is left over is not used."""
    return list(range(0, side_px - TILE_PX + 1, TILE_PX))


def read_boxes(xml: bytes) -> list[Box]:
    """Return the boxes xyxy of a file in the format of Pascal VOC."""
    found = ET.fromstring(xml).iter("bndbox")  # noqa: S314 - a file of the wheel
    names = ("xmin", "ymin", "xmax", "ymax")
    return [tuple(float(box.findtext(name, "0")) for name in names) for box in found]  # type: ignore[misc]


def cut(
    document: dict[str, list[Any]],
    name: str,
    photo: np.ndarray[Any, Any],
    boxes: list[Box],
    corner: tuple[int, int],
) -> None:
    """Write a tile, and add it with the boxes that it shows."""
    x, y = corner
    inside = [seen for box in boxes if (seen := shown(box, x, y)) is not None]
    if not inside:
        return  # nobody labeled this part of the photo
    path = TARGET / name
    path.parent.mkdir(parents=True, exist_ok=True)
    tile = photo[y : y + TILE_PX, x : x + TILE_PX]
    cv2.imwrite(str(path), tile, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    image_id = len(document["images"]) + 1
    split = name.partition("/")[0]
    document["images"].append(
        {"id": image_id, "file_name": name, "width": TILE_PX, "height": TILE_PX, "split": split}
    )
    for box in inside:
        width, height = box[2] - box[0], box[3] - box[1]
        document["annotations"].append(
            {
                "id": len(document["annotations"]) + 1,
                "image_id": image_id,
                "category_id": 1,
                "bbox": [box[0], box[1], width, height],
                "area": width * height,
                "iscrowd": 0,
            }
        )


def shown(box: Box, x: int, y: int) -> Box | None:
    """Return what a tile shows of a box, in the tile's pixels; None if it is too little."""
    x_min, y_min = max(box[0] - x, 0), max(box[1] - y, 0)
    x_max, y_max = min(box[2] - x, TILE_PX), min(box[3] - y, TILE_PX)
    if x_min >= x_max or y_min >= y_max:
        return None
    whole = (box[2] - box[0]) * (box[3] - box[1])
    part = (x_max - x_min) * (y_max - y_min)
    return (x_min, y_min, x_max, y_max) if part >= VISIBLE_MIN * whole else None


if __name__ == "__main__":
    main()
