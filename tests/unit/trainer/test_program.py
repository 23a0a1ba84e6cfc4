"""What the training program answers to commands, whatever a recipe does. No process is started."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from loopline.testing.products import Product, products
from services.trainer.domain.examples import Annotation, Example
from services.trainer.domain.job import (
    PLACED,
    REPORT,
    Described,
    Failed,
    Message,
    Placed,
    Report,
    Train,
    Trained,
)
from services.trainer.domain.job import Describe as Ask
from services.trainer.train import Program
from tests.unit.trainer.workshop import CLASSES, write_job

pytestmark = pytest.mark.usefixtures("with_house_recipes")


def answers(*commands: Message | bytes) -> list[Report]:
    reports = io.BytesIO()
    program = Program(reports)
    for command in commands:
        line = command if isinstance(command, bytes) else command.model_dump_json().encode()
        program.handle(line)
    return [REPORT.validate_json(line) for line in reports.getvalue().splitlines()]


def ask(recipe: str, **parameters: Any) -> Ask:
    return Ask(recipe=recipe, parameters={"epochs": 1, "batch_size": 8} | parameters)


def failure(recipe: str, catalogue: list[Product], folder: Path) -> Failed:
    last = answers(ask(recipe), write_job(catalogue, folder))[-1]
    assert isinstance(last, Failed)
    return last


def test_a_description_has_every_parameter() -> None:
    [described] = answers(ask("classification", epochs=7))
    assert isinstance(described, Described)
    assert described.task == "classification"
    assert described.parameters["epochs"] == 7
    assert described.parameters["augmentation"]["flip_horizontal"] is True


def test_the_recipe_s_own_source_is_part_of_its_code_digest() -> None:
    [own] = answers(ask("tiny"))
    [built_in] = answers(ask("classification"))
    assert isinstance(own, Described)
    assert isinstance(built_in, Described)
    assert own.code_digest != built_in.code_digest


def test_training_ends_with_what_was_made(small_catalogue: list[Product], tmp_path: Path) -> None:
    assert isinstance(answers(ask("tiny"), write_job(small_catalogue, tmp_path))[-1], Trained)


def test_a_recipe_that_raises_is_answered_with_what_and_where(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    failed = failure("broken", small_catalogue, tmp_path)
    assert failed.kind == "crashed"
    assert failed.reason.startswith("ValueError: the third step is too much (house_recipes.py:")


def test_a_loss_that_is_not_a_number_stops_and_says_where_and_keeps_the_last_checkpoint(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    [_, *reports] = answers(
        ask("nan", epochs=3, batch_size=57, checkpoint_every_steps=1),
        write_job(small_catalogue, tmp_path),
    )
    last = reports[-1]
    assert isinstance(last, Failed)
    assert last.kind == "rejected"
    assert "the loss became nan in step 1 of epoch 3" in last.reason
    assert [p.name[8] for p in sorted(tmp_path.glob("checkpoints/*"))] == ["1", "2"]


def test_out_of_memory_is_called_so(small_catalogue: list[Product], tmp_path: Path) -> None:
    failed = failure("greedy", small_catalogue, tmp_path)
    assert failed.kind == "out_of_memory"
    assert "cannot allocate memory for a picture" in failed.reason


def test_a_batch_that_cannot_be_made_is_called_so(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    failed = failure("clumsy", small_catalogue, tmp_path)
    assert failed.kind == "loader"
    assert failed.reason.startswith("IndexError: the second image is missing (house_recipes.py:")


def test_an_image_that_is_none_is_named(small_catalogue: list[Product], tmp_path: Path) -> None:
    job = write_job(small_catalogue, tmp_path)
    broken = small_catalogue[0].asset
    (tmp_path / "assets" / broken).write_bytes(b"no image")
    last = answers(ask("tiny"), job)[-1]
    assert isinstance(last, Failed)
    assert last.kind == "rejected"
    assert broken[:12] in last.reason


def test_labels_of_another_task_are_refused(tmp_path: Path) -> None:
    boxes = Annotation("coat", bbox_xyxy=(1.0, 1.0, 9.0, 9.0))
    examples = tmp_path / "examples.jsonl"
    lines = []
    for number, split in enumerate(("train", "test")):
        product = products(2, 0, CLASSES)[number]
        (tmp_path / product.asset).write_bytes(product.data)
        example = Example(product.asset, split, (boxes,), 28, 28)
        lines.append(PLACED.dump_json(Placed(example, tmp_path / product.asset)))
    examples.write_bytes(b"\n".join(lines))
    job = Train(dataset="shop@v1", classes=CLASSES, examples_file=examples, folder=tmp_path)
    last = answers(ask("tiny"), job)[-1]
    assert isinstance(last, Failed)
    assert last.reason == (
        "shop@v1: no label of split 'train' can be used for classification, "
        "which learns from a class of the whole image"
    )


def test_training_before_a_description_is_refused(
    small_catalogue: list[Product], tmp_path: Path
) -> None:
    [failed] = answers(write_job(small_catalogue, tmp_path))
    assert isinstance(failed, Failed)
    assert "must be described" in failed.reason


def test_a_line_that_is_no_command_is_answered_and_the_next_one_heard() -> None:
    failed, described = answers(b'{"do": "dance"}', ask("tiny"))
    assert isinstance(failed, Failed)
    assert isinstance(described, Described)
