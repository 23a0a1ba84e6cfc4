"""Which checkpoints are written while the disk is slower than the training."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from services.trainer.domain.checkpoint import CheckpointName
from services.trainer.training.checkpoints import CheckpointWriter, TrainingState


@pytest.fixture
def state() -> TrainingState:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    return TrainingState(model, optimizer, schedule, torch.amp.GradScaler(enabled=False))


def test_the_best_waits_for_the_disk_and_training_for_none(
    state: TrainingState, tmp_path: Path
) -> None:
    disk = threading.Event()
    written: list[CheckpointName] = []

    def saved(_: Path, name: CheckpointName) -> None:
        written.append(name)
        assert disk.wait(30)

    with CheckpointWriter(tmp_path, saved) as writer:
        writer.save(state, 0)
        for state.step in (1, 2, 3):
            writer.save_best(state, state.step)
        assert writer.is_busy
        disk.set()
    assert [(name.step, name.is_best) for name in written] == [(0, False), (3, True)]


def test_what_one_raised_is_not_forgotten_when_the_best_follows(
    state: TrainingState, tmp_path: Path
) -> None:
    def broken(_: Path, name: CheckpointName) -> None:
        raise BrokenPipeError(name.step)

    with pytest.raises(BrokenPipeError), CheckpointWriter(tmp_path, broken) as writer:  # noqa: PT012
        writer.save(state, 0)
        writer.save_best(state, 0)
