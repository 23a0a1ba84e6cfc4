"""Checkpoints: everything that the next step depends on, in one file that is whole or not there."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import structlog
import torch

from loopline.digests import sha256_hex
from services.trainer.adapters.files import write_whole

KEPT: Final = 2  # the newest, and the one before in case it cannot be read
SUFFIX: Final = ".ckpt"
FORMAT: Final = 1

log = structlog.get_logger()


@dataclass
class TrainingState:
    """What changes as training goes on."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    step: int = 0
    """Steps done, over all epochs."""
    loss_sum: float = 0.0
    """Over the steps of the current epoch."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Figures of every epoch so far."""


class CheckpointWriter:
    """Writes checkpoints beside the training, one at a time, and keeps the newest `KEPT`.

    The training waits for a copy of the tensors in memory, not for the disk. Leaving the context
    waits for the last file.

    Args:
        folder: Where they go.
        saved: Told, from the writing thread, of each file that is there, and its epoch.
    """

    def __init__(self, folder: Path, saved: Callable[[Path, int], None]) -> None:
        self._folder = folder
        self._saved = saved
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown(wait=True)
        if kind is None and self._pending is not None:
            self._pending.result()

    def save(self, state: TrainingState, epoch: int) -> None:
        """Begin to write a checkpoint after `epoch` epochs, once the one before is written."""
        if self._pending is not None:
            self._pending.result()
        contents = _copied(_contents(state))
        self._pending = self._thread.submit(self._write, contents, epoch)

    def _write(self, contents: dict[str, Any], epoch: int) -> None:
        """Write a file whose name carries the sha256 of its bytes: damage is known as such."""
        buffer = io.BytesIO()
        torch.save(contents, buffer)
        data = buffer.getbuffer()
        path = self._folder / f"{epoch:05d}-{sha256_hex(data)}{SUFFIX}"
        write_whole(path, data, durable=True)
        for old in found(self._folder)[KEPT:]:
            old.unlink(missing_ok=True)
        self._saved(path, epoch)


def found(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the furthest first."""
    return sorted(folder.glob(f"*{SUFFIX}"), reverse=True)


def restore_first(state: TrainingState, candidates: Sequence[Path]) -> Path | None:
    """Bring `state` to the first checkpoint that can be read; None if none can."""
    for path in candidates:
        try:
            contents = _read(path)
        except Exception as error:  # a damaged file may fail anywhere in torch.load
            log.warning("checkpoint_refused", path=path.name, reason=str(error))
            continue
        _restore(state, contents)
        return path
    return None


def _read(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    expected = path.name.removesuffix(SUFFIX).rpartition("-")[2]
    if sha256_hex(data) != expected:
        raise ValueError("its bytes do not hash to its name")
    contents: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if contents["format"] != FORMAT:
        raise ValueError(f"its format is {contents['format']}, not {FORMAT}")
    return contents


def _contents(state: TrainingState) -> dict[str, Any]:
    _, numpy_keys, *numpy_rest = np.random.get_state(legacy=True)
    return {
        "format": FORMAT,
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "schedule": state.schedule.state_dict(),
        "step": state.step,
        "loss_sum": state.loss_sum,
        "history": state.history,
        "random": {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "python": random.getstate(),
            "numpy": (torch.from_numpy(np.asarray(numpy_keys, np.int64)), *numpy_rest),
        },
    }


def _copied(value: Any) -> Any:
    """Return nested containers with every tensor copied, so that training can go on."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value


def _restore(state: TrainingState, contents: dict[str, Any]) -> None:
    state.model.load_state_dict(contents["model"])
    state.optimizer.load_state_dict(contents["optimizer"])
    state.schedule.load_state_dict(contents["schedule"])
    state.step = contents["step"]
    state.loss_sum = contents["loss_sum"]
    state.history = contents["history"]
    saved = contents["random"]
    torch.set_rng_state(saved["torch"])
    if saved["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(saved["cuda"])
    random.setstate(saved["python"])
    keys, *rest = saved["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))
