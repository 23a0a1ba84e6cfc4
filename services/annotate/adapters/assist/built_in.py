"""GrabCut and Otsu, which need no model.

GrabCut (Rother et al. 2004) tells colours inside a box from those around it: IoU .82 on photos.
Otsu's threshold inside a box suits bright things on dark ground, and the other way round: cells,
scans. Both work on a window around the box, scaled down, so that a large image costs no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from loopline.errors import Rejected
from loopline.vision.images import UInt8Image
from services.annotate.adapters.assist.prompt import BOX, POINTS, Cut, Mask, Prompt

WINDOW_SIDE_MAX_PX = 384  # 60 ms of GrabCut; twice of it takes four times as long
MARGIN = 0.4  # of the box's sides: what the ground around looks like
CLICK_SIDE = 0.25  # of the image's shorter side: the window around clicks without a box
CLICK_RADIUS_PX = 3
ITERATIONS = 4


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the image, scaled down.

    Attributes:
        x, y: Its corner in the image, px.
        width_px, height_px: Its size in the image.
        scale: Pixels of the window per pixel of the image.
        pixels: `(h, w, 3)`.
        box: The box in the window, `xyxy` whole pixels.
    """

    x: int
    y: int
    width_px: int
    height_px: int
    scale: float
    pixels: UInt8Image
    box: tuple[int, int, int, int]

    def place(self, mask: npt.NDArray[np.uint8], shape: tuple[int, int]) -> Mask:
        """Return a mask of the window as one of the image."""
        size = (self.width_px, self.height_px)
        full = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR) > 127
        made = np.zeros(shape, bool)
        made[self.y : self.y + self.height_px, self.x : self.x + self.width_px] = full
        return made


def window(image: UInt8Image, prompt: Prompt) -> Window:
    """Return the window of a prompt: its box, or what is around its clicks, with a margin."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = prompt.box or _around_clicks(prompt, width, height)
    pad_x, pad_y = MARGIN * (x1 - x0) + 4, MARGIN * (y1 - y0) + 4
    left, top = int(max(x0 - pad_x, 0)), int(max(y0 - pad_y, 0))
    right, bottom = int(min(x1 + pad_x + 1, width)), int(min(y1 + pad_y + 1, height))
    part = np.ascontiguousarray(image[top:bottom, left:right])
    scale = min(1.0, WINDOW_SIDE_MAX_PX / max(part.shape[:2]))
    if scale < 1:
        part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    box = (
        max(int((x0 - left) * scale), 0),
        max(int((y0 - top) * scale), 0),
        min(int(np.ceil((x1 - left) * scale)), part.shape[1]),
        min(int(np.ceil((y1 - top) * scale)), part.shape[0]),
    )
    return Window(left, top, right - left, bottom - top, scale, part, box)


def _around_clicks(
    prompt: Prompt, width_px: int, height_px: int
) -> tuple[float, float, float, float]:
    on_it = [click for click in prompt.clicks if click.positive]
    reach = max(8.0, CLICK_SIDE * min(width_px, height_px))
    return (
        max(min(click.x for click in on_it) - reach, 0.0),
        max(min(click.y for click in on_it) - reach, 0.0),
        min(max(click.x for click in on_it) + reach, float(width_px)),
        min(max(click.y for click in on_it) + reach, float(height_px)),
    )


class GrabCut:
    """Colours inside a box against those around it."""

    name = "grabcut"
    kind = "built_in"
    prompts = (BOX, POINTS)
    about = "Cuts out what differs in colour from what is around the box; clicks mend it."

    def cut(self, digest: str, image: UInt8Image, prompt: Prompt) -> Cut:
        """See `Tool`."""
        del digest
        part = window(image, prompt)
        marks = np.full(part.pixels.shape[:2], cv2.GC_BGD, np.uint8)
        x0, y0, x1, y1 = part.box
        marks[y0:y1, x0:x1] = cv2.GC_PR_FGD
        if prompt.box is None:
            marks[marks == cv2.GC_PR_FGD] = cv2.GC_PR_BGD
            _mark(marks, part, prompt, near=cv2.GC_PR_FGD)
        _mark(marks, part, prompt)
        if not np.isin(marks, (cv2.GC_BGD, cv2.GC_PR_BGD)).any():
            marks[0, :] = marks[-1, :] = marks[:, 0] = marks[:, -1] = cv2.GC_BGD
        ground, thing = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.setRNGSeed(1)  # the same prompt gives the same mask
        bgr = np.ascontiguousarray(part.pixels[..., ::-1])
        cv2.grabCut(bgr, marks, None, ground, thing, ITERATIONS, cv2.GC_INIT_WITH_MASK)
        found = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
        return Cut(part.place(_kept(found, part, prompt), image.shape[:2]))


def _mark(
    marks: npt.NDArray[np.uint8], part: Window, prompt: Prompt, near: int | None = None
) -> None:
    """Mark clicks as sure; with `near`, a wide disc around positive ones as likely."""
    for click in prompt.clicks:
        at = (int((click.x - part.x) * part.scale), int((click.y - part.y) * part.scale))
        if near is not None:
            if click.positive:
                cv2.circle(marks, at, max(6, min(marks.shape) // 6), near, -1)
        else:
            sure = cv2.GC_FGD if click.positive else cv2.GC_BGD
            cv2.circle(marks, at, CLICK_RADIUS_PX, sure, -1)


class Otsu:
    """Light against dark inside a box."""

    name = "otsu"
    kind = "built_in"
    prompts = (BOX,)
    about = "Cuts out what is lighter or darker than the rim of the box: cells, scans, print."

    def cut(self, digest: str, image: UInt8Image, prompt: Prompt) -> Cut:
        """See `Tool`."""
        del digest
        if prompt.box is None:
            raise Rejected("otsu needs a box")
        part = window(image, prompt)
        x0, y0, x1, y1 = part.box
        grey = cv2.GaussianBlur(cv2.cvtColor(part.pixels, cv2.COLOR_RGB2GRAY), (3, 3), 0)
        inside = np.ascontiguousarray(grey[y0:y1, x0:x1])
        _, light = cv2.threshold(inside, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        rim = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
        if (rim > 0).mean() > 0.5:  # the ground is the lighter part
            light = 255 - light
        found = np.zeros(grey.shape, np.uint8)
        found[y0:y1, x0:x1] = light
        return Cut(part.place(_kept(found, part, prompt), image.shape[:2]))


def _kept(found: npt.NDArray[np.uint8], part: Window, prompt: Prompt) -> npt.NDArray[np.uint8]:
    """Return the parts that were clicked on, or the largest one; holes are filled."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found)
    if count < 2:
        return found
    clicked = {
        int(labels[_row(labels, (c.y - part.y) * part.scale, 0)]
            [_row(labels, (c.x - part.x) * part.scale, 1)])
        for c in prompt.clicks if c.positive
    } - {0}  # fmt: skip
    wanted = clicked or {1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())}
    kept = np.isin(labels, list(wanted)).astype(np.uint8)
    if any(not click.positive for click in prompt.clicks):
        return kept * np.uint8(255)  # a hole may be what somebody clicked away
    rings, _ = cv2.findContours(kept, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(found.shape, np.uint8)
    cv2.drawContours(filled, rings, -1, 255, -1)
    return filled


def _row(labels: npt.NDArray[np.int32], at: float, axis: int) -> int:
    size: int = labels.shape[axis]
    return min(max(int(at), 0), size - 1)
