"""Checkpoints: everything that the next step depends on, in one file that is whole or not there."""

from __future__ import annotations

import io
import random
import time
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
from services.trainer.domain.checkpoint import SUFFIX, CheckpointName, superseded
from services.trainer.training.average import Average
from services.trainer.training.peers import Peers

FORMAT: Final = 3
WRITING_SHARE: Final = 0.05
"""Of the time, at most, where checkpoints are due by the clock."""
BEST_EVERY_S: Final = 5.0
"""Where epochs take no time each is the best so far: the disk sees one of them in so long."""

log = structlog.get_logger()


@dataclass
class Best:
    """The best epoch so far, and the weights it ended with."""

    value: float
    epoch: int
    weights: dict[str, torch.Tensor]


@dataclass
class TrainingState:
    """What changes as training goes on."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    average: Average | None = None
    step: int = 0
    """Steps done, over all epochs. The sampler's position too: its order follows from the step."""
    loss_sum: float = 0.0
    """Over the steps of the current epoch."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Figures of every epoch so far."""
    best: Best | None = None
    """Kept where training may stop early: its weights are the model's then."""

    @property
    def judged(self) -> torch.nn.Module:
        """What is judged: the average, if there is one."""
        return self.average.model if self.average is not None else self.model


@dataclass(frozen=True)
class _Snapshot:
    """A checkpoint in memory."""

    contents: dict[str, Any]
    epoch: int
    is_best: bool


class CheckpointWriter:
    """Writes checkpoints beside the training, one at a time, and keeps the last few and the best.

    The training waits for a copy of the tensors in memory, not for the disk. Leaving the context
    waits for the last file.

    Args:
        folder: Where they go.
        saved: Told, from the writing thread, of each file that is there.
        kept: How many of the last are kept.
        best_every_s: Least time between two that are written for being the best.
    """

    def __init__(
        self,
        folder: Path,
        saved: Callable[[Path, CheckpointName], None],
        kept: int = 2,
        best_every_s: float = BEST_EVERY_S,
    ) -> None:
        self._folder = folder
        self._saved = saved
        self._kept = kept
        self._best_every_s = best_every_s
        self._best_due = time.monotonic() + best_every_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._pending: Future[None] | None = None
        self._best: _Snapshot | None = None  # waits for its turn
        self.stalled_s = 0.0
        """For how long training waited, over all checkpoints."""
        self.pause_s = 0.0
        """How long to wait before the next one, so that writing takes little of the time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        last = self._thread.submit(self._write_last, self._pending)
        self._thread.shutdown(wait=True)
        if kind is None:
            last.result()

    @property
    def is_busy(self) -> bool:
        """Whether one is being written: another would make the training wait."""
        return self._pending is not None and not self._pending.done()

    def save(self, state: TrainingState, epoch: int) -> None:
        """Begin to write a checkpoint, once the one before is written."""
        began = time.perf_counter()
        self.wait()
        snapshot = _Snapshot(_copied(_contents(state)), epoch, is_best=False)
        self._pending = self._thread.submit(self._write, snapshot)
        self.stalled_s += time.perf_counter() - began

    def save_best(self, state: TrainingState, epoch: int) -> None:
        """Have the best so far written when its turn comes; a better one may take its place."""
        began = time.perf_counter()
        self._best = _Snapshot(_copied(_contents(state)), epoch, is_best=True)
        self.stalled_s += time.perf_counter() - began

    def begin_best(self) -> None:
        """Begin to write the best so far, if one waits and it is its turn."""
        if self._best is None or self.is_busy or time.monotonic() < self._best_due:
            return
        self.wait()  # it is done; what it raised is not forgotten
        snapshot, self._best = self._best, None
        self._best_due = time.monotonic() + self._best_every_s
        self._pending = self._thread.submit(self._write, snapshot)

    def wait(self) -> None:
        """Wait until what was saved is on disk."""
        if self._pending is not None:
            self._pending.result()

    def _write_last(self, before: Future[None] | None) -> None:
        if before is not None:
            before.result()
        if self._best is not None:
            self._write(self._best)

    def _write(self, snapshot: _Snapshot) -> None:
        began = time.perf_counter()
        contents = snapshot.contents
        if not _is_finite(contents["model"]):
            log.warning("checkpoint_refused", step=contents["step"], reason="weights not finite")
            return
        data = _packed(contents)
        digest = sha256_hex(data)
        name = CheckpointName(contents["step"], snapshot.epoch, digest, snapshot.is_best)
        path = self._folder / name.file_name
        try:
            write_whole(path, data, durable=True)
        except OSError as error:  # a full disk: training goes on, those before are there
            log.warning("checkpoint_not_written", path=path.name, reason=str(error))
            return
        names = [n for p in found(self._folder) if (n := CheckpointName.parse(p.name)) is not None]
        for old in superseded(names, self._kept):
            (self._folder / old.file_name).unlink(missing_ok=True)
        self.pause_s = (time.perf_counter() - began) / WRITING_SHARE
        self._saved(path, name)


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
        restore(state, contents)
        return path
    return None


def begin_together(state: TrainingState, peers: Peers) -> None:
    """Bring every peer's state to the first one's: weights, optimiser, position, generators."""
    if peers.count == 1:
        return
    packed = bytes(_packed(_contents(state))) if peers.is_first else b""
    restore(state, _unpacked(peers.agreed(packed)))


def _packed(contents: dict[str, Any]) -> memoryview:
    buffer = io.BytesIO()
    torch.save(contents, buffer)
    return buffer.getbuffer()


def _unpacked(data: bytes) -> dict[str, Any]:
    contents: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return contents


def _read(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    name = CheckpointName.parse(path.name)
    if name is None or sha256_hex(data) != name.digest:
        raise ValueError("its bytes do not hash to its name")
    contents = _unpacked(data)
    if contents["format"] != FORMAT:
        raise ValueError(f"its format is {contents['format']}, not {FORMAT}")
    return contents


def _contents(state: TrainingState) -> dict[str, Any]:
    _, numpy_keys, *numpy_rest = np.random.get_state(legacy=True)
    version, python_keys, next_normal = random.getstate()
    return {
        "format": FORMAT,
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "schedule": state.schedule.state_dict(),
        "scaler": state.scaler.state_dict(),
        "average": state.average.state_dict() if state.average is not None else None,
        "step": state.step,
        "loss_sum": state.loss_sum,
        "history": state.history,
        "best": vars(state.best) if state.best is not None else None,
        "random": {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "python": (version, torch.tensor(python_keys, dtype=torch.int64), next_normal),
            "numpy": (torch.from_numpy(np.asarray(numpy_keys, np.int64)), *numpy_rest),
        },
    }


def _copied(value: Any) -> Any:
    """Return nested containers with every tensor copied, so that training can go on."""
    if isinstance(value, torch.Tensor):
        # One copy: to the CPU if it is elsewhere, else a clone.
        return value.detach().to("cpu") if value.is_cuda else value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value


def _is_finite(tensors: dict[str, torch.Tensor]) -> bool:
    return all(
        bool(torch.isfinite(tensor).all())
        for tensor in tensors.values()
        if tensor.is_floating_point()
    )


def restore(state: TrainingState, contents: dict[str, Any]) -> None:
    """Bring `state` and every generator of random numbers to what a checkpoint holds."""
    state.model.load_state_dict(contents["model"])
    state.optimizer.load_state_dict(contents["optimizer"])
    state.schedule.load_state_dict(contents["schedule"])
    state.scaler.load_state_dict(contents["scaler"])
    if state.average is not None:
        state.average.load_state_dict(contents["average"])
    state.step = contents["step"]
    state.loss_sum = contents["loss_sum"]
    state.history = contents["history"]
    state.best = Best(**contents["best"]) if contents["best"] is not None else None
    saved = contents["random"]
    torch.set_rng_state(saved["torch"])
    if saved["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(saved["cuda"])
    version, python_keys, next_normal = saved["python"]
    random.setstate((version, tuple(python_keys.tolist()), next_normal))
    keys, *rest = saved["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))
