"""What several versions of a network take together: usage: python arena_memory.py shared|apart.

Loads and runs them one after the other, and prints by how many bytes the process grew after the
first. "apart" gives each its own arena, as onnxruntime does by itself.
"""

from __future__ import annotations

import sys

import numpy as np
import psutil

from loopline.testing.onnx_models import convolutional_classifier
from services.inference.adapters.engine import session
from services.inference.domain.model import ModelVersion

VERSIONS = 6
SIDE_PX, BATCH = 224, 8
CLASSES = tuple(map(str, range(10)))


def main(arenas: str) -> int:
    """Return the growth in bytes."""
    if arenas == "apart":
        session._share_arena = lambda: False  # type: ignore[assignment]
    onnx = convolutional_classifier(SIDE_PX, len(CLASSES))
    model = ModelVersion("m", 1, "d" * 64, CLASSES, SIDE_PX, SIDE_PX, 3, "area", "e" * 64, 1000)
    options = session.EngineOptions(max_batch=BATCH)
    batch = np.zeros((BATCH, SIDE_PX, SIDE_PX, 3), np.uint8)
    engines, resident_bytes = [], []
    for _ in range(VERSIONS):
        engines.append(session.OnnxEngine(onnx, model, options))
        engines[-1].run({"image": batch})
        resident_bytes.append(psutil.Process().memory_info().rss)
    return resident_bytes[-1] - resident_bytes[0]


if __name__ == "__main__":
    print(main(sys.argv[1]))
