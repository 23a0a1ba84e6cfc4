"""What a person points at, and what a tool answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from loopline.errors import Rejected
from loopline.vision.images import UInt8Image
from loopline.vision.masks import Box

Mask = npt.NDArray[np.bool_]
BOX, POINTS = "box", "points"


@dataclass(frozen=True, slots=True)
class Click:
    """A point on the thing, or beside it, px."""

    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Prompt:
    """Where the thing is.

    Attributes:
        box: Around it, `xyxy` px; None if only clicked.
        clicks: On it and beside it.
    """

    box: Box | None = None
    clicks: tuple[Click, ...] = ()

    def within(self, width_px: int, height_px: int) -> Prompt:
        """Return it with its box cut to the image.

        Raises:
            Rejected: It is empty, its box has no area in the image, or a click is outside.
        """
        if self.box is None and not any(click.positive for click in self.clicks):
            raise Rejected("point at something: a box, or a click on it")
        for click in self.clicks:
            if not (0 <= click.x < width_px and 0 <= click.y < height_px):
                raise Rejected(f"the click at ({click.x:g}, {click.y:g}) is outside the image")
        if self.box is None:
            return self
        x0, y0, x1, y1 = self.box
        cut = max(x0, 0.0), max(y0, 0.0), min(x1, float(width_px)), min(y1, float(height_px))
        if not (cut[2] - cut[0] >= 1 and cut[3] - cut[1] >= 1):
            raise Rejected(f"the box {list(self.box)} has no area in the image")
        return Prompt(cut, self.clicks)


@dataclass(frozen=True, slots=True)
class Cut:
    """What was cut out.

    Attributes:
        mask: `(H, W)` of the image.
        score: How sure the tool is, in [0, 1]; None if it does not say.
    """

    mask: Mask
    score: float | None = None


class Tool(Protocol):
    """Cuts out of images what prompts point at."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def kind(self) -> str:
        """Return "built_in" or "model"."""

    @property
    def prompts(self) -> Sequence[str]:
        """What it understands."""

    @property
    def about(self) -> str:
        """One sentence."""

    def cut(self, digest: str, image: UInt8Image, prompt: Prompt) -> Cut:
        """Return what the prompt points at; blocks.

        Args:
            digest: Names the image, for what is kept of it.
            image: `(H, W, 3)` RGB.
            prompt: Within the image.
        """
