"""What people are shown: labels on images, images side by side."""

from __future__ import annotations

import numpy as np

from loopline.store.items import Shape
from loopline.vision import masks
from loopline.vision.drawing import COLOURS, contact_sheet, drawn, png
from loopline.vision.images import decode


def test_each_shape_is_drawn_in_the_colour_of_its_class() -> None:
    grey = np.full((40, 40, 1), 10, np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[25:35, 25:35] = True
    shapes = [
        Shape("1", "a", bbox_xyxy=(4, 4, 15, 15)),
        Shape("2", "b", mask_rle=masks.encode(mask)),
        Shape("3", "a", polygon=(20, 2, 36, 2, 36, 12)),
        Shape("4", "b"),
    ]
    canvas = drawn(grey, shapes, ["a", "b"])
    assert canvas.shape == (40, 40, 3)
    edge = canvas[10, 2:7].astype(int) - COLOURS[0]
    assert np.abs(edge).max(axis=1).min() < 130  # smoothed between two columns
    assert (canvas[30, 30] > 10).any()
    assert (canvas[20, 15] == 10).all()
    assert (grey == 10).all()


def test_a_sheet_has_a_place_for_every_image() -> None:
    red = np.zeros((10, 20, 3), np.uint8)
    red[..., 0] = 200
    sheet = contact_sheet([[("one", red), ("two", red)], [("three", red)]], tile_px=60)
    assert sheet.shape[2] == 3
    assert ((sheet == [200, 0, 0]).all(axis=2).sum()) == 3 * 60 * 30
    assert (decode(png(sheet), 3) == sheet).all()


def test_nothing_is_an_empty_sheet() -> None:
    assert contact_sheet([]).size > 0
