"""Which checkpoints are written, and when, while the disk is slower than the training."""

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

    with CheckpointWriter(tmp_path, saved, best_every_s=0) as writer:
        writer.save(state, 0)
        for state.step in (1, 2, 3):
            writer.save_best(state, state.step)
            writer.begin_best()
        assert writer.is_busy
        disk.set()
    assert [(name.step, name.is_best) for name in written] == [(0, False), (3, True)]


def test_where_epochs_take_no_time_the_disk_sees_the_best_of_them_alone(
    state: TrainingState, tmp_path: Path
) -> None:
    written: list[CheckpointName] = []
    with CheckpointWriter(tmp_path, lambda _, name: written.append(name)) as writer:
        for state.step in range(20):
            writer.save_best(state, state.step)
            writer.begin_best()
        assert not writer.is_busy
    assert [(name.step, name.is_best) for name in written] == [(19, True)]


def test_the_best_is_written_in_its_turn(state: TrainingState, tmp_path: Path) -> None:
    written: list[int] = []
    with CheckpointWriter(
        tmp_path, lambda _, name: written.append(name.step), best_every_s=0
    ) as writer:
        for state.step in (1, 2):
            writer.save_best(state, state.step)
            writer.begin_best()
            writer.wait()
        writer.begin_best()
        assert written == [1, 2]
    assert written == [1, 2]


def test_what_one_raised_is_not_forgotten_when_the_best_follows(
    state: TrainingState, tmp_path: Path
) -> None:
    def broken(_: Path, name: CheckpointName) -> None:
        raise BrokenPipeError(name.step)

    with pytest.raises(BrokenPipeError), CheckpointWriter(tmp_path, broken) as writer:  # noqa: PT012
        writer.save(state, 0)
        writer.save_best(state, 0)
