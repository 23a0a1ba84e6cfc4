"""From a command to a committed model version, over in-memory twins and a real training process."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loopline.contracts import (
    Actor,
    ArtefactKind,
    ArtefactRef,
    CancelRun,
    DatasetCommitted,
    ModelCommitted,
    RunChanged,
    RunKind,
    RunState,
    TrainModel,
    catalog,
)
from loopline.digests import sha256_hex
from loopline.errors import Cancelled, LooplineError, NotFound, Rejected, Transient
from loopline.runtime.cancellation import Cancellations
from loopline.store import runs
from loopline.store.blobs import MemoryBlobs
from loopline.store.commits import Committed
from loopline.store.datasets import Datasets
from loopline.store.objects import Area
from loopline.testing.memory import ManualClock, MemoryBus, delivery, memory_service
from loopline.testing.products import Product
from services.trainer.adapters.process import TrainingProcess
from services.trainer.domain.job import Report, Train
from services.trainer.service import Trainer
from services.trainer.settings import TrainerSettings
from tests.unit.trainer.workshop import CLASSES

pytestmark = pytest.mark.usefixtures("with_house_recipes")

FLOW = ArtefactRef(
    kind=ArtefactKind.ARTEFACT_KIND_FLOW, name="catalogue", version=2, digest="f" * 64
)
COMMAND = TrainModel(
    model="products",
    recipe="tiny",
    dataset=ArtefactRef(name="shop"),
    flow=FLOW,
    actor=Actor(kind="flow", name="catalogue"),
)
COMMAND.parameters.update({"epochs": 2, "batch_size": 8})


@dataclass
class Workshop:
    """A trainer, and what a test needs around it."""

    service: Trainer
    bus: MemoryBus
    folder: Path

    async def dataset(
        self, catalogue: Sequence[Product], classes: Sequence[str] = CLASSES
    ) -> Committed[DatasetCommitted]:
        """Commit a version with these images."""
        await self.service.objects.put_many(Area.ASSETS, [p.data for p in catalogue])
        run = runs.new_run(RunKind.RUN_KIND_IMPORT, parameters={"count": len(catalogue)})
        datasets = Datasets(self.service.log, self.service.objects)
        items = [product.item() for product in catalogue]
        return await datasets.commit_changes(
            "shop", items, run=run, summary="imported", classes=classes
        )

    async def head(self) -> Committed[ModelCommitted]:
        """Return the model's last version."""
        found = await self.service.log.head(catalog.MODEL_COMMITTED, name="products")
        assert found is not None
        return found

    def reports(self) -> list[RunChanged]:
        """Return what was told of runs so far."""
        return self.bus.sent(catalog.RUN_CHANGED)


@pytest.fixture
async def workshop(tmp_path: Path) -> Workshop:
    bus = MemoryBus()
    settings = TrainerSettings(data_dir=tmp_path, training_niceness=0)
    service = memory_service(Trainer, settings, bus, MemoryBlobs(), clock=ManualClock())
    await service.start()
    return Workshop(service, bus, tmp_path)


def command(**changes: Any) -> TrainModel:
    changed = TrainModel()
    changed.CopyFrom(COMMAND)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


async def failure(workshop: Workshop, what: TrainModel, attempt: int = 1) -> LooplineError:
    with pytest.raises(LooplineError) as failed:
        await workshop.service.on_train_model(what, delivery(attempt=attempt))
    return failed.value


async def _unreachable(*_: object, **__: object) -> None:
    raise Transient("the bus does not answer")


async def test_a_command_becomes_a_model_version_with_its_whole_provenance(
    workshop: Workshop, small_catalogue: list[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = await workshop.dataset(small_catalogue)
    # Who dies as it is committed has nothing to train a second time.
    with monkeypatch.context() as broken:
        broken.setattr(workshop.service.log, "commit", _unreachable)
        assert isinstance(await failure(workshop, command()), Transient)
    with monkeypatch.context() as watched:
        watched.setattr(TrainingProcess, "train", _unreachable)
        await workshop.service.on_train_model(command(), delivery(attempt=2))
    model = await workshop.head()
    message, run = model.message, model.commit.run

    assert (model.ref.kind, model.ref.version) == (ArtefactKind.ARTEFACT_KIND_MODEL, 1)
    assert list(message.classes) == list(CLASSES)
    assert (message.task, message.recipe) == ("classification", "tiny")
    assert model.commit.summary.startswith("tiny on shop@v1: accuracy 0.")

    assert [(ref.name, ref.role) for ref in run.inputs] == [
        ("shop", "train_on"),
        ("catalogue", "flow"),
    ]
    assert run.inputs[0].digest == dataset.ref.digest
    assert run.kind == RunKind.RUN_KIND_TRAIN
    assert run.parameters["epochs"] == 2
    assert run.parameters["recipe"] == "tiny"
    assert run.actor.name == "catalogue"
    assert run.environment.device == "cpu"
    assert run.environment.threads == 1
    assert run.environment.packages["torch"] == importlib.metadata.version("torch")
    assert run.environment.cpu
    assert "checkpoint_every_steps" not in run.parameters
    assert run.figures["onnx_parity"] < 1e-4
    assert run.figures["train_count"] == 66  # 24 of each class, 2 of them set aside
    assert run.figures["validation_count"] == 6

    [evaluation] = message.evaluations
    assert (evaluation.split, evaluation.count) == ("test", 48)
    assert evaluation.split_digest == dataset.message.test_split_digest != ""
    assert {"accuracy", "macro_f1", "calibration_error", "recall:coat"} <= set(evaluation.metrics)
    assert (message.preprocessing.height_px, message.preprocessing.channels) == (40, 1)
    assert list(message.preprocessing.mean) == []

    for file in message.files:
        data = await workshop.service.objects.get(Area.MODELS, file.digest)
        assert len(data) == file.size_bytes
    report = await workshop.service.objects.get(Area.REPORTS, evaluation.report_digest)
    assert sha256_hex(report) == run.outputs[0].digest

    # The same command again finds its work done.
    count = len(workshop.reports())
    await workshop.service.on_train_model(command(), delivery(attempt=3))
    assert (await workshop.head()).ref.version == 1
    [again] = workshop.reports()[count:]
    assert again.state == RunState.RUN_STATE_COMPLETED
    assert again.artefact.digest == model.ref.digest

    # Nor does it matter which version of the flow asks, or where checkpoints go.
    changed = command()
    changed.flow.digest = "e" * 64
    changed.parameters["checkpoint_every_steps"] = 1
    await workshop.service.on_train_model(changed, delivery())
    assert (await workshop.head()).ref.version == 1

    # What was told on the way.
    states = [report.state for report in workshop.reports()]
    assert states[0] == RunState.RUN_STATE_RUNNING
    epochs = [r for r in workshop.reports() if "accuracy" in r.training.metrics]
    assert [(r.done, r.total, r.unit) for r in epochs] == [(1, 2, "epochs"), (2, 2, "epochs")]
    assert (epochs[1].training.epoch, epochs[1].training.epochs) == (2, 2)
    assert epochs[1].training.step == epochs[1].training.steps
    assert epochs[0].training.loss > 0
    assert epochs[0].training.images_per_s > 0
    assert epochs[0].title == "products on shop@v1"

    assert list((workshop.folder / "trainer" / "runs").iterdir()) == []


async def test_a_dataset_that_is_not_there_is_named(workshop: Workshop) -> None:
    error = await failure(workshop, command())
    assert isinstance(error, NotFound)
    assert "no dataset shop" in error.message


async def test_a_model_name_that_is_none_is_refused(workshop: Workshop) -> None:
    assert (
        "'My Model' is not a valid model name"
        in (await failure(workshop, command(model="My Model"))).message
    )


async def test_a_class_without_images_fails_the_run_with_its_name(
    workshop: Workshop, small_catalogue: list[Product]
) -> None:
    await workshop.dataset(small_catalogue, classes=[*CLASSES, "hat"])
    error = await failure(workshop, command(recipe="sleeper"))
    assert isinstance(error, Rejected)
    assert "shop@v1 has no labeled items in split 'train' of class 'hat'" in error.message
    assert workshop.reports()[-1].state == RunState.RUN_STATE_FAILED
    assert workshop.reports()[-1].message == error.message


async def test_a_split_without_labels_fails_the_run(
    workshop: Workshop, small_catalogue: list[Product]
) -> None:
    await workshop.dataset([p for p in small_catalogue if p.split == "train"])
    error = await failure(workshop, command(recipe="sleeper"))
    assert "no labeled items in split 'test'" in error.message


async def test_an_image_that_storage_has_lost_fails_the_run_by_name(
    workshop: Workshop, small_catalogue: list[Product]
) -> None:
    await workshop.dataset(small_catalogue)
    lost = small_catalogue[3].asset
    await workshop.service.objects.delete(Area.ASSETS, lost)
    error = await failure(workshop, command(recipe="sleeper"))
    assert isinstance(error, NotFound)
    assert lost in error.message


@pytest.mark.parametrize(
    ("attempt", "kind", "state"),
    [
        (1, Transient, RunState.RUN_STATE_QUEUED),
        (3, Rejected, RunState.RUN_STATE_FAILED),
    ],
)
async def test_a_killed_training_waits_for_another_attempt_until_it_is_given_up(
    workshop: Workshop,
    small_catalogue: list[Product],
    attempt: int,
    kind: type[LooplineError],
    state: RunState,
) -> None:
    await workshop.dataset(small_catalogue)
    error = await failure(workshop, command(recipe="killed"), attempt)
    assert type(error) is kind
    assert workshop.reports()[-1].state == state
    assert "killed (SIGKILL)" in workshop.reports()[-1].message


async def test_a_training_that_is_handed_back_leaves_no_process(
    workshop: Workshop, small_catalogue: list[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    await workshop.dataset(small_catalogue)
    pids: list[int] = []
    train = TrainingProcess.train

    def noted(process: TrainingProcess, job: Train) -> AsyncIterator[Report]:
        pids.append(process.pid)
        return train(process, job)

    monkeypatch.setattr(TrainingProcess, "train", noted)
    handling = asyncio.create_task(
        workshop.service.on_train_model(command(recipe="sleeper"), delivery())
    )
    while not pids:
        await asyncio.sleep(0.01)
    handling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handling
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


async def test_a_cancelled_training_leaves_a_checkpoint_from_which_it_can_go_on(
    workshop: Workshop, small_catalogue: list[Product]
) -> None:
    await workshop.dataset(small_catalogue)
    workshop.service.cancellations = Cancellations(workshop.service.events, "default", poll_s=0.02)
    asked = command(recipe="slow")
    asked.parameters.update({"epochs": 8, "batch_size": 8})
    handling = asyncio.create_task(workshop.service.on_train_model(asked, delivery()))
    async with asyncio.timeout(150):
        while not any(report.training.step for report in workshop.reports()):
            await asyncio.sleep(0.02)
    began = time.monotonic()
    run_id = workshop.reports()[-1].run_id
    await workshop.service.bus.send(
        catalog.CANCEL_RUN, CancelRun(run_id=run_id, reason="enough"), run_id=run_id
    )
    with pytest.raises(Cancelled, match="enough"):
        await handling
    assert time.monotonic() - began < 5

    last = workshop.reports()[-1]
    assert last.state == RunState.RUN_STATE_CANCELLED
    [checkpoint, *_] = last.training.checkpoints
    assert checkpoint.step > 0
    stored = await workshop.service.objects.get(Area.CHECKPOINTS, checkpoint.digest)
    assert len(stored) == checkpoint.size_bytes

    # Asked for again, on a machine with an empty disk, it goes on from there.
    shutil.rmtree(workshop.folder / "trainer" / "runs" / run_id)
    later = replace(delivery(2), stored_at=datetime.now(UTC))
    await workshop.service.on_train_model(asked, later)
    assert (await workshop.head()).commit.run.figures["resumed_at_step"] == checkpoint.step
    with pytest.raises(NotFound):  # of no use any more
        await workshop.service.objects.get(Area.CHECKPOINTS, checkpoint.digest)


async def test_an_unknown_recipe_is_refused(
    workshop: Workshop, small_catalogue: list[Product]
) -> None:
    await workshop.dataset(small_catalogue)
    error = await failure(workshop, command(recipe="detectoin"))
    assert "no recipe 'detectoin'; installed are: " in error.message


def test_the_service_never_imports_torch() -> None:
    script = (
        "import sys, services.trainer.service, services.trainer.__main__\n"
        "heavy = {'torch', 'timm', 'onnx', 'onnxruntime'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
