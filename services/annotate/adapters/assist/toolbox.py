"""The tools there are, and the images they work on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from pathlib import Path

from loopline.errors import NotFound
from loopline.store.objects import Area, ObjectStore
from loopline.vision import masks
from loopline.vision.images import UInt8Image, decode
from services.annotate.adapters.answers import MaskOut, ToolOut
from services.annotate.adapters.assist.built_in import GrabCut, Otsu
from services.annotate.adapters.assist.prompt import Cut, Prompt, Tool
from services.annotate.adapters.assist.sam import SamPair

IMAGES_KEPT = 8  # decoded: people click on one image several times
AT_ONCE = 2
OUTLINE_TOLERANCE_PX = 1.0


class Toolbox:
    """Cuts things out of assets.

    Args:
        objects: Where the images are.
        folder: With a folder for each pair that users brought; None if there are none.
    """

    def __init__(self, objects: ObjectStore, folder: Path | None) -> None:
        self._objects = objects
        self._folder = folder
        self._built_in: dict[str, Tool] = {tool.name: tool for tool in (GrabCut(), Otsu())}
        self._loaded: dict[str, Tool] = {}
        self._images: OrderedDict[str, UInt8Image] = OrderedDict()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._lock = threading.Lock()

    def tools(self) -> list[ToolOut]:
        """Return the tools there are."""
        built_in = [
            ToolOut(name=tool.name, kind=tool.kind, prompts=list(tool.prompts), about=tool.about)
            for tool in self._built_in.values()
        ]
        brought = [
            ToolOut(
                name=name,
                kind=SamPair.kind,
                prompts=list(SamPair.prompts),
                about=f"The encoder and decoder of {name}.",
            )
            for name in self._pairs()
        ]
        return built_in + brought

    async def cut(self, asset: str, tool: str, prompt: Prompt) -> MaskOut:
        """Return what a prompt points at in an image.

        Raises:
            NotFound: There is no such tool or image.
            Rejected: The prompt is not one for this tool or image.
        """
        if tool not in self._built_in and tool not in self._pairs():
            names = ", ".join(one.name for one in self.tools())
            raise NotFound(f"there is no tool {tool!r}; there are {names}", tool=tool)
        started = time.perf_counter()
        data = None
        if asset not in self._images:
            data = await self._objects.get(Area.ASSETS, asset)
        async with self._turns:
            found = await asyncio.to_thread(self._cut, asset, data, tool, prompt)
        return _answer(tool, found, (time.perf_counter() - started) * 1000)

    def _pairs(self) -> list[str]:
        if self._folder is None or not self._folder.is_dir():
            return []
        return sorted(path.parent.name for path in self._folder.glob("*/decoder.onnx"))

    def _cut(self, asset: str, data: bytes | None, tool: str, prompt: Prompt) -> Cut:
        image = self._image(asset, data)
        height, width = image.shape[:2]
        return self._tool(tool).cut(asset, image, prompt.within(width, height))

    def _tool(self, name: str) -> Tool:
        if name in self._built_in:
            return self._built_in[name]
        with self._lock:
            if name not in self._loaded:
                assert self._folder is not None  # it is among the pairs
                self._loaded[name] = SamPair(self._folder / name)
            return self._loaded[name]

    def _image(self, asset: str, data: bytes | None) -> UInt8Image:
        with self._lock:
            if asset not in self._images:
                assert data is not None  # it was fetched because it was not here
                self._images[asset] = decode(data, 3)
            self._images.move_to_end(asset)
            while len(self._images) > IMAGES_KEPT:
                self._images.popitem(last=False)
            return self._images[asset]


def _answer(tool: str, cut: Cut, elapsed_ms: float) -> MaskOut:
    if not cut.mask.any():
        return MaskOut(
            tool=tool, mask_rle=None, bbox_xyxy=None, polygon=None, score=None,
            elapsed_ms=round(elapsed_ms, 1),
        )  # fmt: skip
    height, width = cut.mask.shape
    rle = masks.encode(cut.mask)
    rings = masks.to_polygons(cut.mask, OUTLINE_TOLERANCE_PX)
    return MaskOut(
        tool=tool,
        mask_rle=rle,
        bbox_xyxy=masks.box_of(rle, width, height),
        polygon=list(rings[0]),
        score=cut.score,
        elapsed_ms=round(elapsed_ms, 1),
    )
