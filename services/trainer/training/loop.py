"""The loop: steps, epochs, checkpoints, and nothing of any task."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import Any, Final

import cv2
import numpy as np
import torch

from loopline.errors import Rejected
from services.trainer.domain.evaluation import Judgement
from services.trainer.domain.job import Progress, Report
from services.trainer.recipes.interface import Batch, Recipe
from services.trainer.recipes.parameters import RecipeParameters
from services.trainer.training.batches import Split, TrainingBatches
from services.trainer.training.checkpoints import CheckpointWriter, TrainingState

REPORT_EVERY_S: Final = 2.0

Emit = Callable[[Report], None]


def make_deterministic(parameters: RecipeParameters) -> torch.device:
    """Seed every generator, fix the number of threads, and return the device.

    On a CPU the same seed and threads then give the same bits. On a GPU they give what cuDNN's
    deterministic algorithms give; an operation that has none is warned about.
    """
    random.seed(parameters.seed)
    np.random.seed(parameters.seed)
    torch.manual_seed(parameters.seed)
    torch.set_num_threads(parameters.threads)
    cv2.setNumThreads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    has_gpu = torch.cuda.is_available()
    if parameters.device == "cuda" and not has_gpu:
        raise Rejected("parameter 'device' is 'cuda', but this agent has no GPU")
    return torch.device("cuda" if has_gpu and parameters.device != "cpu" else "cpu")


def initial_state(recipe: Recipe[Any], steps: int, device: torch.device) -> TrainingState:
    """Return a network that has learned nothing yet."""
    model = recipe.build_model().to(memory_format=torch.channels_last).to(device)
    optimizer = recipe.build_optimizer(model)
    return TrainingState(model, optimizer, recipe.build_schedule(optimizer, steps))


class Loop:
    """Trains `state` from where it is to the end.

    Args:
        recipe: What a step does.
        state: Changed as training goes on.
        batches: What each step sees.
        validation: Judged after each epoch; may be empty.
        writer: Where checkpoints go.
        emit: Told of progress.
    """

    def __init__(
        self,
        recipe: Recipe[Any],
        state: TrainingState,
        batches: TrainingBatches,
        validation: Split,
        writer: CheckpointWriter,
        emit: Emit,
    ) -> None:
        self._recipe = recipe
        self._state = state
        self._batches = batches
        self._validation = validation
        self._writer = writer
        self._emit = emit
        self._device = next(state.model.parameters()).device
        self._epochs = recipe.parameters.epochs
        self._steps = batches.steps_per_epoch * self._epochs

    def run(self) -> dict[str, float]:
        """Take every step that is left; return images_per_s and seconds of this process's part."""
        state, first = self._state, self._state.step
        began = reported = time.monotonic()
        state.model.train()
        for batch in self._batches.from_step(first, self._steps):
            state.loss_sum += self._step(batch)
            state.step += 1
            now = time.monotonic()
            if state.step % self._batches.steps_per_epoch == 0:
                self._end_epoch(first, began)
                reported = now
            elif now - reported >= REPORT_EVERY_S:
                self._report({"loss": self._loss()}, first, began)
                reported = now
        return self._speed(first, began)

    def _step(self, batch: Batch) -> float:
        state = self._state
        images = torch.from_numpy(batch.images).to(self._device)
        loss = self._recipe.step(state.model, images, on_device(batch.targets, self._device))
        value = float(loss.detach())
        if not math.isfinite(value):
            epoch, step = divmod(state.step, self._batches.steps_per_epoch)
            raise Rejected(
                f"the loss became {value} in step {step + 1} of epoch {epoch + 1}; "
                "a smaller learning_rate may help"
            )
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        if state.step + 1 < self._steps:  # the schedule has no value past the last step
            state.schedule.step()
        return value

    def _end_epoch(self, first: int, began: float) -> None:
        state = self._state
        epoch = state.step // self._batches.steps_per_epoch
        figures = {"loss": self._loss()}
        if len(self._validation):
            metrics = judge(self._recipe, state.model, self._validation).metrics
            figures |= {name: value for name, value in metrics.items() if ":" not in name}
        state.loss_sum = 0.0
        state.history.append({"epoch": float(epoch), **figures})
        self._report(figures, first, began)
        if epoch % self._recipe.parameters.checkpoint_every_epochs == 0 or epoch == self._epochs:
            self._writer.save(state, epoch)

    def _loss(self) -> float:
        done = self._state.step % self._batches.steps_per_epoch or self._batches.steps_per_epoch
        return float(self._state.loss_sum / done)

    def _report(self, figures: dict[str, float], first: int, began: float) -> None:
        step, per_epoch = self._state.step, self._batches.steps_per_epoch
        seconds = (time.monotonic() - began) / max(step - first, 1)
        speed = self._speed(first, began)
        figures = figures | {
            "images_per_s": speed["images_per_s"],
            "eta_s": seconds * (self._steps - step),
        }
        self._emit(
            Progress(
                epoch=step // per_epoch,
                epochs=self._epochs,
                step=step,
                steps=self._steps,
                figures=figures,
            )
        )

    def _speed(self, first: int, began: float) -> dict[str, float]:
        seconds = time.monotonic() - began
        images = (self._state.step - first) * self._batches.batch_size
        return {"images_per_s": images / seconds if seconds else 0.0, "training_s": seconds}


def judge(recipe: Recipe[Any], model: torch.nn.Module, split: Split) -> Judgement:
    """Judge the model on a split; it is left in training mode if it was."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    with torch.no_grad():
        outputs = (
            recipe.predict(model, torch.from_numpy(batch.images).to(device))
            for batch in split.batches(recipe)
        )
        judgement = recipe.judge(outputs, split.targets, split.assets)
    model.train(was_training)
    return judgement


def on_device(targets: Any, device: torch.device) -> Any:
    """Return arrays, and arrays in lists and dictionaries, as tensors on the device."""
    if isinstance(targets, np.ndarray):
        return torch.from_numpy(targets).to(device)
    if isinstance(targets, dict):
        return {key: on_device(value, device) for key, value in targets.items()}
    if isinstance(targets, list | tuple):
        return [on_device(value, device) for value in targets]
    return targets
