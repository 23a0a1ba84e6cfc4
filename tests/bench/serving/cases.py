"""What is asked: the requests, and how an answer is told from a wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from loopline.contracts.oip.v2 import service_pb2
from services.inference.adapters.engine.preprocessing import prepare
from services.inference.domain.model import ModelVersion
from services.inference.domain.tensors import join_raw_bytes
from tests.bench.serving import networks

Array = npt.NDArray[np.generic]
PIXELS_MAX = 50_000_000
TOLERANCE = 1e-3
LABELS = tuple(map(str, range(networks.CLASSES)))
MODEL = ModelVersion(
    networks.IMAGE, 1, "0" * 64, LABELS, networks.SIDE_PX, networks.SIDE_PX, 3, "area", "0" * 64, 1
)


@dataclass(frozen=True)
class Case:
    """One kind of request.

    Args:
        name: What it is called.
        network: The network that is asked.
        input: Name of its input.
        output: Name of the output that is asked for and checked.
        datatype: Of the request's input.
        shape: Of the request's input.
        raw: The request's input.
        onnx: The network's file.
    """

    name: str
    network: str
    input: str
    output: str
    datatype: str
    shape: Sequence[int]
    raw: bytes
    onnx: Path

    def request(self) -> service_pb2.ModelInferRequest:
        """Return the request, without the tensor's bytes."""
        request = service_pb2.ModelInferRequest(model_name=self.network)
        request.inputs.add(name=self.input, datatype=self.datatype, shape=self.shape)
        request.outputs.add(name=self.output)
        return request

    def message(self) -> bytes:
        """Return the request's bytes."""
        request = self.request()
        request.raw_input_contents.append(self.raw)
        return request.SerializeToString()

    def batch(self, count: int) -> Array:
        """Return what the network is fed for `count` requests; decodes each where it is encoded."""
        if self.datatype == "BYTES":
            file = self.raw[4:]
            return np.stack([prepare(file, MODEL, PIXELS_MAX)[0] for _ in range(count)])
        kind = np.float32 if self.datatype == "FP32" else np.uint8
        one = np.frombuffer(self.raw, kind).reshape(self.shape)
        return np.concatenate([one] * count)

    @cached_property
    def expected(self) -> Array:
        """What the network says."""
        session = ort.InferenceSession(self.onnx, providers=["CPUExecutionProvider"])
        (values,) = session.run([self.output], {self.input: self.batch(1)})
        return np.asarray(values[0], np.float32)

    def check(self, values: bytes) -> None:
        """Raise AssertionError where an answer is not what the network says."""
        found = np.frombuffer(values, np.float32)
        if not np.allclose(found, self.expected, rtol=TOLERANCE, atol=TOLERANCE):
            raise AssertionError(f"{self.name}: a wrong answer of {found.size} values")


def all_cases() -> list[Case]:
    """Return the requests that every server gets."""
    files = networks.paths()
    random = np.random.default_rng(0)
    numbers = random.normal(size=(1, networks.TINY_INPUTS)).astype("<f4")
    tensor = random.normal(size=(1, 3, networks.SIDE_PX, networks.SIDE_PX)).astype("<f4")
    jpeg = photograph()
    return [
        Case("tiny network", networks.TINY, "x", "y", "FP32", numbers.shape, numbers.tobytes(),
             files[networks.TINY]),
        Case("600 KB float tensor", networks.FLOAT, "x", "y", "FP32", tensor.shape,
             tensor.tobytes(), files[networks.FLOAT]),
        Case("JPEG 640 x 480", networks.IMAGE, "image", "probabilities", "BYTES", [1, 1],
             join_raw_bytes([jpeg]), files[networks.IMAGE]),
    ]  # fmt: skip


def photograph(seed: int = 0) -> bytes:
    """Return a 640 x 480 JPEG of about 60 KB."""
    coarse = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image = np.asarray(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC), np.uint8)
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])
