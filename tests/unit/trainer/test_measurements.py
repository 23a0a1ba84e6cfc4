"""From a command to a committed evaluation, over in-memory twins and a real measuring process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from loopline.contracts import (
    Actor,
    ArtefactKind,
    ArtefactRef,
    CancelRun,
    DatasetCommitted,
    EvaluateModel,
    EvaluationCommitted,
    ModelCommitted,
    QuantizeModel,
    RunChanged,
    RunKind,
    RunState,
    catalog,
)
from loopline.digests import sha256_hex
from loopline.errors import Cancelled, Corrupt, NotFound, Rejected
from loopline.evaluation import outcomes
from loopline.evaluation.report import Report
from loopline.store import runs
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import Committed
from loopline.store.datasets import Datasets
from loopline.store.items import Item, Shape
from loopline.store.objects import Area
from loopline.testing.memory import ManualClock, MemoryBus, delivery, memory_service
from loopline.testing.onnx_models import (
    COLOURS,
    colour_classifier,
    colour_detector,
    colour_segmenter,
    commit_model,
    convolutional_classifier,
    solid,
)
from loopline.vision import masks
from services.trainer.service import Trainer
from services.trainer.settings import TrainerSettings

ACTOR = Actor(kind="user", name="ada")


def png(image: np.ndarray) -> bytes:
    ok, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert ok
    return data.tobytes()


def item(data: bytes, *shapes: Shape, split: str = "test", side_px: int = 8, tag: str = "") -> Item:
    return Item(
        asset=sha256_hex(data),
        media_type="image/png",
        size_bytes=len(data),
        width_px=side_px,
        height_px=side_px,
        split=split,
        tags=(tag,) if tag else (),
        source=f"s3://shop/{tag or 'plain'}/1.png",
        labeled=True,
        shapes=shapes,
    )


@dataclass
class Workshop:
    """A trainer, and what a test needs around it."""

    service: Trainer
    bus: MemoryBus

    async def dataset(
        self, found: dict[bytes, Item], classes: tuple[str, ...] = COLOURS
    ) -> Committed[DatasetCommitted]:
        """Commit a version with these images."""
        await self.service.objects.put_many(Area.ASSETS, list(found))
        run = runs.new_run(RunKind.RUN_KIND_IMPORT, parameters={"n": sorted(map(len, found))})
        return await Datasets(self.service.log, self.service.objects).commit_changes(
            "shop", list(found.values()), run=run, summary="imported", classes=list(classes)
        )

    async def colours(self, wrong: int = 0) -> Committed[DatasetCommitted]:
        """Commit twelve images of one colour each, of which some have another's name."""
        found = {}
        for index in range(12):
            image = solid(COLOURS[index % 3])
            image[0, 0] = index  # an asset of its own
            named = COLOURS[(index + (index < wrong)) % 3]
            data = png(image)
            tag = "even" if index % 2 == 0 else "odd"
            found[data] = item(data, Shape("1", named), tag=tag)
        return await self.dataset(found)

    async def model(self) -> Committed[ModelCommitted]:
        """Commit the classifier of colours."""
        return await commit_model(self.service.log, self.service.objects, colour_classifier())

    async def evaluate(
        self,
        model: Committed[ModelCommitted],
        dataset: Committed[DatasetCommitted],
        split: str = "",
    ) -> Committed[EvaluationCommitted]:
        """Have the model measured; return the evaluation."""
        command = EvaluateModel(model=model.ref, dataset=dataset.ref, split=split, actor=ACTOR)
        await self.service.on_evaluate_model(command, delivery())
        found = await self.service.log.head(catalog.EVALUATION_COMMITTED, model=model.ref.name)
        assert found is not None
        return found

    async def report(self, found: Committed[EvaluationCommitted]) -> Report:
        """Return the stored report."""
        digest = found.message.evaluation.report_digest
        data = await self.service.objects.get(Area.REPORTS, digest)
        return Report.model_validate_json(data)

    def reports(self) -> list[RunChanged]:
        """Return what was told of runs so far."""
        return self.bus.sent(catalog.RUN_CHANGED)


@pytest.fixture
async def workshop(tmp_path: Path) -> Workshop:
    return await opened(tmp_path)


async def opened(folder: Path) -> Workshop:
    bus = MemoryBus()
    settings = TrainerSettings(data_dir=folder)
    service = memory_service(Trainer, settings, bus, MemoryBlobs(), clock=ManualClock())
    await service.start()
    return Workshop(service, bus)


async def test_a_command_becomes_an_evaluation_with_its_whole_provenance(
    workshop: Workshop,
) -> None:
    dataset, model = await workshop.colours(wrong=3), await workshop.model()
    found = await workshop.evaluate(model, dataset)
    message, run = found.message, found.commit.run

    assert (found.ref.kind, found.ref.version) == (ArtefactKind.ARTEFACT_KIND_EVALUATION, 1)
    assert found.ref.digest == message.evaluation.report_digest
    assert (message.model, message.dataset) == (model.ref, dataset.ref)
    assert message.task == "classification"
    assert message.evaluation.metrics["accuracy"] == pytest.approx(0.75)
    assert message.evaluation.count == 12
    assert message.evaluation.split_digest == dataset.message.test_split_digest != ""
    assert found.commit.summary == "colours@v1 on shop@v1, test: accuracy 0.750 on 12 images"

    assert [(ref.name, ref.role) for ref in run.inputs] == [
        ("colours", "evaluate"),
        ("shop", "evaluate_on"),
    ]
    assert (run.kind, run.actor) == (RunKind.RUN_KIND_EVALUATE, ACTOR)
    assert {ref.role for ref in run.outputs} == {"evaluation", "outcomes", "page"}
    assert run.figures["images_per_s"] > 0


async def test_the_report_its_page_and_the_outcomes_are_stored(workshop: Workshop) -> None:
    found = await workshop.evaluate(await workshop.model(), await workshop.colours(wrong=3))
    report = await workshop.report(found)
    assert (report.model, report.dataset, report.split) == ("colours@v1", "shop@v1", "test")
    assert report.speed is not None
    assert report.speed.p50_ms > 0
    assert {(one.by, one.value) for one in report.slices} >= {("tag", "even"), ("tag", "odd")}

    objects, evaluation = workshop.service.objects, found.message.evaluation
    page = (await objects.get(Area.REPORTS, evaluation.page_digest)).decode()
    assert "colours@v1" in page
    assert page.count("data:image/jpeg") == 3  # the three that are wrong
    kept = outcomes.from_bytes(await objects.get(Area.REPORTS, evaluation.outcomes_digest))
    assert kept.measure(np.ones((1, 12), np.int64))["accuracy"] == pytest.approx([0.75])


async def test_the_same_question_is_answered_once(workshop: Workshop) -> None:
    model, dataset = await workshop.model(), await workshop.colours()
    first = await workshop.evaluate(model, dataset)
    assert await workshop.evaluate(model, dataset) == first
    history = await workshop.service.log.history(catalog.EVALUATION_COMMITTED, model="colours")
    assert len(history) == 1


async def test_another_split_is_another_evaluation_of_the_model(workshop: Workshop) -> None:
    data = png(solid("red"))
    other = png(solid("blue"))
    dataset = await workshop.dataset(
        {
            data: item(data, Shape("1", "red")),
            other: item(other, Shape("1", "green"), split="val"),
        }
    )
    model = await workshop.model()
    test = await workshop.evaluate(model, dataset)
    validation = await workshop.evaluate(model, dataset, "val")
    assert (test.message.evaluation.metrics["accuracy"], test.ref.version) == (1.0, 1)
    assert (validation.message.evaluation.metrics["accuracy"], validation.ref.version) == (0.0, 2)
    digests = {test.message.evaluation.split_digest, validation.message.evaluation.split_digest}
    assert len(digests - {""}) == 2


async def test_progress_and_the_end_are_told(workshop: Workshop) -> None:
    found = await workshop.evaluate(await workshop.model(), await workshop.colours())
    first, last = workshop.reports()[0], workshop.reports()[-1]
    assert (first.state, first.title) == (
        RunState.RUN_STATE_RUNNING,
        "colours@v1 on shop@v1, test",
    )
    assert (last.state, last.artefact) == (RunState.RUN_STATE_COMPLETED, found.ref)


async def test_boxes_are_measured_in_the_image_not_in_the_network(workshop: Workshop) -> None:
    """The image is four times the size of the network's input."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:32, 32:48] = (255, 0, 0)
    data = png(image)
    shape = Shape("1", "red", bbox_xyxy=(32, 16, 48, 32))
    dataset = await workshop.dataset({data: item(data, shape, side_px=64)})
    model = await commit_model(
        workshop.service.log, workshop.service.objects, colour_detector(16), task="detection",
        shape=(16, 16, 3), fit="letterbox",
    )  # fmt: skip
    found = await workshop.evaluate(model, dataset)
    assert found.message.evaluation.metrics["map50"] == pytest.approx(1.0)
    report = await workshop.report(found)
    assert report.confusion is not None
    assert report.confusion.labels[-1] == "background"


async def test_masks_are_measured_pixel_by_pixel(workshop: Workshop) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[8:24, 8:16] = (0, 255, 0)
    data = png(image)
    shape = Shape("1", "green", mask_rle=masks.encode(image[..., 1]))
    dataset = await workshop.dataset({data: item(data, shape, side_px=32)})
    model = await commit_model(
        workshop.service.log, workshop.service.objects, colour_segmenter(32),
        task="segmentation", shape=(32, 32, 3), fit="letterbox",
    )  # fmt: skip
    found = await workshop.evaluate(model, dataset)
    assert found.message.evaluation.metrics["iou:green"] == 1.0
    assert found.message.evaluation.metrics["pixel_accuracy"] == 1.0


async def test_int8_is_a_version_of_its_own_with_its_own_evaluation(workshop: Workshop) -> None:
    found = {}
    for index in range(12):
        image = solid(COLOURS[index % 3], 64)
        image[0, 0] = index
        data = png(image)
        split = "test" if index < 6 else "train"
        shape = Shape("1", COLOURS[index % 3])
        found[data] = item(data, shape, split=split, side_px=64)
    dataset = await workshop.dataset(found)
    log, objects = workshop.service.log, workshop.service.objects
    model = await commit_model(log, objects, convolutional_classifier(64, 3), shape=(64, 64, 3))
    command = QuantizeModel(model=model.ref, dataset=dataset.ref, calibration_images=4, actor=ACTOR)
    await workshop.service.on_quantize_model(command, delivery())
    await workshop.service.on_quantize_model(command, delivery(2))
    before, after = await log.history(catalog.MODEL_COMMITTED, name="colours")

    assert after.commit.summary.startswith("colours@v1 in 8 bit integers: accuracy ")
    assert [ref.role for ref in after.commit.run.inputs] == ["quantize", "calibrate_on"]
    assert after.commit.run.parameters["calibration_images"] == 4
    sizes = {
        version.ref.version: file.size_bytes
        for version in (before, after)
        for file in version.message.files
        if file.name == "model.onnx"
    }
    assert sizes[2] < 0.45 * sizes[1]
    (evaluation,) = after.message.evaluations
    assert evaluation.split_digest == dataset.message.test_split_digest
    assert evaluation.count == 6
    assert (after.message.task, after.message.classes) == ("classification", before.message.classes)

    again = await workshop.evaluate(after, dataset)
    assert again.message.evaluation.metrics == evaluation.metrics

    with pytest.raises(Rejected, match="colours@v2 is in 8 bit integers already"):
        await workshop.service.on_quantize_model(
            QuantizeModel(model=after.ref, dataset=dataset.ref), delivery()
        )


async def test_a_model_that_does_not_know_a_label_is_not_measured(workshop: Workshop) -> None:
    data = png(solid("red"))
    dataset = await workshop.dataset({data: item(data, Shape("1", "mauve"))}, (*COLOURS, "mauve"))
    with pytest.raises(Rejected, match="labeled 'mauve', which the model does not know"):
        await workshop.evaluate(await workshop.model(), dataset)
    last = workshop.reports()[-1]
    assert last.state == RunState.RUN_STATE_FAILED
    assert "'mauve'" in last.message


async def test_a_split_without_labels_is_refused_by_name(workshop: Workshop) -> None:
    with pytest.raises(Rejected, match=r"shop@v1 has no labeled items in split 'val'"):
        await workshop.evaluate(await workshop.model(), await workshop.colours(), "val")


async def test_a_split_that_does_not_exist_is_refused_by_name(workshop: Workshop) -> None:
    with pytest.raises(Rejected, match="there is no split 'holdout'; there are train, val, test"):
        await workshop.evaluate(await workshop.model(), await workshop.colours(), "holdout")


async def test_labels_of_another_task_are_refused(workshop: Workshop) -> None:
    data = png(solid("red"))
    boxed = item(data, Shape("1", "red", bbox_xyxy=(0, 0, 4, 4)))
    with pytest.raises(Rejected, match="no image whose labels can be used"):
        await workshop.evaluate(await workshop.model(), await workshop.dataset({data: boxed}))


async def test_a_model_or_dataset_that_is_not_there_is_refused(workshop: Workshop) -> None:
    model = await workshop.model()
    missing = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_DATASET, name="nowhere", version=1)
    with pytest.raises(NotFound, match="nowhere"):
        await workshop.service.on_evaluate_model(
            EvaluateModel(model=model.ref, dataset=missing), delivery()
        )


async def test_a_network_that_is_no_network_is_refused(workshop: Workshop) -> None:
    log, objects = workshop.service.log, workshop.service.objects
    model = await commit_model(log, objects, b"not a network")
    with pytest.raises(Rejected, match="the network cannot be loaded"):
        await workshop.evaluate(model, await workshop.colours())


async def test_a_network_of_another_task_is_refused(workshop: Workshop) -> None:
    log, objects = workshop.service.log, workshop.service.objects
    model = await commit_model(log, objects, colour_classifier(), task="detection")
    with pytest.raises(Rejected, match="gives boxes, scores, labels; this one"):
        await workshop.evaluate(model, await workshop.colours())


async def test_a_network_whose_bytes_are_damaged_is_refused(workshop: Workshop) -> None:
    model, dataset = await workshop.model(), await workshop.colours()
    (file,) = model.message.files
    key = workshop.service.objects.key(Area.MODELS, file.digest)
    blobs = workshop.service.objects.blobs
    assert isinstance(blobs, MemoryBlobs)
    blobs.put(key, b"damaged")
    with pytest.raises(Corrupt):
        await workshop.evaluate(model, dataset)


async def test_an_image_that_is_no_image_is_named(workshop: Workshop) -> None:
    data = b"no image at all"
    dataset = await workshop.dataset({data: item(data, Shape("1", "red"))})
    with pytest.raises(Rejected, match=f"image {sha256_hex(data)[:12]}"):
        await workshop.evaluate(await workshop.model(), dataset)


async def test_a_cancelled_evaluation_ends_as_cancelled(workshop: Workshop, tmp_path: Path) -> None:
    """Equal work has an equal id everywhere: another workshop tells what to cancel."""
    other = await opened(tmp_path / "other")
    done = await other.evaluate(await other.model(), await other.colours())
    cancel = CancelRun(run_id=done.commit.run.id, actor=ACTOR)
    await workshop.service.bus.send(catalog.CANCEL_RUN, cancel, run_id=cancel.run_id, id="cancel")
    with pytest.raises(Cancelled, match="cancelled by ada"):
        await workshop.evaluate(await workshop.model(), await workshop.colours())
    assert workshop.reports()[-1].state == RunState.RUN_STATE_CANCELLED


def test_measuring_never_imports_torch() -> None:
    """The process that measures starts in a fraction of a second because of it."""
    program = (
        "import sys, services.trainer.measure, services.trainer.evaluation.measuring, "
        "services.trainer.evaluation.pages, services.trainer.evaluation.quantizing\n"
        "print([m for m in ('torch', 'timm') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(found.stdout.strip().replace("'", '"')) == []
