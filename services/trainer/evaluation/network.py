"""A model version's network under onnxruntime, and images as it takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from loopline.errors import Rejected
from loopline.vision.geometry import Placement
from loopline.vision.images import UInt8Image, decode
from loopline.vision.outputs import OUTPUTS
from services.trainer.domain.job import Placed
from services.trainer.domain.manifest import InputFormat

INPUT: Final = "image"
BATCH: Final = 8  # what a CPU core likes best

Arrays = dict[str, npt.NDArray[Any]]


class Network:
    """A network on the CPU.

    Args:
        onnx_model: The file's bytes.
        task: Which outputs it must have.
        threads: How many it may use.

    Raises:
        Rejected: It cannot be loaded, or does not take or give what a model of the task does.
    """

    def __init__(self, onnx_model: bytes, task: str, threads: int = 1) -> None:
        if task not in OUTPUTS:
            raise Rejected(f"task {task!r} is not known; there are {', '.join(OUTPUTS)}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # what matters is raised
        try:
            self._session = onnxruntime.InferenceSession(
                onnx_model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no base
            raise Rejected(f"the network cannot be loaded: {error}") from error
        self._outputs = list(OUTPUTS[task])
        given = {output.name for output in self._session.get_outputs()}
        taken = [one.name for one in self._session.get_inputs()]
        if taken != [INPUT] or not given.issuperset(self._outputs):
            raise Rejected(
                f"a network of {task} takes {INPUT!r} and gives {', '.join(self._outputs)}; "
                f"this one takes {', '.join(taken)} and gives {', '.join(sorted(given))}"
            )
        self.threads = threads

    def run(self, images: npt.NDArray[np.uint8]) -> Arrays:
        """Return the outputs by name for `(N, H, W, C)` uint8.

        Raises:
            Rejected: The network fails on them.
        """
        try:
            found = self._session.run(self._outputs, {INPUT: images})
        except Exception as error:  # as above
            raise Rejected(f"the network fails: {error}") from error
        return dict(zip(self._outputs, found, strict=True))


@dataclass(frozen=True, slots=True)
class Read:
    """An image on its way into a network.

    Attributes:
        placed: Which.
        pixels: `(H, W, C)` of the network's input.
        placement: Where the image lies in it.
        original: As it was decoded.
    """

    placed: Placed
    pixels: UInt8Image
    placement: Placement
    original: UInt8Image


def read(placed: Placed, wanted: InputFormat) -> Read:
    """Decode an image and bring it to a network's input; Rejected names it if it is no image."""
    asset = placed.example.asset
    try:
        image = decode(placed.path.read_bytes(), wanted.channels)
    except Rejected as error:
        raise Rejected(f"image {asset[:12]}: {error.message}", asset=asset) from error
    height, width = image.shape[:2]
    placement = Placement(height, width, wanted.height_px, wanted.width_px, wanted.fit)
    pixels = placement.image_to_input(image, wanted.interpolation)
    return Read(placed, pixels, placement, image)


def batches(
    examples: Sequence[Placed], wanted: InputFormat, size: int = BATCH
) -> Iterator[tuple[list[Read], npt.NDArray[np.uint8]]]:
    """Yield images as a network takes them, `size` at a time."""
    for start in range(0, len(examples), size):
        some = [read(placed, wanted) for placed in examples[start : start + size]]
        yield some, np.stack([one.pixels for one in some])
