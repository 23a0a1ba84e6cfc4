"""One request on its way through a pipeline, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from loopline.contracts import ArtefactKind, ArtefactRef
from loopline.contracts.inference.v1 import predict_pb2
from loopline.errors import LooplineError, Rejected
from loopline.store.items import Shape
from loopline.vision.geometry import Placement
from loopline.vision.images import decode
from services.inference.adapters.engine.batching import Inferred
from services.inference.adapters.models.servable import Served
from services.inference.adapters.protocol.messages import shape_message
from services.inference.adapters.scheduling import Job, Scheduler, await_job
from services.inference.domain.admission import Exhausted
from services.inference.domain.answers import boxes_in_images
from services.inference.domain.crops import (
    LABEL_NAMES,
    Found,
    as_tensors,
    surest,
    window,
)
from services.inference.domain.model import (
    BOXES,
    CLASS,
    CLASSIFICATION,
    CONFIDENCE,
    DETECTION,
    INPUT,
    LABELS,
    PROBABILITIES,
    SCORES,
    ModelVersion,
)
from services.inference.domain.serving import Step
from services.inference.domain.tensors import EncodedImages, FloatBatch, Payload, Tensors

if TYPE_CHECKING:
    from services.inference.adapters.pipelines import Pipeline

CROPS_AT_ONCE: Final = 32
"""Cuts that one request gives the classifier together: more would only be memory."""
_Boxes = tuple[bytes, FloatBatch]  # a file and boxes of it
DETECTOR, CLASSIFIER = "detector", "classifier"


class Run:
    """One request on its way through a pipeline, in a thread of its own.

    An image is decoded again for its cuts: to keep decoded images until the detector is done would
    be a thousand times the memory of the files.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        pipeline: Pipeline,
        job: Job,
        files: Sequence[bytes],
        key: str,
        now_ms: Callable[[], int],
        *,
        recorded: bool = True,
    ) -> None:
        self._recorded = recorded
        self._now_ms = now_ms
        self._scheduler = scheduler
        self._pipeline = pipeline
        self._terms = pipeline.terms
        self._job = job
        self._files = files
        self._key = key
        self._infer_ns = 0
        self._queue_ns = 0

    def finish(self) -> None:
        """Answer the request, or say why not."""
        future = self._job.future
        try:
            inferred = self._inferred()
        except Exception as error:  # whatever it is, who waits is told
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
            return
        if future.set_running_or_notify_cancel():
            future.set_result(inferred)

    def _inferred(self) -> Inferred:
        job, terms = self._job, self._terms
        detection, detector = self._ask(
            terms.detector,
            terms.detector.alias,
            partial(_images, tuple(self._files)),
            tolerant=True,
        )
        if detection.errors and not job.tolerant:
            index, error = next(iter(detection.errors.items()))
            kind = Exhausted if isinstance(error, Exhausted) else Rejected
            raise kind(f"image {index}: {error.message}")
        job.errors = detection.errors
        good = [file for index, file in enumerate(self._files) if index not in job.errors]
        found = self._found(detection, detector) if good else []
        probabilities, classifier = self._classified(good, found)
        models = [detection.servable.model, *([classifier] if classifier else [])]
        facts = _facts(models)
        job.servable = _Answering(self._pipeline, [model.digest for model in models])
        classes = classifier.classes if classifier else ()
        outputs = as_tensors(found, probabilities, classes, models[0].classes)
        return Inferred(outputs, len(good), self._queue_ns, self._infer_ns, facts)

    def _found(self, detection: Job, detector: Inferred) -> list[Found]:
        outputs, terms = detector.outputs, self._terms
        boxes = boxes_in_images(outputs[BOXES], detection.placements or ())
        return [
            surest(*rows, terms.score_min, terms.crops_max)
            for rows in zip(boxes, outputs[SCORES], outputs[LABELS], strict=True)
        ]

    def _classified(
        self, files: Sequence[bytes], found: Sequence[Found]
    ) -> tuple[FloatBatch, ModelVersion | None]:
        """Return the probabilities of all cuts, in order, and who says so; None without a cut."""
        alias, model = self._terms.classifier.alias, None
        rows: list[FloatBatch] = []
        for some in _in_groups(files, found):
            cuts = partial(_cuts, some, self._terms.margin)
            step, inferred = self._ask(self._terms.classifier, alias, cuts)
            rows.append(inferred.outputs[PROBABILITIES])
            model = step.servable.model
            alias = str(model.version)  # one version answers all of a request
        return (np.concatenate(rows) if rows else np.zeros((0, 1), np.float32)), model

    def _ask(
        self,
        step: Step,
        version: str,
        payload: Callable[[Served], Payload],
        *,
        tolerant: bool = False,
    ) -> tuple[Job, Inferred]:
        asked = self._scheduler.start(
            step.model, version, payload, tolerant=tolerant, priority=self._job.priority,
            key=self._key, recorded=self._recorded,
        )  # fmt: skip
        # Who gives up on the pipeline gives up on the step that runs.
        self._job.future.add_done_callback(partial(_follow, asked))
        longest_s = asked.longest_s(self._scheduler.limits.request_timeout_s)
        inferred = await_job(asked, longest_s)
        asked.answered(inferred, 0, self._now_ms())
        self._infer_ns += inferred.infer_ns
        self._queue_ns += inferred.queue_ns
        return asked, inferred


class _Answering:
    """A pipeline as the versions that answered one request make it."""

    def __init__(self, pipeline: Pipeline, digests: Sequence[str]) -> None:
        self.model = pipeline.answered_by(digests)
        self.signature = pipeline.signature
        self.outputs = pipeline.outputs
        self.statistics = pipeline.statistics
        self.timeout_s = pipeline.timeout_s


def pipeline_response(
    response: predict_pb2.PredictResponse,
    assets: Sequence[str],
    inferred: Inferred,
    errors: Mapping[int, LooplineError],
) -> predict_pb2.PredictResponse:
    """Fill in what a pipeline says of each image: the detector's boxes, and what is in each."""
    outputs, facts = inferred.outputs, inferred.facts
    for step in (DETECTOR, CLASSIFIER):
        if step in facts:
            name, _, version = facts[step].rpartition("@v")
            kind = ArtefactKind.ARTEFACT_KIND_MODEL
            digest = facts[f"{step}_digest"]
            response.steps.append(
                ArtefactRef(kind=kind, name=name, version=int(version), digest=digest)
            )
    row = 0
    for index, asset in enumerate(assets):
        if index in errors:
            response.predictions.add(asset=asset, error=errors[index].message)
            continue
        image = response.predictions.add(asset=asset)
        source = f"model:{facts[f'{DETECTOR}_digest']}"
        for at in range(int((outputs[LABELS][row] >= 0).sum())):
            x_min, y_min, x_max, y_max = map(float, outputs[BOXES][row, at])
            shape = Shape(
                str(at),
                outputs[LABEL_NAMES][row, at].decode(),
                bbox_xyxy=(x_min, y_min, x_max, y_max),
                confidence=float(outputs[SCORES][row, at]),
                source=source,
            )
            image.shapes.append(shape_message(shape))
            image.crops.add(
                class_name=outputs[CLASS][row, at].decode(),
                score=float(outputs[CONFIDENCE][row, at]),
            )
        row += 1
    return response


def _facts(models: Sequence[ModelVersion]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for step, model in zip((DETECTOR, CLASSIFIER), models, strict=False):
        facts |= {step: str(model.key), f"{step}_digest": model.digest}
    return facts


def _images(files: tuple[bytes, ...], servable: Served) -> Payload:
    _check_task(servable, DETECTION)
    return EncodedImages(files)


def _in_groups(files: Sequence[bytes], found: Sequence[Found]) -> Iterator[list[_Boxes]]:
    """Yield images with boxes of theirs: `CROPS_AT_ONCE` together, over images."""
    group: list[_Boxes] = []
    room = CROPS_AT_ONCE
    for file, one in zip(files, found, strict=True):
        start = 0
        while start < len(one.boxes):
            boxes = one.boxes[start : start + room]
            group.append((file, boxes))
            start, room = start + len(boxes), room - len(boxes)
            if room == 0:
                yield group
                group, room = [], CROPS_AT_ONCE
    if group:
        yield group


def _cuts(some: Sequence[_Boxes], margin: float, servable: Served) -> Payload:
    """Return boxes of images as the classifier takes them."""
    _check_task(servable, CLASSIFICATION)
    model = servable.model
    cuts = []
    for file, boxes in some:
        pixels = decode(file, model.channels)
        for box in boxes:
            top, bottom, left, right = window(box, margin, pixels.shape[0], pixels.shape[1])
            cut = np.ascontiguousarray(pixels[top:bottom, left:right])
            placement = Placement(
                bottom - top, right - left, model.height_px, model.width_px, model.fit
            )
            cuts.append(placement.image_to_input(cut, model.interpolation))
    return Tensors({INPUT: np.stack(cuts)}, len(cuts))


def _check_task(servable: Served, task: str) -> None:
    model = servable.model
    if model.task != task:
        raise Rejected(f"{model.key} is a model for {model.task}: the pipeline needs {task} here")


def _follow(step: Job, whole: Future[Inferred]) -> None:
    if whole.cancelled():
        step.cancel()
