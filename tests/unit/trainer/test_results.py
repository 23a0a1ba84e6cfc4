"""What a training made is noted until it is committed, and counts only while it is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.trainer.adapters.results import NOTE, note, noted
from services.trainer.domain.job import Reports, Trained
from services.trainer.domain.manifest import InputFormat


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    """The report of a training that wrote its files."""

    def written(name: str) -> Path:
        path = tmp_path / name
        path.write_bytes(name.encode())
        return path

    return Trained(
        files=(written("model.onnx"), written("weights.safetensors")),
        weights_digest="0" * 64,
        input_format=InputFormat(28, 28, 1),
        metrics={"accuracy": 0.875},
        headline="accuracy",
        reports=Reports(evaluation=written("e"), outcomes=written("o"), page=written("p")),
        count=8,
        figures={"seconds": 1.25},
        device="cpu",
    )


def test_what_is_noted_is_found(tmp_path: Path, trained: Trained) -> None:
    assert noted(tmp_path) is None
    note(tmp_path, trained)
    assert noted(tmp_path) == trained


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors", "e", "o", "p", NOTE])
def test_what_is_not_whole_counts_for_nothing(tmp_path: Path, trained: Trained, name: str) -> None:
    note(tmp_path, trained)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-1])
    assert noted(tmp_path) is None
    (tmp_path / name).unlink()
    assert noted(tmp_path) is None
