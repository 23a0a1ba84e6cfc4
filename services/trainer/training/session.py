"""One training, from the job's files to the model version's files."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from loopline.errors import Rejected
from services.trainer.domain.checkpoint import CheckpointName
from services.trainer.domain.examples import TEST, TRAIN, VALIDATION
from services.trainer.domain.job import PLACED, CheckpointSaved, Placed, Train, Trained
from services.trainer.recipes import weights
from services.trainer.recipes.interface import Recipe
from services.trainer.recipes.parameters import RecipeParameters
from services.trainer.recipes.registry import AnyRecipe
from services.trainer.training import checkpoints
from services.trainer.training.batches import Split, TrainingBatches
from services.trainer.training.checkpoints import CheckpointWriter, TrainingState
from services.trainer.training.loop import (
    Emit,
    Loop,
    freeze,
    initial_state,
    make_deterministic,
)
from services.trainer.training.peers import Peers
from services.trainer.training.pixels import Pixels, Room, arrived, survey

Splits = dict[str, Split]


@dataclass
class Fitted:
    """A trained network, and what it was trained on."""

    recipe: Recipe[Any]
    splits: Splits
    state: TrainingState
    figures: dict[str, float]
    test: Sequence[Placed] = ()


def train(
    recipe_class: AnyRecipe,
    name: str,
    parameters: RecipeParameters,
    job: Train,
    emit: Emit,
    stop: threading.Event | None = None,
    peers: Peers | None = None,
) -> Trained | None:
    """Train, evaluate on the test split and export.

    Args:
        recipe_class: The recipe.
        name: Its name.
        parameters: Its parameters, checked.
        job: The data, and where results go.
        emit: Told of progress, and from another thread of checkpoints.
        stop: Set by whoever wants it to stop.
        peers: Who shares the training.

    Returns:
        What was made; None for all peers but the first.

    Raises:
        Rejected: The data or the parameters cannot be trained with.
        Stopped: `stop` was set.
    """
    began = time.monotonic()
    peers = peers or Peers()
    fitted = fit(recipe_class, parameters, job, emit, stop, peers)
    if not peers.is_first:
        return None
    arrived(one.path for one in fitted.test)
    from services.trainer.training.finishing import finished  # not before it is needed: 0.3 s

    trained = finished(fitted, name, job)
    trained.figures["total_s"] = time.monotonic() - began
    return trained


def fit(
    recipe_class: AnyRecipe,
    parameters: RecipeParameters,
    job: Train,
    emit: Emit,
    stop: threading.Event | None = None,
    peers: Peers | None = None,
) -> Fitted:
    """Train from the furthest checkpoint in the job's folder, if there is one; see `train`."""
    peers = peers or Peers()
    placed = _read_examples(job.examples_file)
    recipe: Recipe[Any] = recipe_class(parameters, job.classes, survey(placed[TRAIN], job.classes))
    splits = _splits(recipe, placed, job)
    device = make_deterministic(parameters)

    def saved(path: Path, _: CheckpointName) -> None:
        emit(CheckpointSaved(path=path))

    batches = TrainingBatches(recipe, splits[TRAIN], peers.rank, peers.count)
    state, figures = _begun(recipe, batches, device, job, peers)
    figures |= {"resumed_at_step": float(state.step)} | _counts(placed, splits)
    with CheckpointWriter(job.checkpoints, saved, parameters.checkpoints_kept) as writer:
        loop = Loop(recipe, state, batches, splits[VALIDATION], writer, emit, stop, peers)
        figures |= loop.run()
    loop.finish()
    if peers.is_first:
        with torch.no_grad():
            recipe.calibrate(state.judged.eval(), list(splits[VALIDATION].batches(recipe)))
    figures |= {"steps": float(state.step)}
    return Fitted(recipe, splits, state, figures, placed.get(TEST, []))


def _begun(
    recipe: Recipe[Any],
    batches: TrainingBatches,
    device: torch.device,
    job: Train,
    peers: Peers,
) -> tuple[TrainingState, dict[str, float]]:
    """Return the state to go on from, and how many tensors came from other weights.

    The first peer has the initial weights and the checkpoints; the others get what it begins with.
    """
    if peers.is_first:
        begun = weights.begin(recipe, job.initial_weights)
    else:
        begun = weights.Begun(recipe.build_model(), 0, 0)
    model = begun.model.to(memory_format=torch.channels_last).to(device)
    if recipe.parameters.freeze_backbone:
        freeze(recipe, model)
    state = initial_state(recipe, batches.steps_per_epoch * recipe.parameters.epochs, model)
    if peers.is_first:
        checkpoints.restore_first(state, checkpoints.found(job.checkpoints))
    checkpoints.begin_together(state, peers)
    return state, {"initial_tensors": float(begun.loaded)}


def _counts(placed: dict[str, list[Placed]], splits: Splits) -> dict[str, float]:
    return {
        "train_count": float(len(splits[TRAIN])),
        "validation_count": float(len(splits[VALIDATION])),
        "unusable": float(sum(map(len, placed.values())) - sum(map(len, splits.values()))),
    }


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
    if missing := splits[TRAIN].lacks(recipe.classes):
        raise Rejected(
            f"{job.dataset}: no label of class {missing[0]!r} in split 'train' can be used for "
            f"{recipe.task}, which learns from {recipe.needs}"
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
