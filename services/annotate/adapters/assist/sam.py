"""A SAM-style pair of ONNX graphs that a user brings: an encoder of images, a decoder of prompts.

The interface is that of Segment Anything's own ONNX export. A folder `<assist_dir>/<name>/` holds

- `encoder.onnx`: one input, the image with its longer side scaled to S px: either `(h, w, 3)`
  float32 RGB 0..255 (normalisation and padding in the graph), or `(1, 3, S, S)` float32,
  normalised with ImageNet's mean and deviation and padded below and at the right. One output, the
  embedding;
- `decoder.onnx`: inputs `image_embeddings`, `point_coords` (1, N, 2) in px of the scaled image,
  `point_labels` (1, N) with 1 on the thing, 0 beside it, 2 and 3 the corners of a box, -1 for
  padding; `mask_input`, `has_mask_input` and `orig_im_size` (H, W) where the graph has them.
  Outputs `masks` (1, K, H, W) of logits and `iou_predictions` (1, K).

The embedding of an image is kept: a click costs one run of the decoder.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from loopline.errors import Rejected
from loopline.vision.images import UInt8Image
from services.annotate.adapters.assist.prompt import BOX, POINTS, Cut, Prompt

SIDE_PX = 1024  # of the encoder's input, where the graph leaves it open
EMBEDDINGS_KEPT = 32  # 4 MB each for SAM's 256 x 64 x 64
LOW_RESOLUTION = 256  # side of `mask_input`
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)

Floats = npt.NDArray[np.float32]


class SamPair:
    """One pair, loaded.

    Args:
        folder: With `encoder.onnx` and `decoder.onnx`; its name is the tool's.
        threads: Of each run.

    Raises:
        Rejected: A file is missing, or is no such graph.
    """

    kind = "model"
    prompts = (BOX, POINTS)

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.name = folder.name
        self.about = f"The encoder and decoder of {folder.name}."
        self._encoder = _session(folder / "encoder.onnx", threads)
        self._decoder = _session(folder / "decoder.onnx", threads)
        self._wanted = {entry.name: entry for entry in self._decoder.get_inputs()}
        missing = {"image_embeddings", "point_coords", "point_labels"} - set(self._wanted)
        if missing:
            raise Rejected(f"{folder.name}/decoder.onnx has no input {min(missing)}")
        [self._input] = self._encoder.get_inputs()
        self._embeddings: OrderedDict[str, Floats] = OrderedDict()
        self._lock = threading.Lock()

    def cut(self, digest: str, image: UInt8Image, prompt: Prompt) -> Cut:
        """See `Tool`."""
        height, width = image.shape[:2]
        scale = self._side / max(height, width)
        coordinates, labels = _points(prompt, scale)
        given: dict[str, Any] = {
            "image_embeddings": self._embedding(digest, image, scale),
            "point_coords": coordinates,
            "point_labels": labels,
            "mask_input": np.zeros((1, 1, LOW_RESOLUTION, LOW_RESOLUTION), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array([height, width], np.float32),
        }
        fed = {name: value for name, value in given.items() if name in self._wanted}
        outputs = self._decoder.run(None, fed)
        names = [entry.name for entry in self._decoder.get_outputs()]
        return _best(dict(zip(names, outputs, strict=True)), height, width)

    @property
    def _side(self) -> int:
        last = self._input.shape[-1 if len(self._input.shape) == 4 else 0]
        return last if isinstance(last, int) else SIDE_PX

    def _embedding(self, digest: str, image: UInt8Image, scale: float) -> Floats:
        with self._lock:
            if digest in self._embeddings:
                self._embeddings.move_to_end(digest)
                return self._embeddings[digest]
        height, width = image.shape[:2]
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        scaled = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR).astype(np.float32)
        if len(self._input.shape) == 4:
            padded = np.zeros((self._side, self._side, 3), np.float32)
            padded[: size[1], : size[0]] = (scaled - MEAN) / DEVIATION
            scaled = np.ascontiguousarray(padded.transpose(2, 0, 1)[None])
        [embedding, *_] = self._encoder.run(None, {self._input.name: scaled})
        with self._lock:
            self._embeddings[digest] = embedding
            while len(self._embeddings) > EMBEDDINGS_KEPT:
                self._embeddings.popitem(last=False)
        return np.asarray(embedding)


def _session(path: Path, threads: int) -> Any:  # onnxruntime has no types
    import onnxruntime

    if not path.is_file():
        raise Rejected(f"there is no {path.parent.name}/{path.name}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=onnxruntime.get_available_providers()
        )
    except Exception as error:  # onnxruntime's own errors have no common base of use
        raise Rejected(f"{path.parent.name}/{path.name} cannot be loaded: {error}") from error


def _points(prompt: Prompt, scale: float) -> tuple[Floats, Floats]:
    """Return the coordinates `(1, N, 2)` and labels `(1, N)` of a prompt."""
    points = [(click.x, click.y, 1.0 if click.positive else 0.0) for click in prompt.clicks]
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        points += [(x0, y0, 2.0), (x1, y1, 3.0)]
    else:
        points.append((0.0, 0.0, -1.0))  # SAM's padding where there is no box
    table = np.array(points, np.float32)
    return (table[None, :, :2] * np.float32(scale)), table[None, :, 2]


def _best(outputs: dict[str, npt.NDArray[Any]], height: int, width: int) -> Cut:
    masks = outputs.get("masks", next(iter(outputs.values())))[0]
    scores = outputs.get("iou_predictions")
    best = int(scores[0].argmax()) if scores is not None else 0
    logits = masks[best].astype(np.float32)
    if logits.shape != (height, width):  # of the padded square: cut to the image's part of it
        rows = max(round(logits.shape[0] * height / max(height, width)), 1)
        columns = max(round(logits.shape[1] * width / max(height, width)), 1)
        logits = np.ascontiguousarray(logits[:rows, :columns])
        logits = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR)
    score = None if scores is None else float(np.clip(scores[0][best], 0, 1))
    return Cut(logits > 0, score)
