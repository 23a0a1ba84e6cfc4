"""Data that a detector or segmenter can learn little or nothing from: said, or lived with."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.trainer.domain.examples import Annotation
from services.trainer.domain.job import (
    PLACED,
    REPORT,
    Describe,
    Failed,
    Placed,
    Report,
    Train,
    Trained,
)
from services.trainer.train import Program
from tests.unit.trainer.nuclei import placed

QUICK: dict[str, dict[str, Any]] = {
    "detection": {"width": 8, "boxes_max": 20},
    "segmentation": {"backbone": "lcnet_035", "width": 16},
}
COMMON = {"epochs": 1, "batch_size": 2, "image_size": 64, "validation_share": 0}
SHAPES = {
    "detection": (Annotation("nucleus"), "boxes, polygons or masks"),
    "segmentation": (Annotation("nucleus", bbox_xyxy=(1, 1, 9, 9)), "polygons or masks"),
}


def trained(
    recipe: str, classes: tuple[str, ...], some: Iterable[Placed], folder: Path, **given: Any
) -> Report:
    examples = folder / "examples.jsonl"
    examples.write_bytes(b"".join(PLACED.dump_json(one) + b"\n" for one in some))
    reports = io.BytesIO()
    program = Program(reports)
    parameters = COMMON | QUICK[recipe] | given
    for command in (
        Describe(recipe=recipe, parameters=parameters),
        Train(dataset="cells@v1", classes=classes, examples_file=examples, folder=folder),
    ):
        program.handle(command.model_dump_json().encode())
    return REPORT.validate_json(reports.getvalue().splitlines()[-1])


def labeled(one: Placed, *annotations: Annotation) -> Placed:
    return replace(one, example=replace(one.example, annotations=annotations))


@pytest.mark.parametrize("recipe", QUICK)
def test_labels_of_another_shape_are_refused_and_what_is_needed_is_said(
    recipe: str, tmp_path: Path
) -> None:
    shape, needs = SHAPES[recipe]
    some = [labeled(one, shape) for one in (*placed(split="train")[:2], *placed()[:1])]
    last = trained(recipe, ("nucleus",), some, tmp_path)
    assert isinstance(last, Failed)
    assert last.reason == (
        f"cells@v1: no label of split 'train' can be used for {recipe}, which learns from {needs}"
    )


@pytest.mark.parametrize("recipe", QUICK)
def test_a_class_of_which_nothing_can_be_learned_is_named(recipe: str, tmp_path: Path) -> None:
    first, *others = placed(split="train")[:2]
    whole = replace(SHAPES[recipe][0], class_name="mitosis")
    some = [labeled(first, whole, *first.example.annotations), *others, *placed()]
    last = trained(recipe, ("mitosis", "nucleus"), some, tmp_path)
    assert isinstance(last, Failed)
    assert last.reason.startswith("cells@v1: no label of class 'mitosis' in split 'train' can be")


@pytest.mark.parametrize("recipe", QUICK)
def test_a_class_with_one_object_and_a_split_without_it_are_lived_with(
    recipe: str, tmp_path: Path
) -> None:
    """One nucleus of one training image is of a class of its own; no test image has it."""
    first, *others = placed(split="train")[:4]
    rare = replace(first.example.annotations[0], class_name="mitosis")
    some = [labeled(first, rare, *first.example.annotations[1:]), *others, *placed()]
    last = trained(recipe, ("mitosis", "nucleus"), some, tmp_path, balance="loss")
    assert isinstance(last, Trained), last
    assert last.count == len(placed())


@pytest.mark.parametrize("recipe", QUICK)
def test_images_of_nothing_are_learned_from_and_measured(recipe: str, tmp_path: Path) -> None:
    first, *others = placed(split="train")[:4]
    some = [labeled(first), *others, labeled(placed()[0]), *placed()[1:]]
    last = trained(recipe, ("nucleus",), some, tmp_path)
    assert isinstance(last, Trained), last
    assert last.figures["unusable"] == 0


def test_a_damaged_mask_is_refused_with_its_image(tmp_path: Path) -> None:
    first, *others = placed(split="train")[:2]
    damaged = labeled(first, Annotation("nucleus", mask_rle="0"))
    last = trained("detection", ("nucleus",), [damaged, *others, *placed()], tmp_path)
    assert isinstance(last, Failed)
    assert last.kind == "rejected"
    assert "its mask is damaged" in last.reason


def test_the_refusal_of_a_parameter_names_it_and_the_nearest_one() -> None:
    reports = io.BytesIO()
    ask = Describe(recipe="detection", parameters={"bakbone": "lcnet_050"})
    Program(reports).handle(ask.model_dump_json().encode())
    [failed] = [REPORT.validate_json(line) for line in reports.getvalue().splitlines()]
    assert isinstance(failed, Failed)
    assert failed.reason == "parameters: unknown parameter 'bakbone', did you mean 'backbone'?"
