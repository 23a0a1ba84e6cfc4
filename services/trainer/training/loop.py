"""The loop: steps, epochs, checkpoints, and nothing of any task."""

from __future__ import annotations

import contextlib
import math
import random
import threading
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
from services.trainer.recipes.schedules import improvement, should_stop
from services.trainer.training.average import Average
from services.trainer.training.batches import Split, TrainingBatches
from services.trainer.training.checkpoints import Best, CheckpointWriter, TrainingState
from services.trainer.training.peers import Peers

REPORT_EVERY_S: Final = 1.0

Emit = Callable[[Report], None]


class Stopped(Exception):
    """Someone asked for the training to stop; a checkpoint of this moment is on disk."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step


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


def freeze(recipe: Recipe[Any], model: torch.nn.Module) -> None:
    """Keep the backbone as it is, but for its own classifier; Rejected if the recipe has none."""
    backbone = recipe.backbone(model)
    if backbone is None:
        raise Rejected("parameter 'freeze_backbone': this recipe has no backbone of its own")
    backbone.requires_grad_(False)
    classifier = getattr(backbone, "get_classifier", None)  # timm's networks have theirs inside
    if classifier is not None:
        classifier().requires_grad_(True)


def initial_state(recipe: Recipe[Any], steps: int, model: torch.nn.Module) -> TrainingState:
    """Return the state before the first step of a network that is on its device."""
    parameters = recipe.parameters
    is_half = parameters.precision == "float16" and next(model.parameters()).is_cuda
    optimizer = recipe.build_optimizer(model)
    return TrainingState(
        model=model,
        optimizer=optimizer,
        schedule=recipe.build_schedule(optimizer, steps),
        # Disabled it does nothing; enabled it keeps small gradients from vanishing.
        scaler=torch.amp.GradScaler("cuda", enabled=is_half),
        average=Average(model, parameters.average) if parameters.average else None,
    )


class Loop:
    """Trains `state` from where it is to the end.

    Args:
        recipe: What a step does.
        state: Changed as training goes on.
        batches: What each step sees.
        validation: Judged after each epoch; may be empty.
        writer: Where checkpoints go.
        emit: Told of progress.
        stop: Set by whoever wants the training to stop.
        peers: Who shares the training.
    """

    def __init__(
        self,
        recipe: Recipe[Any],
        state: TrainingState,
        batches: TrainingBatches,
        validation: Split,
        writer: CheckpointWriter,
        emit: Emit,
        stop: threading.Event | None = None,
        peers: Peers | None = None,
    ) -> None:
        self._recipe = recipe
        self._state = state
        self._batches = batches
        self._validation = validation
        self._writer = writer
        self._emit = emit
        self._stop = stop or threading.Event()
        self._peers = peers or Peers()
        self._device = next(state.model.parameters()).device
        self._network = self._peers.wrapped(_compiled(state.model, recipe.parameters))
        self._frozen = _frozen(recipe, state.model)
        self._epochs = recipe.parameters.epochs
        self._steps = batches.steps_per_epoch * self._epochs
        self._first = state.step
        self._began = self._reported = self._saved = time.monotonic()
        self._saved_step = state.step

    def run(self) -> dict[str, float]:
        """Take every step that is left; return the figures of this process's part.

        Raises:
            Rejected: The loss is not finite.
            Stopped: Someone asked for it.
        """
        state = self._state
        self._train_mode()
        if not self._is_over():
            with self._batches.from_step(state.step, self._steps) as ahead:
                for batch in ahead:
                    self._take(batch, ahead.refill)
                    if self._is_over():
                        break
        return self._speed() | {
            "checkpoint_stall_s": self._writer.stalled_s,
            "epochs_done": float(state.step // self._batches.steps_per_epoch),
        }

    def finish(self) -> None:
        """Where training may stop early, go back to the best epoch's weights."""
        best = self._state.best
        if best is not None:
            self._state.judged.load_state_dict(best.weights)

    def _take(self, batch: Batch, refill: Callable[[], None]) -> None:
        state = self._state
        state.loss_sum += self._step(batch, refill)
        state.step += 1
        if state.step % self._batches.steps_per_epoch == 0:
            self._end_epoch()
        elif time.monotonic() - self._reported >= REPORT_EVERY_S:
            self._report(self._loss(), {})
        if self._stop.is_set() and self._peers.is_first:  # who ends the others once it is on disk
            self._checkpoint()
            self._writer.wait()
            raise Stopped(state.step)
        if self._is_checkpoint_due():
            self._checkpoint()
        self._writer.begin_best()

    def _step(self, batch: Batch, refill: Callable[[], None]) -> float:
        state, parameters = self._state, self._recipe.parameters
        self._peers.seed_step(parameters.seed, state.step)
        images = torch.from_numpy(batch.images).to(self._device)
        with _precision(parameters, self._device):
            loss = self._recipe.step(self._network, images, on_device(batch.targets, self._device))
        value = float(self._peers.mean(loss.detach()))
        if not math.isfinite(value):
            epoch, step = divmod(state.step, self._batches.steps_per_epoch)
            raise Rejected(
                f"the loss became {value} in step {step + 1} of epoch {epoch + 1}; "
                "a smaller learning_rate may help"
            )
        state.optimizer.zero_grad(set_to_none=True)
        refill()  # while gradients are computed, Python has nothing else to do
        state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if parameters.clip_gradient:
            state.scaler.unscale_(state.optimizer)
            torch.nn.utils.clip_grad_norm_(state.model.parameters(), parameters.clip_gradient)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.average is not None:
            state.average.update(state.model)
        if state.step + 1 < self._steps:  # the schedule has no value past the last step
            state.schedule.step()
        return value

    def _end_epoch(self) -> None:
        state = self._state
        epoch = state.step // self._batches.steps_per_epoch
        figures = {"loss": self._loss()}
        if len(self._validation) and self._peers.is_first:
            metrics = judge(self._recipe, state.judged, self._validation).metrics
            figures |= {name: value for name, value in metrics.items() if ":" not in name}
        figures = self._peers.agreed(figures)
        self._train_mode()
        state.loss_sum = 0.0
        state.history.append({"epoch": float(epoch), **figures})
        self._report(figures["loss"], figures)
        if self._is_best(figures):
            self._note_best(figures, epoch)

    def _is_best(self, figures: dict[str, float]) -> bool:
        """Tell whether the epoch that ended is better than all before it."""
        headline = self._recipe.headline
        values = [improvement(entry, headline) for entry in self._state.history]
        return all(value < values[-1] for value in values[:-1])

    def _note_best(self, figures: dict[str, float], epoch: int) -> None:
        state = self._state
        if self._recipe.parameters.early_stopping_epochs:
            weights = {n: t.detach().clone() for n, t in state.judged.state_dict().items()}
            state.best = Best(improvement(figures, self._recipe.headline), epoch, weights)
        if self._peers.is_first:
            self._writer.save_best(state, epoch)

    def _is_over(self) -> bool:
        state = self._state
        if state.step % self._batches.steps_per_epoch:
            return False
        values = [improvement(entry, self._recipe.headline) for entry in state.history]
        patience = self._recipe.parameters.early_stopping_epochs
        return state.step >= self._steps or should_stop(values, patience)

    def _is_checkpoint_due(self) -> bool:
        parameters, since = self._recipe.parameters, self._state.step - self._saved_step
        if not since or self._state.step >= self._steps:
            return False
        every = parameters.checkpoint_every_steps
        if every and since >= every:
            return True
        wait_s = max(60 * parameters.checkpoint_every_minutes, self._writer.pause_s)
        return time.monotonic() - self._saved >= wait_s and not self._writer.is_busy

    def _checkpoint(self) -> None:
        state = self._state
        if self._peers.is_first and not (self._saved_step == state.step and state.step):
            self._writer.save(state, state.step // self._batches.steps_per_epoch)
        self._saved, self._saved_step = time.monotonic(), state.step

    def _train_mode(self) -> None:
        self._state.model.train()
        if self._frozen is not None:
            self._frozen.eval()  # its batch statistics stay as they are

    def _loss(self) -> float:
        done = self._state.step % self._batches.steps_per_epoch or self._batches.steps_per_epoch
        return float(self._state.loss_sum / done)

    def _report(self, loss: float, figures: dict[str, float]) -> None:
        self._reported = time.monotonic()
        if not self._peers.is_first:
            return
        state, per_epoch = self._state, self._batches.steps_per_epoch
        seconds = (self._reported - self._began) / max(state.step - self._first, 1)
        self._emit(
            Progress(
                epoch=state.step // per_epoch,
                epochs=self._epochs,
                step=state.step,
                steps=self._steps,
                loss=loss,
                metrics={name: value for name, value in figures.items() if name != "loss"},
                images_per_s=self._speed()["images_per_s"],
                eta_s=seconds * (self._steps - state.step),
                learning_rate=float(state.optimizer.param_groups[0]["lr"]),
            )
        )

    def _speed(self) -> dict[str, float]:
        seconds = time.monotonic() - self._began
        images = (self._state.step - self._first) * self._batches.batch_size
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


def _compiled(model: torch.nn.Module, parameters: RecipeParameters) -> torch.nn.Module:
    """Return the model as a step calls it; it shares its tensors with `model`."""
    if not parameters.compile or not next(model.parameters()).is_cuda:
        return model
    compiled: torch.nn.Module = torch.compile(model)  # type: ignore[assignment]
    return compiled


def _precision(
    parameters: RecipeParameters, device: torch.device
) -> contextlib.AbstractContextManager[object]:
    if device.type != "cuda" or parameters.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast("cuda", dtype=getattr(torch, parameters.precision))


def _frozen(recipe: Recipe[Any], model: torch.nn.Module) -> torch.nn.Module | None:
    return recipe.backbone(model) if recipe.parameters.freeze_backbone else None
