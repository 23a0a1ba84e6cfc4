"""A model version is what its manifest says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.trainer.domain.manifest import InputFormat, Manifest, StoredFile

FILES = (StoredFile("model.onnx", "a" * 64, 10), StoredFile("recipe.json", "b" * 64, 5))
MANIFEST = Manifest(
    "classification", "classification", ("coat", "shirt"), InputFormat(40, 40, 1), FILES
)


def test_the_order_of_the_files_does_not_matter() -> None:
    assert replace(MANIFEST, files=FILES[::-1]).digest == MANIFEST.digest


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(MANIFEST, classes=("shirt", "coat")), id="order of the classes"),
        pytest.param(replace(MANIFEST, input_format=InputFormat(40, 40, 3)), id="input"),
        pytest.param(replace(MANIFEST, files=FILES[:1]), id="files"),
        pytest.param(replace(MANIFEST, recipe="mine"), id="recipe"),
    ],
)
def test_whatever_changes_what_is_served_changes_the_digest(other: Manifest) -> None:
    assert other.digest != MANIFEST.digest
