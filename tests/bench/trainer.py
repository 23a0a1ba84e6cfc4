"""Training: steps per second of the recipe's loop beside a bare torch loop over the same network.

The bare loop has its batches as tensors in memory; the recipe's makes them from decoded images,
augments, reports, watches for a loss that is no number and saves a checkpoint each epoch.
`python -m tests.bench.trainer` prints the entries. Both compute on one thread, by turns, and the
best of each counts: what others do on the machine then disturbs least.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopline.testing.products import products

if TYPE_CHECKING:
    from services.trainer.recipes.classification import ClassificationRecipe
    from services.trainer.training.batches import Split, TrainingBatches

GOAL = 0.95
IMAGES_PER_CLASS = 96  # of ten classes: 20 steps an epoch
EPOCHS = 2
ROUNDS = 8
Entry = dict[str, Any]


def run() -> list[Entry]:
    """Measure, and return the entries."""
    import torch

    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory(prefix="loopline-bench-") as folder:
        recipe, split = _prepare(Path(folder))
        ours, bare = [], []
        for number in range(ROUNDS + 1):  # the first warms up and does not count
            ours.append(_recipe_loop_s(recipe, split, Path(folder) / f"round-{number}"))
            bare.append(_bare_loop_s(recipe, split))
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    ratio = min(bare[1:]) / min(ours[1:])
    steps = EPOCHS * (len(split) // recipe.parameters.batch_size)
    against = f"a bare torch loop in memory, {steps / min(bare[1:]):.1f} steps/s on one thread"
    return [
        {
            "name": "trainer_steps",
            "value": ratio,
            "unit": "ratio",
            "goal": GOAL,
            "holds": ratio >= GOAL,
            "against": against,
        }
    ]


def _prepare(folder: Path) -> tuple[ClassificationRecipe, Split]:
    from services.trainer.domain.examples import Annotation, Example
    from services.trainer.domain.job import Placed
    from services.trainer.recipes.classification import (
        ClassificationParameters,
        ClassificationRecipe,
    )
    from services.trainer.training.batches import Split
    from services.trainer.training.pixels import Pixels, Room, survey

    placed = []
    for product in products(IMAGES_PER_CLASS, 0):
        path = folder / product.asset
        path.write_bytes(product.data)
        annotation = Annotation(product.class_name)
        placed.append(Placed(Example(product.asset, "train", (annotation,), 28, 28), path))
    classes = sorted({one.example.annotations[0].class_name for one in placed})
    recipe = ClassificationRecipe(ClassificationParameters(epochs=EPOCHS), classes, survey(placed))
    targets = tuple(recipe.target(one.example) for one in placed)
    pixels = Pixels([one.path for one in placed], recipe.input_format, Room(1 << 30))
    return recipe, Split(pixels, targets, tuple(one.example.asset for one in placed))


def _recipe_loop_s(recipe: ClassificationRecipe, split: Split, folder: Path) -> float:
    from services.trainer.training.batches import Split, TrainingBatches
    from services.trainer.training.checkpoints import CheckpointWriter
    from services.trainer.training.loop import Loop, initial_state, make_deterministic
    from services.trainer.training.pixels import Pixels, Room

    device = make_deterministic(recipe.parameters)
    batches = TrainingBatches(recipe, split)
    state = initial_state(recipe, batches.steps_per_epoch * EPOCHS, device)
    nothing = Split(Pixels([], recipe.input_format, Room(0)), (), ())
    with CheckpointWriter(folder, lambda *_: None) as writer:
        loop = Loop(recipe, state, batches, nothing, writer, lambda _: None)
        began = time.perf_counter()
        loop.run()
        return time.perf_counter() - began


def _bare_loop_s(recipe: ClassificationRecipe, split: Split) -> float:
    from torch.nn import functional

    from services.trainer.training.batches import TrainingBatches
    from services.trainer.training.loop import initial_state, make_deterministic

    device = make_deterministic(recipe.parameters)
    batches = TrainingBatches(recipe, split)
    steps = batches.steps_per_epoch * EPOCHS
    state = initial_state(recipe, steps, device)
    tensors = list(_tensors(batches, steps))
    state.model.train()
    began = time.perf_counter()
    for images, targets in tensors:
        loss = functional.cross_entropy(state.model(images), targets)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        state.schedule.step()
    return time.perf_counter() - began


def _tensors(batches: TrainingBatches, steps: int) -> Any:
    import torch

    for step in range(steps):
        batch = batches.batch(step)
        yield torch.from_numpy(batch.images), torch.from_numpy(batch.targets)


if __name__ == "__main__":
    json.dump(run(), sys.stdout, indent=1)
