"""Training is the same to the bit, whether it is disturbed or not."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy

from loopline.errors import Rejected
from loopline.testing.products import Product
from loopline.vision.images import decode, resize
from services.trainer.domain.job import CheckpointSaved, Report, Train, Trained
from services.trainer.recipes.classification import ClassificationRecipe
from services.trainer.recipes.registry import checked_parameters
from services.trainer.training import session
from tests.unit.trainer.workshop import CLASSES, write_job

# Dropout and noise draw from every source of random numbers there is.
PARAMETERS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 16,
    "image_size": 28,
    "dropout": 0.2,
    "augmentation": {"noise": 0.02, "cutout": 0.2},
}


class StoppedError(Exception):
    """Raised in place of a kill."""


def train(job: Train, stop_after_epoch: int = 0, **changes: Any) -> Trained:
    def emit(report: Report) -> None:
        if isinstance(report, CheckpointSaved) and report.epoch == stop_after_epoch:
            raise StoppedError

    parameters = checked_parameters(ClassificationRecipe, PARAMETERS | changes)
    return session.train(ClassificationRecipe, "classification", parameters, job, emit)


def digests(trained: Trained) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in trained.files}


@pytest.fixture(scope="module")
def undisturbed(
    small_catalogue: list[Product], tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    return train(write_job(small_catalogue, tmp_path_factory.mktemp("undisturbed")))


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_run_that_was_stopped_and_resumed_makes_the_same_files(
    undisturbed: Trained, small_catalogue: list[Product], tmp_path: Path, epoch: int
) -> None:
    job = write_job(small_catalogue, tmp_path)
    with pytest.raises(StoppedError):
        train(job, stop_after_epoch=epoch)
    resumed = train(job)
    assert resumed.figures["resumed_at_step"] == epoch * resumed.figures["steps"] / 3
    assert resumed.weights_digest == undisturbed.weights_digest
    assert resumed.metrics == undisturbed.metrics
    assert digests(resumed) == digests(undisturbed)


def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(
    undisturbed: Trained, small_catalogue: list[Product], tmp_path: Path
) -> None:
    job = write_job(small_catalogue, tmp_path)
    with pytest.raises(StoppedError):
        train(job, stop_after_epoch=2)
    newest = max(job.checkpoints.iterdir())
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(bytes(data))
    resumed = train(job)
    assert resumed.figures["resumed_at_step"] == resumed.figures["steps"] / 3
    assert resumed.weights_digest == undisturbed.weights_digest


def test_a_checkpoint_of_another_machine_is_resumed_from(
    undisturbed: Trained, small_catalogue: list[Product], tmp_path: Path
) -> None:
    there = write_job(small_catalogue, tmp_path / "there")
    with pytest.raises(StoppedError):
        train(there, stop_after_epoch=2)
    here = write_job(small_catalogue, tmp_path / "here")
    here.checkpoints.mkdir()
    shutil.copy(max(there.checkpoints.iterdir()), here.checkpoints)
    resumed = train(here)
    assert resumed.figures["resumed_at_step"] == 2 * resumed.figures["steps"] / 3
    assert digests(resumed) == digests(undisturbed)


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"learning_rate": 0.002}, {"augmentation": {"noise": 0.03, "cutout": 0.2}}],
    ids=["seed", "learning rate", "augmentation"],
)
def test_another_seed_or_parameter_gives_other_weights(
    undisturbed: Trained, small_catalogue: list[Product], tmp_path: Path, change: dict[str, Any]
) -> None:
    job = write_job(small_catalogue, tmp_path)
    checkpoints: list[Path] = []

    def emit(report: Report) -> None:
        if isinstance(report, CheckpointSaved):
            checkpoints.append(report.path)
            raise StoppedError

    for changes in ({}, change):
        shutil.rmtree(job.checkpoints, ignore_errors=True)
        parameters = checked_parameters(ClassificationRecipe, PARAMETERS | changes)
        with pytest.raises(StoppedError):
            session.train(ClassificationRecipe, "classification", parameters, job, emit)
    same, other = (path.name.partition("-")[2] for path in checkpoints)
    assert same != other


def test_it_learns(undisturbed: Trained) -> None:
    assert undisturbed.metrics["accuracy"] > 0.6  # of three classes, in nine steps
    assert undisturbed.count == 48


def test_little_memory_for_pixels_changes_nothing_but_the_time(
    undisturbed: Trained, small_catalogue: list[Product], tmp_path: Path
) -> None:
    job = write_job(small_catalogue, tmp_path).model_copy(update={"memory_bytes": 28 * 28 * 10})
    assert digests(train(job)) == digests(undisturbed)


def test_the_exported_network_takes_pixels_and_answers_with_the_reported_probabilities(
    undisturbed: Trained, small_catalogue: list[Product]
) -> None:
    files = {path.name: path for path in undisturbed.files}
    network = onnxruntime.InferenceSession(files["model.onnx"], providers=["CPUExecutionProvider"])
    [image], [output] = network.get_inputs(), network.get_outputs()
    assert (image.name, image.type, image.shape[1:]) == ("image", "tensor(uint8)", [28, 28, 1])
    assert (output.name, output.type) == ("probabilities", "tensor(float)")

    report = json.loads(files["evaluation.json"].read_text())
    said = {entry["asset"]: entry for entry in report["predictions"]}
    tested = [product for product in small_catalogue if product.split == "test"]
    pixels = np.stack([resize(decode(p.data, 1), 28, 28, "area") for p in tested])
    [probabilities] = network.run(None, {"image": pixels})
    expected = [said[product.asset]["probabilities"] for product in tested]
    assert np.abs(probabilities - np.array(expected)).max() < 1e-4
    assert {product.class_name for product in tested} == set(report["classes"]) == set(CLASSES)


def test_parity_is_stated_and_small(undisturbed: Trained) -> None:
    assert 0 <= undisturbed.figures["onnx_parity"] <= 1e-4


def test_nothing_of_this_machine_is_in_the_exported_file(undisturbed: Trained) -> None:
    [path] = [p for p in undisturbed.files if p.name == "model.onnx"]
    assert b"site-packages" not in path.read_bytes()
    model = onnx.load(path)
    assert model.opset_import[0].version == 20
    assert not any(node.metadata_props for node in model.graph.node)


def test_the_weights_are_readable_without_us(undisturbed: Trained) -> None:
    [path] = [p for p in undisturbed.files if p.name == "weights.safetensors"]
    tensors = safetensors.numpy.load(path.read_bytes())
    assert "temperature" in tensors
    assert tensors["backbone.fc.bias"].shape == (3,)


def test_the_recipe_file_says_how_to_train_it_again(undisturbed: Trained) -> None:
    [path] = [p for p in undisturbed.files if p.name == "recipe.json"]
    document = json.loads(path.read_text())
    assert document["recipe"] == "classification"
    assert document["parameters"]["augmentation"]["noise"] == 0.02
    assert document["classes"] == list(CLASSES)


def test_an_unknown_backbone_is_refused_with_others_of_its_family(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    with pytest.raises(Rejected, match=r"no backbone 'resnet17'; it has .*resnet"):
        train(write_job(small_catalogue, tmp_path), backbone="resnet17")


def test_a_gpu_that_is_not_there_is_refused(small_catalogue: list[Product], tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="no GPU"):
        train(write_job(small_catalogue, tmp_path), device="cuda")
