"""The card of a model version says what the log and the report say."""

from __future__ import annotations

import numpy as np
import pytest

from loopline.contracts import (
    Actor,
    Agent,
    ArtefactKind,
    ArtefactRef,
    Commit,
    DatasetCommitted,
    Environment,
    ModelCommitted,
    ModelFile,
    Preprocessing,
    Run,
    RunKind,
)
from loopline.evaluation.classification import evaluate_classification
from loopline.evaluation.images import ImageFacts
from loopline.evaluation.report import Report
from loopline.reports.card import Facts, render

MODEL = ArtefactRef(kind=ArtefactKind.ARTEFACT_KIND_MODEL, name="shop", version=3, digest="a" * 64)
DATASET = ArtefactRef(
    kind=ArtefactKind.ARTEFACT_KIND_DATASET, name="photos", version=2, digest="b" * 64,
    role="train_on",
)  # fmt: skip


def model(kind: RunKind = RunKind.RUN_KIND_TRAIN) -> ModelCommitted:
    run = Run(
        id="c" * 64,
        kind=kind,
        inputs=[DATASET],
        environment=Environment(code_digest="d" * 64, python="CPython 3.11", device="cpu"),
        actor=Actor(kind="user", name="ada"),
        agent=Agent(id="trainer-1", host="lab"),
    )
    run.started_at.FromSeconds(1_767_225_600)
    run.finished_at.FromSeconds(1_767_225_690)
    run.parameters.update({"epochs": 12, "augmentation": {"rotate_degrees": 10.5}, "note": "a|b"})
    message = ModelCommitted(
        commit=Commit(artefact=MODEL, run=run, summary="classification on photos@v2"),
        task="classification",
        recipe="classification",
        classes=["coat", "shirt"],
        preprocessing=Preprocessing(height_px=40, width_px=40, channels=1),
        files=[ModelFile(name="model.onnx", digest="e" * 64, size_bytes=123_456)],
    )
    message.commit.committed_at.FromSeconds(1_767_225_700)
    return message


def dataset() -> DatasetCommitted:
    return DatasetCommitted(
        commit=Commit(artefact=DATASET),
        classes=["coat", "shirt"],
        statistics={"items": 900, "labeled": 800, "split:train": 600, "split:test": 200,
                    "labeled:test": 200, "class:coat": 300},
        test_split_digest="f" * 64,
    )  # fmt: skip


def measured() -> Report:
    """200 images; a quarter of the coats is taken for shirts; at night half of all is wrong."""
    targets = np.array([0] * 100 + [1] * 100)
    said = targets.copy()
    said[:25] = 1
    images = [ImageFacts(f"{n:064}", 28, 28, ("night",) if n < 50 else ()) for n in range(200)]
    probabilities = np.where(np.eye(2)[said] == 1, 0.9, 0.1)
    return evaluate_classification(
        probabilities, targets, ["coat", "shirt"], images
    ).report.model_copy(update={"dataset": "photos@v2", "split": "test"})


def card(**changes: object) -> str:
    given = {
        "model": model(), "report": measured(), "dataset": dataset(), "aliases": ["champion"],
        "sequence": 17,
    }  # fmt: skip
    return render(Facts(**(given | changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said",
    [
        "# shop@v3 (champion)",
        "| input | 40×40 px, grey; images are stretched to it |",
        "| test | 200 | 200 |",
        "| coat | 300 |",
        "| Accuracy | 0.875 |",
        "| coat | 100 | 1.000 | 0.750 | 0.857 | 0.875 |",
        "between 0.822 and 0.914 with 95% confidence",
        "Weakest classes by F1: coat (0.86), shirt (0.89).",
        "Most often confused: coat taken for shirt (25).",
        "Weaker on some of the images: tag night (Accuracy 0.50 on 50).",
        "always answers with one of its classes (coat, shirt)",
        f"| run | train `{'c' * 64}` |",
        "| asked for by | user ada |",
        "| when | 2026-01-01 00:00:00 UTC, 90 s |",
        f"| train_on | photos@v2 | `{'b' * 64}` |",
        "| augmentation.rotate_degrees | `10.5` |",
        "| epochs | `12` |",
        "| note | `a\\|b` |",
        f"| model.onnx | 123,456 | `{'e' * 64}` |",
        "sequence 17",
    ],
)
def test_a_card_says(said: str) -> None:
    assert said in card()


def test_every_table_has_as_many_cells_as_its_head() -> None:
    rows = [line for line in card().splitlines() if line.startswith("|")]
    width = 0
    for row in rows:
        cells = row.replace("\\|", "").count("|")
        if row.startswith("|---"):
            assert cells == width
        width = cells


def test_a_version_that_was_never_measured_says_so() -> None:
    text = card(report=None, dataset=None, aliases=[])
    assert "It was never measured." in text
    assert "Nothing is known of how good it is." in text
    assert "does not say what it was trained on" in text


def test_a_quantized_version_says_so() -> None:
    assert "8 bit integers" in card(model=model(RunKind.RUN_KIND_QUANTIZE))


def test_the_same_facts_give_the_same_card() -> None:
    assert card() == card()
