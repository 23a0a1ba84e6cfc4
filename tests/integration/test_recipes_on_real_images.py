"""Each recipe reaches what is promised of it, on real images and within its time.

The training program is run as the service runs it: command in, reports out, in a process whose
CPU time is its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import onnx
import pytest

from loopline.demo.images import read_pictures
from loopline.demo.scenes import TRAININGS, Training, data_folder
from loopline.digests import sha256_hex
from loopline.formats import coco
from loopline.vision.headers import read_header
from services.trainer.domain.examples import Annotation, Example
from services.trainer.domain.job import PLACED, REPORT, Describe, Placed, Train, Trained
from tests.integration.inference_pipeline import check_pipeline

FASHION_PARTS = {"labeled": "train", "unlabeled": "train", "test": "test"}
FASHION_TRAINED = 2350  # what the demo's second model has: 1,350 and the 1,000 that are asked for


def examples(training: Training, folder: Path) -> Iterator[Placed]:
    if training.data == "fashion":
        yield from fashion(folder)
    elif training.data == "photos":
        yield from photos()
    else:
        yield from drawn(training.data)


def fashion(folder: Path) -> Iterator[Placed]:
    trained = 0
    for picture in read_pictures():
        split = FASHION_PARTS.get(picture.part, "")
        trained += split == "train"
        if not split or (split == "train" and trained > FASHION_TRAINED):
            continue
        path = folder / sha256_hex(picture.data)
        path.write_bytes(picture.data)
        yield Placed(one(path, split, (Annotation(picture.class_name),)), path)


def photos() -> Iterator[Placed]:
    """Every third tile is for testing."""
    for folder in sorted(p for p in data_folder("photos").iterdir() if p.is_dir()):
        for number, path in enumerate(sorted(folder.glob("*.jpg"))):
            split = "train" if number % 3 else "test"
            yield Placed(one(path, split, (Annotation(folder.name),)), path)


def drawn(name: str) -> Iterator[Placed]:
    root = data_folder(name)
    for image in coco.read(root / "labels.json"):
        shapes = tuple(
            Annotation(s.class_name, s.bbox_xyxy, s.polygon, s.mask_rle) for s in image.shapes
        )
        yield Placed(one(root / image.file_name, image.split, shapes), root / image.file_name)


def one(path: Path, split: str, annotations: tuple[Annotation, ...]) -> Example:
    header = read_header(path.read_bytes())
    return Example(path.name, split, annotations, header.width_px, header.height_px)


def carried_out(
    training: Training, placed: Sequence[Placed], folder: Path
) -> tuple[Trained, float]:
    """Run the training process; return its last report and the CPU-seconds it took."""
    lines = folder / "examples.jsonl"
    lines.write_bytes(b"".join(PLACED.dump_json(example) + b"\n" for example in placed))
    classes = tuple(sorted({name for p in placed for name in p.example.class_names}))
    commands = (
        Describe(recipe=training.recipe, parameters=training.parameters),
        Train(dataset="shown@v1", classes=classes, examples_file=lines, folder=folder),
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.run(
        [sys.executable, "-m", "services.trainer.train", str(os.getpid()), "5"],
        input="".join(command.model_dump_json() + "\n" for command in commands),
        capture_output=True,
        text=True,
        env=os.environ
        | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    last = REPORT.validate_json(process.stdout.splitlines()[-1])
    assert isinstance(last, Trained), (last, process.stderr[-2000:])
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return last, cpu_s


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", TRAININGS)
def test_a_recipe_reaches_its_figure_in_its_time(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    training = TRAININGS[name]
    placed = list(examples(training, tmp_path))
    trained, cpu_s = carried_out(training, placed, tmp_path)
    reached = trained.metrics[training.metric]
    record_property(training.metric, reached)
    record_property("cpu_s", cpu_s)
    print(f"{name}: {training.metric} {reached:.3f} in {cpu_s:.0f} CPU-s")
    assert reached >= training.metric_min
    assert cpu_s <= training.cpu_s_max
    assert trained.figures["onnx_parity"] <= 1e-4
    assert trained.figures["onnx_parity_metrics"] <= 1e-3


def test_the_graph_says_its_opset_and_what_goes_in_and_out_and_works_in_a_pipeline(
    tmp_path: Path,
) -> None:
    training = TRAININGS["nuclei-boxes"]
    short = Training("detection", "nuclei", "map50", 0, 0, training.parameters | {"epochs": 1})
    placed = list(examples(short, tmp_path))
    trained, _ = carried_out(short, placed, tmp_path)
    [path] = [path for path in trained.files if path.name == "model.onnx"]
    model = onnx.load(path)
    stated = {entry.key: entry.value for entry in model.metadata_props}
    assert stated["opset"] == str(model.opset_import[0].version) == "20"
    assert stated["task"] == "detection"
    assert json.loads(stated["classes"]) == ["nucleus"]
    assert json.loads(stated["preprocessing"]) == {
        "channels": 1,
        "fit": "letterbox",
        "height_px": 128,
        "interpolation": "area",
        "width_px": 128,
    }
    assert "non-maximum suppression" in stated["postprocessing"]
    photos = [example.path.read_bytes() for example in placed[:2]]
    asyncio.run(check_pipeline(path.read_bytes(), photos, tmp_path))
