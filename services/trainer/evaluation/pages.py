"""The files of an evaluation: report, outcomes, and the page with the worst images in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from loopline.digests import canonical_json
from loopline.evaluation import outcomes
from loopline.evaluation.findings import Findings
from loopline.evaluation.report import Report
from loopline.reports.page import render
from loopline.vision import masks
from loopline.vision.images import decode

SIDE_PX_MAX: Final = 480  # of an image on a page
JPEG_QUALITY: Final = 80
OUTLINE_TOLERANCE_SHARE: Final = 0.002  # of the image's longer side


def report_file(report: Report) -> bytes:
    """Return a report as canonical JSON: equal reports give equal bytes."""
    return canonical_json(report.model_dump(mode="json", exclude_none=True))


def outcomes_file(findings: Findings) -> bytes:
    """Return what was found on each image."""
    return outcomes.to_bytes(findings.outcomes)


def page_file(report: Report, paths: Mapping[str, Path]) -> bytes:
    """Return the page of a report.

    Args:
        report: What was found.
        paths: Files of encoded images by asset.
    """
    shown = [view.asset for view in report.worst if view.asset in paths]
    images = {asset: _thumbnail(paths[asset]) for asset in shown}
    return render(report, images, _outline).encode()


def _thumbnail(path: Path) -> bytes:
    image = decode(path.read_bytes(), 3)
    height, width = image.shape[:2]
    scale = SIDE_PX_MAX / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return data.tobytes()


def _outline(rle: str, width_px: int, height_px: int) -> Sequence[Sequence[float]]:
    mask = masks.decode(rle, width_px, height_px)
    return masks.to_polygons(mask, OUTLINE_TOLERANCE_SHARE * max(width_px, height_px))
