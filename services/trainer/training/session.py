"""One training, from the job's files to the model version's files."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from loopline.digests import canonical_json
from loopline.errors import Rejected
from services.trainer.adapters.files import write_whole
from services.trainer.domain.examples import TEST, TRAIN, VALIDATION
from services.trainer.domain.job import PLACED, CheckpointSaved, Placed, Train, Trained
from services.trainer.recipes.interface import Recipe
from services.trainer.recipes.parameters import RecipeParameters
from services.trainer.recipes.registry import AnyRecipe
from services.trainer.training import checkpoints, export
from services.trainer.training.batches import Split, TrainingBatches
from services.trainer.training.checkpoints import CheckpointWriter, TrainingState
from services.trainer.training.loop import Emit, Loop, initial_state, judge, make_deterministic
from services.trainer.training.pixels import Pixels, Room, survey

ONNX_FILE = "model.onnx"
WEIGHTS_FILE = "weights.safetensors"
EVALUATION_FILE = "evaluation.json"
RECIPE_FILE = "recipe.json"

Splits = dict[str, Split]


def train(
    recipe_class: AnyRecipe, name: str, parameters: RecipeParameters, job: Train, emit: Emit
) -> Trained:
    """Train, evaluate on the test split and export.

    Args:
        recipe_class: The recipe.
        name: Its name.
        parameters: Its parameters, checked.
        job: The data, and where results go.
        emit: Told of progress, and from another thread of checkpoints.

    Raises:
        Rejected: The data or the parameters cannot be trained with.
    """
    began = time.monotonic()
    placed = _read_examples(job.examples_file)
    recipe: Recipe[Any] = recipe_class(parameters, job.classes, survey(placed[TRAIN], job.classes))
    splits = _splits(recipe, placed, job)
    device = make_deterministic(parameters)

    def saved(path: Path, epoch: int) -> None:
        emit(CheckpointSaved(path=path, epoch=epoch, epochs=parameters.epochs))

    with CheckpointWriter(job.checkpoints, saved) as writer:
        state, figures = _fit(recipe, splits, device, job, writer, emit)
        figures["unusable"] = float(sum(map(len, placed.values())) - sum(map(len, splits.values())))
        trained = _finished(recipe, name, splits, state, figures, job)
    trained.figures["total_s"] = time.monotonic() - began
    return trained


def _read_examples(path: Path) -> dict[str, list[Placed]]:
    placed: defaultdict[str, list[Placed]] = defaultdict(list)
    with path.open("rb") as lines:
        for line in lines:
            one = PLACED.validate_json(line)
            placed[one.example.split].append(one)
    return placed


def _splits(recipe: Recipe[Any], placed: dict[str, list[Placed]], job: Train) -> Splits:
    room = Room(job.memory_bytes)
    splits = {
        split: _split(recipe, placed.get(split, []), room) for split in (TRAIN, VALIDATION, TEST)
    }
    for split in (TRAIN, TEST):
        if not len(splits[split]):
            raise Rejected(
                f"{job.dataset}: no label of split {split!r} can be used for {recipe.task}, "
                f"which learns from {recipe.needs}"
            )
    return splits


def _split(recipe: Recipe[Any], placed: Sequence[Placed], room: Room) -> Split:
    answers = [(one, recipe.target(one.example)) for one in placed]
    usable = [(one, target) for one, target in answers if target is not None]
    return Split(
        pixels=Pixels([one.path for one, _ in usable], recipe.input_format, room),
        targets=tuple(target for _, target in usable),
        assets=tuple(one.example.asset for one, _ in usable),
        classes=tuple(recipe.class_indices(one.example) for one, _ in usable),
    )


def _fit(
    recipe: Recipe[Any],
    splits: Splits,
    device: torch.device,
    job: Train,
    writer: CheckpointWriter,
    emit: Emit,
) -> tuple[TrainingState, dict[str, float]]:
    batches = TrainingBatches(recipe, splits[TRAIN])
    steps = batches.steps_per_epoch * recipe.parameters.epochs
    state = initial_state(recipe, steps, device)
    checkpoints.restore_first(state, checkpoints.found(job.checkpoints))
    resumed_at = state.step
    figures = Loop(recipe, state, batches, splits[VALIDATION], writer, emit).run()
    with torch.no_grad():
        recipe.calibrate(state.model.eval(), list(splits[VALIDATION].batches(recipe)))
    return state, {
        **figures,
        "steps": float(steps),
        "resumed_at_step": float(resumed_at),
        "train_count": float(len(splits[TRAIN])),
        "validation_count": float(len(splits[VALIDATION])),
    }


def _finished(
    recipe: Recipe[Any],
    name: str,
    splits: Splits,
    state: TrainingState,
    figures: dict[str, float],
    job: Train,
) -> Trained:
    device = next(state.model.parameters()).device
    judgement = judge(recipe, state.model, splits[TEST])
    exported = recipe.export(state.model.cpu().eval())
    onnx_model = export.onnx_file(exported, recipe.input_format)
    parity = export.parity(recipe, exported, onnx_model, splits[TEST])
    figures |= {"onnx_parity": parity.difference, "onnx_parity_metrics": parity.metrics}
    report = {"task": recipe.task, "split": TEST, **judgement.report, "history": state.history}
    contents = {
        ONNX_FILE: onnx_model,
        WEIGHTS_FILE: export.weights_file(state.model),
        EVALUATION_FILE: canonical_json(report),
        RECIPE_FILE: canonical_json(_recipe_document(recipe, name)),
    }
    return Trained(
        files=tuple(_write(job.folder / "files", contents)),
        weights_digest=export.weights_digest(state.model),
        input_format=recipe.input_format,
        metrics=judgement.metrics,
        count=len(splits[TEST]),
        figures=figures,
        device=device.type if device.type == "cpu" else torch.cuda.get_device_name(device),
    )


def _recipe_document(recipe: Recipe[Any], name: str) -> dict[str, Any]:
    return {
        "recipe": name,
        "task": recipe.task,
        "class": f"{type(recipe).__module__}:{type(recipe).__qualname__}",
        "parameters": recipe.parameters.model_dump(mode="json"),
        "classes": list(recipe.classes),
    }


def _write(folder: Path, contents: dict[str, bytes]) -> list[Path]:
    for name, data in contents.items():
        write_whole(folder / name, data)
    return [folder / name for name in contents]
