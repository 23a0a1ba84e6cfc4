"""Training is the same to the bit, whether it is disturbed or not."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy
import torch

from loopline.errors import Rejected
from loopline.evaluation import outcomes, report
from loopline.evaluation.classification import evaluate_classification
from loopline.evaluation.images import ImageFacts
from loopline.testing.products import Product
from loopline.vision.images import decode, resize
from services.trainer.domain.checkpoint import CheckpointName
from services.trainer.domain.job import Report, Train, Trained
from services.trainer.recipes.classification import ClassificationRecipe
from services.trainer.recipes.registry import checked_parameters
from services.trainer.training import session
from services.trainer.training.export import weights_digest
from services.trainer.training.loop import Stopped, judge
from services.trainer.training.session import Fitted
from tests.unit.trainer.workshop import CLASSES, write_job

# Dropout and noise draw from every source of random numbers there is.
PARAMETERS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 16,
    "image_size": 28,
    "dropout": 0.2,
    "augmentation": {"noise": 0.02, "cutout": 0.2},
}
STEPS = 9  # 57 images in batches of 16, three times
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "averaged": {"average": 0.9, "clip_gradient": 1.0, "schedule": "cosine"},
    "stopping": {"early_stopping_epochs": 2, "balance": "sampling"},
}


class KilledError(BaseException):
    """Raised in place of a kill: nothing of ours catches it."""


def train(job: Train, **changes: Any) -> Trained:
    parameters = checked_parameters(ClassificationRecipe, PARAMETERS | changes)
    trained = session.train(ClassificationRecipe, "classification", parameters, job, ignored)
    assert trained is not None
    return trained


def fit(job: Train, kill_at: int = 0, **changes: Any) -> Fitted:
    """Train without the export; be killed in the step after `kill_at`, if it is not 0."""

    class Mortal(ClassificationRecipe):
        steps = 0

        def step(self, model: Any, images: Any, targets: Any) -> Any:
            if kill_at and self.steps == kill_at:
                raise KilledError
            self.steps += 1
            return super().step(model, images, targets)

    parameters = checked_parameters(Mortal, PARAMETERS | changes)
    return session.fit(Mortal, parameters, job, ignored)


def ignored(_: Report) -> None:
    """Nobody listens."""


def digests(trained: Trained) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in trained.files}


def outcome(fitted: Fitted) -> tuple[str, object, object]:
    """Return all that could differ: weights, what is measured with them, what was on the way."""
    judgement = judge(fitted.recipe, fitted.state.judged, fitted.splits["test"])
    return weights_digest(fitted.state.judged), judgement, fitted.state.history


@pytest.fixture(scope="module")
def undisturbed(
    small_catalogue: list[Product], tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    return train(write_job(small_catalogue, tmp_path_factory.mktemp("undisturbed")))


@pytest.fixture(scope="module")
def calm(
    small_catalogue: list[Product], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, object, object]]:
    """How trainings end that nobody disturbs, by the parameters of `WAYS`."""
    return {
        name: outcome(fit(write_job(small_catalogue, tmp_path_factory.mktemp("calm")), **changes))
        for name, changes in WAYS.items()
    }


@pytest.mark.parametrize("kill", range(10))
def test_a_run_killed_at_any_step_and_resumed_is_the_same_to_the_bit(
    calm: dict[str, Any], small_catalogue: list[Product], tmp_path: Path, kill: int
) -> None:
    chance = random.Random(kill)
    way = sorted(WAYS)[kill % len(WAYS)]
    killed_after, every = chance.randint(1, STEPS - 1), chance.randint(1, 4)
    job = write_job(small_catalogue, tmp_path)
    with pytest.raises(KilledError):
        fit(job, killed_after, checkpoint_every_steps=every, **WAYS[way])
    resumed = fit(job, checkpoint_every_steps=every, **WAYS[way])
    assert killed_after - every < resumed.figures["resumed_at_step"] <= killed_after
    assert outcome(resumed) == calm[way]


def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(
    calm: dict[str, Any], small_catalogue: list[Product], tmp_path: Path
) -> None:
    job = write_job(small_catalogue, tmp_path)
    with pytest.raises(KilledError):
        fit(job, 7, checkpoint_every_steps=1, **WAYS["plain"])
    newest = max(job.checkpoints.iterdir())
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(bytes(data))
    resumed = fit(job, **WAYS["plain"])
    assert resumed.figures["resumed_at_step"] == 6  # of 7
    assert outcome(resumed) == calm["plain"]


def test_the_last_checkpoints_and_the_best_are_kept(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    job = write_job(small_catalogue, tmp_path)
    fit(job, checkpoint_every_steps=1, checkpoints_kept=3)
    parsed = [CheckpointName.parse(path.name) for path in job.checkpoints.iterdir()]
    names = sorted(name for name in parsed if name is not None)
    last = names[-1].step
    assert [name.step for name in names[-3:]] == [last - 2, last - 1, last]
    assert len(names) <= 4
    assert any(name.is_best and name.step % 3 == 0 for name in names)


def test_a_training_that_is_told_to_stop_leaves_a_checkpoint_of_that_step(
    calm: dict[str, Any], small_catalogue: list[Product], tmp_path: Path
) -> None:
    job, stop = write_job(small_catalogue, tmp_path), threading.Event()
    stop.set()
    parameters = checked_parameters(ClassificationRecipe, PARAMETERS | WAYS["plain"])
    with pytest.raises(Stopped, match="step 1"):
        session.fit(ClassificationRecipe, parameters, job, ignored, stop)
    resumed = fit(job, **WAYS["plain"])
    assert resumed.figures["resumed_at_step"] == 1
    assert outcome(resumed) == calm["plain"]


def test_training_stops_early_and_goes_back_to_the_best_epoch(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    job = write_job(small_catalogue, tmp_path)
    fitted = fit(job, epochs=40, early_stopping_epochs=2, schedule="constant")
    history = fitted.state.history
    values = [entry["accuracy"] for entry in history]
    assert len(history) < 40
    assert values.index(max(values)) == len(values) - 3
    accuracy = judge(fitted.recipe, fitted.state.judged, fitted.splits["val"]).metrics["accuracy"]
    assert accuracy == max(values)


def test_weights_that_are_not_numbers_never_become_a_checkpoint(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    class Poisoned(ClassificationRecipe):
        steps = 0

        def step(self, model: Any, images: Any, targets: Any) -> Any:
            self.steps += 1
            loss = super().step(model, images, targets)
            if self.steps == 5:  # the loss is fine, what the step leaves behind is not
                next(model.parameters()).data.fill_(float("nan"))
            return loss

    job = write_job(small_catalogue, tmp_path)
    parameters = checked_parameters(Poisoned, PARAMETERS | {"checkpoint_every_steps": 1})
    with pytest.raises(Rejected, match="the loss became nan in step 3 of epoch 2"):
        session.fit(Poisoned, parameters, job, ignored)
    names = [CheckpointName.parse(path.name) for path in job.checkpoints.iterdir()]
    assert max(name.step for name in names if name is not None) == 4


def test_only_what_is_on_top_learns_where_the_backbone_is_frozen(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    job = write_job(small_catalogue, tmp_path)
    fitted = fit(job, epochs=1, freeze_backbone=True)
    torch.manual_seed(0)  # as before the network was built
    before = fitted.recipe.build_model().state_dict()
    after = fitted.state.model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert {name.removeprefix("backbone.") for name in changed} == {"head.weight", "head.bias"}


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"learning_rate": 0.002}, {"augmentation": {"noise": 0.03, "cutout": 0.2}}],
    ids=["seed", "learning rate", "augmentation"],
)
def test_another_seed_or_parameter_gives_other_weights(
    calm: dict[str, Any], small_catalogue: list[Product], tmp_path: Path, change: dict[str, Any]
) -> None:
    other = fit(write_job(small_catalogue, tmp_path), **change)
    assert outcome(other)[0] != calm["plain"][0]


def test_it_learns(undisturbed: Trained, small_catalogue: list[Product], tmp_path: Path) -> None:
    fitted = fit(write_job(small_catalogue, tmp_path), epochs=15)
    judgement = judge(fitted.recipe, fitted.state.judged, fitted.splits["test"])
    assert judgement.metrics["accuracy"] > 0.7  # of three classes, in 45 steps
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

    said = report.Report.model_validate_json(files["evaluation.json"].read_text())
    tested = [product for product in small_catalogue if product.split == "test"]
    pixels = np.stack([resize(decode(p.data, 1), 28, 28, "area") for p in tested])
    [probabilities] = network.run(None, {"image": pixels})
    targets = np.array([CLASSES.index(product.class_name) for product in tested])
    images = [ImageFacts(product.asset, 28, 28) for product in tested]
    expected = evaluate_classification(probabilities, targets, CLASSES, images).report
    assert said.metrics == pytest.approx(expected.metrics, abs=1e-5)
    assert said.classes == CLASSES
    assert undisturbed.metrics == pytest.approx(said.metrics, abs=1e-6)


def test_the_report_has_a_page_outcomes_and_the_curves_of_the_training(
    undisturbed: Trained,
) -> None:
    told = report.Report.model_validate_json(undisturbed.reports.evaluation.read_text())
    assert told.speed is not None
    training = [curve for curve in told.curves if curve.kind == "training"]
    assert {"loss", "accuracy"} <= {curve.name for curve in training}
    assert all(len(curve.x) == len(training[0].x) for curve in training)
    assert undisturbed.reports.page.read_text().startswith("<!doctype html>")
    kept = outcomes.from_bytes(undisturbed.reports.outcomes.read_bytes())
    once = kept.measure(np.ones((1, len(kept.images)), np.int64))
    assert once["accuracy"][0] == pytest.approx(told.metrics["accuracy"], abs=1e-6)


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
    assert tensors["backbone.head.bias"].shape == (3,)


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
