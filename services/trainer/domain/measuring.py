"""What the service tells the process that measures and quantizes, and what that says back.

One command as JSON on its standard input, then reports as JSON lines. Both ends import this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from services.trainer.domain.job import Failed, Message
from services.trainer.domain.manifest import InputFormat

REPORT_FILE = "evaluation.json"
OUTCOMES_FILE = "outcomes.npz"
PAGE_FILE = "evaluation.html"
ONNX_FILE = "model.onnx"


class Subject(Message):
    """The model version that is measured.

    Attributes:
        name: For people: "catalogue@v3".
        task: "classification", "detection" or "segmentation".
        classes: In the order of its outputs.
        input_format: What goes before the network.
        onnx_file: Where its network is.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    input_format: InputFormat
    onnx_file: Path


class Measure(Message):
    """Measure a model on images.

    Attributes:
        dataset: For people: "catalogue@v2".
        split: Which the examples are.
        examples_file: JSON lines of `job.Placed`.
        folder: Where the report, its page and the outcomes are written.
        threads: Of the network.
    """

    do: Literal["measure"] = "measure"
    subject: Subject
    dataset: str
    split: str
    examples_file: Path
    folder: Path
    threads: int = 1


class Quantize(Message):
    """Write a network again in 8 bit integers.

    Attributes:
        examples_file: JSON lines of `job.Placed`, whose activations give the ranges.
        onnx_file: Where the new network is written.
    """

    do: Literal["quantize"] = "quantize"
    subject: Subject
    examples_file: Path
    onnx_file: Path


AnyTask = Measure | Quantize
TASK = TypeAdapter[AnyTask](Annotated[AnyTask, Field(discriminator="do")])


class Counted(Message):
    """How far it is.

    Attributes:
        done: Images.
        total: Images.
        images_per_s: So far.
    """

    event: Literal["counted"] = "counted"
    done: int
    total: int
    images_per_s: float


class Done(Message):
    """All is written.

    Attributes:
        metrics: Every figure by name.
        count: Images that were measured.
        figures: Of the run: images per second, seconds, bytes.
    """

    event: Literal["done"] = "done"
    metrics: dict[str, float] = Field(default_factory=dict)
    count: int = 0
    figures: dict[str, float] = Field(default_factory=dict)


AnyWord = Counted | Done | Failed
WORD = TypeAdapter[AnyWord](Annotated[AnyWord, Field(discriminator="event")])
