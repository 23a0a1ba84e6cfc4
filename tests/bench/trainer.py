"""Training: how much of a bare torch loop's speed is left once everything else is done as well.

The bare loop has its batches as tensors in memory. The recipe's makes them from images, augments,
reports, watches for a loss that is no number and saves checkpoints. It is measured with images in
memory, with an empty cache that fills from S3 meanwhile, and with a full one. Both compute on one
thread, by turns, and the best of each counts: what others do on the machine then disturbs least.
How long training waits for checkpoints is measured with one every ten steps, which is some forty
times as often as by default.
`python -m tests.bench.trainer` prints the entries.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopline.store.blobs import S3Blobs
from loopline.store.objects import Area, ObjectStore
from loopline.testing.products import Product, products
from loopline.testing.servers import start_s3

if TYPE_CHECKING:
    from services.trainer.domain.job import Placed
    from services.trainer.recipes.classification import ClassificationRecipe
    from services.trainer.training.batches import Split, TrainingBatches
    from services.trainer.training.checkpoints import TrainingState

IN_MEMORY_GOAL = 0.95
COLD_GOAL = 0.6
WARM_GOAL = 0.9
FIRST_STEP_GOAL_S = 6.0
STALL_GOAL = 0.01  # of the time of the steps
CHECKPOINT_STEPS = 10
IMAGES_PER_CLASS = 96  # of ten classes: 20 steps an epoch
EPOCHS = 2
ROUNDS = 4
STARTS = 3
Entry = dict[str, Any]


@dataclass(frozen=True)
class Storage:
    """Where the images come from, as a process of its own can be told."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str

    def objects(self) -> ObjectStore:
        """Return it as services see it."""
        blobs = S3Blobs(self.endpoint, self.access_key, self.secret_key, self.bucket)
        return ObjectStore(blobs, "default")


def run() -> list[Entry]:
    """Measure, and return the entries."""
    import torch

    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory(prefix="loopline-bench-") as name:
        folder = Path(name)
        with _storage(folder / "weed") as storage:
            times, steps = _rounds(folder, storage)
        stall = min(_stall_share(folder / f"stall-{n}") for n in range(STARTS))
        first_step_s = min(_first_step_s(folder / f"start-{n}") for n in range(STARTS))
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    bare = min(times["bare"])
    loop = f"a bare torch loop in memory, {steps / bare:.1f} steps/s on one thread"
    return [
        _ratio("trainer_steps", bare / min(times["memory"]), IN_MEMORY_GOAL, loop),
        _ratio("trainer_steps_cold", bare / min(times["cold"]), COLD_GOAL, f"{loop}; ours from S3"),
        _ratio("trainer_steps_warm", bare / min(times["warm"]), WARM_GOAL, f"{loop}; ours cached"),
        {
            "name": "trainer_checkpoint_stall",
            "value": stall,
            "unit": "share",
            "goal": STALL_GOAL,
            "holds": stall < STALL_GOAL,
            "against": f"the time of the steps; a checkpoint every {CHECKPOINT_STEPS} of them",
        },
        _started(first_step_s, min(_import_s() for _ in range(STARTS))),
    ]


def _ratio(name: str, value: float, goal: float, against: str) -> Entry:
    return {
        "name": name,
        "value": value,
        "unit": "ratio",
        "goal": goal,
        "holds": value >= goal,
        "against": against,
    }


def _started(first_step_s: float, import_s: float) -> Entry:
    value = first_step_s - import_s
    return {
        "name": "trainer_first_step",
        "value": value,
        "unit": "s",
        "goal": FIRST_STEP_GOAL_S,
        "holds": value <= FIRST_STEP_GOAL_S,
        "against": f"importing torch alone, {import_s:.1f} s",
    }


@contextlib.contextmanager
def _storage(folder: Path) -> Iterator[Storage]:
    server = start_s3(folder)
    try:
        bucket = server.create_bucket()
        storage = Storage(server.endpoint, server.access_key, server.secret_key, bucket)
        images = [product.data for product in products(IMAGES_PER_CLASS, 0)]
        asyncio.run(_put(storage, images))
        yield storage
    finally:
        server.stop()


async def _put(storage: Storage, images: Sequence[bytes]) -> None:
    objects = storage.objects()
    await objects.put_many(Area.ASSETS, images)
    objects.close()


def _rounds(folder: Path, storage: Storage) -> tuple[dict[str, list[float]], int]:
    catalogue = products(IMAGES_PER_CLASS, 0)
    times: dict[str, list[float]] = {"bare": [], "memory": [], "cold": [], "warm": []}
    steps = 0
    for number in range(ROUNDS + 1):  # the first warms up and does not count
        cache = folder / f"round-{number}"
        placed = _placed(catalogue, cache / "assets")
        order = [one.example.asset for one in placed]
        context = multiprocessing.get_context("spawn")
        fetcher = context.Process(target=_fetch, args=(storage, cache, order))
        fetcher.start()
        recipe = _recipe(placed)  # looks at some of the images: the first of them are there
        cold = _recipe_loop_s(recipe, _split(recipe, placed), cache / "cold")
        fetcher.join()
        warm = _recipe_loop_s(recipe, _split(recipe, placed), cache / "warm")
        split = _split(recipe, placed)
        for place in range(len(split)):
            split.pixels[place]  # decoded, and kept
        memory = _recipe_loop_s(recipe, split, cache / "memory")
        bare, steps = _bare_loop_s(recipe, split)
        if number:
            for name, value in zip(times, (bare, memory, cold, warm), strict=True):
                times[name].append(value)
    return times, steps


def _fetch(storage: Storage, folder: Path, assets: Sequence[str]) -> None:
    from services.trainer.adapters.asset_cache import AssetCache

    async def fetch() -> None:
        objects = storage.objects()
        await AssetCache(objects, folder / "assets", 1 << 30).fetch(assets)
        objects.close()

    asyncio.run(fetch())


def _placed(catalogue: Sequence[Product], assets: Path) -> list[Placed]:
    from services.trainer.domain.examples import Annotation, Example
    from services.trainer.domain.job import Placed

    return [
        Placed(
            Example(p.asset, "train", (Annotation(p.class_name),), 28, 28, len(p.data)),
            assets / p.asset[:2] / p.asset,
        )
        for p in catalogue
    ]


def _written(catalogue: Sequence[Product], assets: Path) -> list[Placed]:
    placed = _placed(catalogue, assets)
    for product, one in zip(catalogue, placed, strict=True):
        one.path.parent.mkdir(parents=True, exist_ok=True)
        one.path.write_bytes(product.data)
    return placed


def _recipe(placed: Sequence[Placed], checkpoint_every_steps: int = 0) -> ClassificationRecipe:
    from services.trainer.recipes.classification import (
        ClassificationParameters,
        ClassificationRecipe,
    )
    from services.trainer.training.pixels import survey

    classes = sorted({one.example.annotations[0].class_name for one in placed})
    parameters = ClassificationParameters(
        epochs=EPOCHS, checkpoint_every_steps=checkpoint_every_steps
    )
    return ClassificationRecipe(parameters, classes, survey(placed, classes))


def _split(recipe: ClassificationRecipe, placed: Sequence[Placed]) -> Split:
    from services.trainer.training.batches import Split
    from services.trainer.training.pixels import Pixels, Room

    targets = tuple(recipe.target(one.example) for one in placed)
    pixels = Pixels([one.path for one in placed], recipe.input_format, Room(1 << 30))
    return Split(pixels, targets, tuple(one.example.asset for one in placed))


def _begun(recipe: ClassificationRecipe, split: Split) -> tuple[TrainingBatches, TrainingState]:
    import torch

    from services.trainer.training.batches import TrainingBatches
    from services.trainer.training.loop import initial_state, make_deterministic

    device = make_deterministic(recipe.parameters)
    batches = TrainingBatches(recipe, split)
    model = recipe.build_model().to(memory_format=torch.channels_last).to(device)
    return batches, initial_state(recipe, batches.steps_per_epoch * EPOCHS, model)


def _recipe_loop_s(recipe: ClassificationRecipe, split: Split, folder: Path) -> float:
    return _figures(recipe, split, folder)["training_s"]


def _stall_share(folder: Path) -> float:
    """Return which share of a training's time it waits for its checkpoints."""
    placed = _written(products(IMAGES_PER_CLASS, 0), folder / "assets")
    recipe = _recipe(placed, CHECKPOINT_STEPS)
    figures = _figures(recipe, _split(recipe, placed), folder / "checkpoints")
    return figures["checkpoint_stall_s"] / figures["training_s"]


def _figures(recipe: ClassificationRecipe, split: Split, folder: Path) -> dict[str, float]:
    """Train; return what the loop says of itself, with the time it took."""
    from services.trainer.training.batches import Split
    from services.trainer.training.checkpoints import CheckpointWriter
    from services.trainer.training.loop import Loop
    from services.trainer.training.pixels import Pixels, Room

    batches, state = _begun(recipe, split)
    nothing = Split(Pixels([], recipe.input_format, Room(0)), (), ())
    with CheckpointWriter(folder, lambda *_: None) as writer:
        loop = Loop(recipe, state, batches, nothing, writer, lambda _: None)
        began = time.perf_counter()
        figures = loop.run()
        return figures | {"training_s": time.perf_counter() - began}


def _bare_loop_s(recipe: ClassificationRecipe, split: Split) -> tuple[float, int]:
    from torch.nn import functional

    batches, state = _begun(recipe, split)
    steps = batches.steps_per_epoch * EPOCHS
    tensors = list(_tensors(batches, steps))
    state.model.train()
    began = time.perf_counter()
    for images, targets in tensors:
        loss = functional.cross_entropy(state.model(images), targets)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        state.schedule.step()
    return time.perf_counter() - began, steps


def _tensors(batches: TrainingBatches, steps: int) -> Any:
    import torch

    for step in range(steps):
        batch = batches.batch(step)
        yield torch.from_numpy(batch.images), torch.from_numpy(batch.targets)


def _first_step_s(folder: Path) -> float:
    """Return the time from a command to the first step's checkpoint, in a process of its own."""
    from services.trainer.adapters.process import started
    from services.trainer.domain.job import PLACED, CheckpointSaved, Train

    catalogue = [*products(IMAGES_PER_CLASS, 2)]
    placed = _written(catalogue, folder / "assets")
    lines = [PLACED.dump_json(one) for one in placed]
    lines += [line.replace(b'"train"', b'"test"') for line in lines[:20]]
    (folder / "examples.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    classes = tuple(sorted({product.class_name for product in catalogue}))
    job = Train(
        dataset="bench@v1", classes=classes, examples_file=folder / "examples.jsonl", folder=folder
    )

    async def measured() -> float:
        began = time.perf_counter()
        async with started(attempt=1, silence_s=120.0, niceness=0) as process:
            await process.describe("classification", {"checkpoint_every_steps": 1})
            async for report in process.train(job):
                if isinstance(report, CheckpointSaved):
                    return time.perf_counter() - began
        raise RuntimeError("training ended before its first step")

    return asyncio.run(measured())


def _import_s() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    json.dump(run(), sys.stdout, indent=1)
