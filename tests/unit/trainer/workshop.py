"""Recipes that behave well and badly, and jobs on real product images, for the trainer's tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loopline.testing.products import Product
from services.trainer.adapters.messages import example_of
from services.trainer.domain.examples import select
from services.trainer.domain.job import PLACED, Placed, Train

CLASSES = ("coat", "sneaker", "trouser")

RECIPES = '''
import time
from torch import nn
from services.trainer.recipes import WholeImageRecipe


class Tiny(WholeImageRecipe):
    """A network that trains in a second."""

    def build_network(self):
        return nn.Sequential(
            nn.Conv2d(self.input_format.channels, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Dropout(0.1), nn.AdaptiveAvgPool2d(3), nn.Flatten(),
            nn.Linear(72, len(self.classes)),
        )


class Steady(WholeImageRecipe):
    """Draws no random numbers while it trains."""

    def build_network(self):
        return nn.Sequential(
            # A bias before normalisation has no gradient but rounding, which Adam makes much of.
            nn.Conv2d(self.input_format.channels, 8, 3, stride=4, bias=False),
            nn.BatchNorm2d(8), nn.ReLU(),
            nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, len(self.classes)),
        )


class Slow(Tiny):
    """Takes its time, so that a test can interfere."""

    def step(self, model, images, targets):
        time.sleep(0.1)
        return super().step(model, images, targets)


class Talkative(Tiny):
    """Prints where reports go."""

    def build_network(self):
        print("building", flush=True)
        return super().build_network()


class Broken(Tiny):
    """Raises in its third step."""

    steps = 0

    def step(self, model, images, targets):
        self.steps += 1
        if self.steps == 3:
            raise ValueError("the third step is too much")
        return super().step(model, images, targets)


class Clumsy(Tiny):
    """Cannot make a batch to learn from."""

    def transform(self, images, targets, draw):
        if draw is not None:
            raise IndexError("the second image is missing")
        return super().transform(images, targets, draw)


class Greedy(Tiny):
    """Runs out of memory."""

    def step(self, model, images, targets):
        raise MemoryError("cannot allocate memory for a picture")


class Nan(Tiny):
    """Divides by nothing in its third step."""

    steps = 0

    def step(self, model, images, targets):
        self.steps += 1
        return super().step(model, images, targets) * (float("nan") if self.steps == 3 else 1)


not_a_recipe = 7
'''
# These end before torch is imported, which takes seconds.
SHORT_LIVED = '''
import os, signal, sys
from services.trainer.recipes import WholeImageRecipe


class Killed(WholeImageRecipe):
    """Is killed by the kernel."""

    @classmethod
    def load(cls):
        os.kill(os.getpid(), signal.SIGKILL)


class Quitter(WholeImageRecipe):
    """Ends the process."""

    @classmethod
    def load(cls):
        print("I quit", file=sys.stderr, flush=True)
        os._exit(3)


class Sleeper(WholeImageRecipe):
    """Never comes to an end."""

    @classmethod
    def load(cls):
        signal.pause()
'''
SOURCES = {"house_recipes": RECIPES, "short_lived": SHORT_LIVED}
ENTRY_POINTS = {
    "tiny": "house_recipes:Tiny",
    "slow": "house_recipes:Slow",
    "steady": "house_recipes:Steady",
    "talkative": "house_recipes:Talkative",
    "broken": "house_recipes:Broken",
    "clumsy": "house_recipes:Clumsy",
    "greedy": "house_recipes:Greedy",
    "nan": "house_recipes:Nan",
    "killed": "short_lived:Killed",
    "quitter": "short_lived:Quitter",
    "sleeper": "short_lived:Sleeper",
    "number": "house_recipes:not_a_recipe",
    "gone": "house_recipes_that_are_not_there:Tiny",
}


def install(site: Path, sources: dict[str, str], entry_points: dict[str, str]) -> Path:
    """Install modules with entry points into a folder for `sys.path`, as pip would."""
    for module, source in sources.items():
        (site / f"{module}.py").write_text(source)
    info = site / "house-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: house\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, target in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[loopline.recipes]", *lines]))
    return site


def write_job(catalogue: Sequence[Product], folder: Path) -> Train:
    """Write the files of a job: half a dozen images of each class are set aside for validation."""
    assets = folder / "assets"
    assets.mkdir(parents=True, exist_ok=True)
    for product in catalogue:
        (assets / product.asset).write_bytes(product.data)
    selection = select([example_of(p.item()) for p in catalogue], CLASSES, 0.2, "shop@v1")
    examples = folder / "examples.jsonl"
    lines = [PLACED.dump_json(Placed(e, assets / e.asset)) for e in selection]
    examples.write_bytes(b"\n".join(lines) + b"\n")
    return Train(dataset="shop@v1", classes=CLASSES, examples_file=examples, folder=folder)
