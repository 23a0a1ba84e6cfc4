"""Trainings that several processes share."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import safetensors.numpy

from loopline.testing.products import Product
from services.trainer.domain.job import CheckpointSaved, Failed, Progress, Report, Stopped, Trained
from services.trainer.recipes.registry import checked_parameters, find_recipe
from services.trainer.training import session, team
from tests.unit.trainer.workshop import write_job

pytestmark = [pytest.mark.usefixtures("with_house_recipes"), pytest.mark.slow]

PARAMETERS: dict[str, Any] = {"epochs": 2, "batch_size": 16, "checkpoint_every_steps": 2}


class Listener:
    """Hears what a team reports."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.stop = threading.Event()
        self.on_checkpoint: Callable[[], None] = threading.Event().set

    def __call__(self, report: Report) -> None:
        self.reports.append(report)
        if isinstance(report, CheckpointSaved):
            self.on_checkpoint()


def shared(
    recipe: str, catalogue: list[Product], folder: Path, listener: Listener, **changes: Any
) -> Report:
    job = write_job(catalogue, folder)
    assignment = team.Assignment(recipe=recipe, parameters=PARAMETERS | changes, job=job)
    return team.train(assignment, 2, listener, listener.stop)


def alone(recipe: str, catalogue: list[Product], folder: Path, **changes: Any) -> Trained:
    found = find_recipe(recipe)
    parameters = checked_parameters(found, PARAMETERS | changes)
    job = write_job(catalogue, folder)
    trained = session.train(found, recipe, parameters, job, lambda _: None)
    assert trained is not None
    return trained


def tensors(trained: Trained) -> dict[str, Any]:
    [path] = [path for path in trained.files if path.name == "weights.safetensors"]
    return safetensors.numpy.load(path.read_bytes())


def test_two_processes_make_what_one_makes_but_for_rounding(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    listener = Listener()
    others, open_at = listening_addresses(), set[tuple[str, int]]()
    listener.on_checkpoint = lambda: open_at.update(listening_addresses() - others)
    # No dropout: each process has its own.
    both = shared("steady", small_catalogue, tmp_path / "both", listener, processes=2)
    assert isinstance(both, Trained), both
    one = alone("steady", small_catalogue, tmp_path / "one")
    theirs, ours = tensors(both), tensors(one)
    assert theirs.keys() == ours.keys()
    for name in ours:
        assert np.allclose(theirs[name], ours[name], atol=1e-4), name
    assert both.metrics["accuracy"] == pytest.approx(one.metrics["accuracy"], abs=0.03)
    assert both.figures["steps"] == one.figures["steps"]
    saved = [r.path for r in listener.reports if isinstance(r, CheckpointSaved)]
    assert len(saved) == len(set(saved)) > 0  # of the first process alone
    epochs = [r.epoch for r in listener.reports if isinstance(r, Progress) and r.metrics]
    assert epochs == [1, 2]
    assert {ip for ip, _ in open_at} == {"127.0.0.1"}  # of the launcher and of all members


def test_a_killed_process_fails_the_attempt_and_the_next_goes_on_from_the_checkpoint(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    listener = Listener()
    killed: list[int] = []

    def kill() -> None:
        if not killed:
            killed.append(member_pids()[-1])
            os.kill(killed[0], signal.SIGKILL)

    listener.on_checkpoint = kill
    failed = shared("slow", small_catalogue, tmp_path, listener, processes=2, epochs=4)
    assert isinstance(failed, Failed)
    assert failed.kind == "killed"
    assert "was killed (SIGKILL)" in failed.reason
    assert member_pids() == []

    again = shared("slow", small_catalogue, tmp_path, Listener(), processes=2, epochs=4)
    assert isinstance(again, Trained), again
    assert again.figures["resumed_at_step"] >= 2


def test_a_team_that_is_told_to_stop_leaves_a_checkpoint(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    listener = Listener()
    listener.on_checkpoint = listener.stop.set
    ended = shared("slow", small_catalogue, tmp_path, listener, processes=2, epochs=40)
    assert isinstance(ended, Stopped), ended
    names = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert max(int(name[:9]) for name in names) == ended.step


def test_what_goes_wrong_in_one_process_is_the_reason(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    failed = shared("broken", small_catalogue, tmp_path, Listener(), processes=2)
    assert isinstance(failed, Failed)
    assert failed.kind == "crashed"
    assert "the third step is too much" in failed.reason


def test_a_batch_that_cannot_be_shared_evenly_is_refused(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    failed = shared("tiny", small_catalogue, tmp_path, Listener(), processes=2, batch_size=15)
    assert isinstance(failed, Failed)
    assert failed.kind == "rejected"
    assert "15 images cannot be shared evenly by 2 processes" in failed.reason


def member_pids() -> list[int]:
    """Return the processes that share a training with this one's as their parent, oldest first."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = status.read_bytes().split(b"\0")
            parent = int((status.parent / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if team.MEMBER.encode() in words and parent == os.getpid():
            found.append(int(status.parent.name))
    return sorted(found)


def listening_addresses() -> set[tuple[str, int]]:
    """Return where this process and those that share a training take connections."""
    return {
        (connection.laddr.ip, connection.laddr.port)
        for pid in (os.getpid(), *member_pids())
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_an_assignment_is_read_as_it_was_written(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    job = write_job(small_catalogue, tmp_path)
    assignment = team.Assignment(recipe="tiny", parameters=PARAMETERS, job=job)
    assert team.ASSIGNMENT.validate_python(json.loads(assignment.model_dump_json())) == assignment


def test_the_interface_of_an_address_is_found() -> None:
    assert team.interface_of("127.0.0.1") == team.interface_of("localhost") == "lo"
    assert team.interface_of("192.0.2.1") == ""  # of nobody: kept for documents
