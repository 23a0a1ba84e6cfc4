"""What a classifier is told, and how sure it may say it is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from loopline.digests import sha256_hex
from services.trainer.domain.examples import Annotation, Example
from services.trainer.domain.job import Placed
from services.trainer.domain.manifest import InputFormat
from services.trainer.recipes.classification import ClassificationParameters, ClassificationRecipe
from services.trainer.recipes.interface import Batch, Survey
from services.trainer.recipes.networks import PixelClassifier, Probabilities, fit_temperature
from services.trainer.training.pixels import Pixels, Room, survey

BOX = (1.0, 1.0, 5.0, 5.0)


class Scaled(nn.Module):
    """A backbone whose logits are the mean intensities of three bands, times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        bands = [part.mean(dim=(1, 2, 3)) for part in torch.split(images, 2, dim=2)]
        return torch.stack(bands, dim=1) * self.factor


def example(*annotations: Annotation) -> Example:
    return Example("a" * 64, "train", annotations, 28, 28)


@pytest.mark.parametrize(
    ("annotations", "target"),
    [
        pytest.param((Annotation("coat"),), 0, id="a class"),
        pytest.param((Annotation("shirt"), Annotation("shirt")), 1, id="the same class twice"),
        pytest.param((Annotation("shirt"), Annotation("coat", BOX)), 1, id="and a box"),
        pytest.param((), None, id="nothing"),
        pytest.param((Annotation("coat", BOX),), None, id="only a box"),
        pytest.param((Annotation("coat"), Annotation("shirt")), None, id="two classes"),
    ],
)
def test_an_image_is_used_if_it_has_exactly_one_class(
    annotations: tuple[Annotation, ...], target: int | None
) -> None:
    recipe = ClassificationRecipe(
        ClassificationParameters(), ["coat", "shirt"], Survey(28, 28, grey=True)
    )
    assert recipe.target(example(*annotations)) == target


@pytest.mark.parametrize("backbone", ["vit_tiny_patch16_224", "lcnet_035", "convnext_atto"])
def test_backbones_of_every_kind_take_images_of_the_input_s_size(backbone: str) -> None:
    parameters = ClassificationParameters(backbone=backbone, image_size=64)
    recipe = ClassificationRecipe(parameters, ["coat", "shirt"], Survey(28, 28, grey=True))
    model = recipe.build_model().eval()
    outputs = recipe.predict(model.requires_grad_(False), torch.zeros(2, 64, 64, 1).byte())
    assert outputs["probabilities"].shape == (2, 2)
    assert recipe.backbone(model) is not None


def test_a_frozen_backbone_leaves_the_head_to_learn() -> None:
    recipe = ClassificationRecipe(
        ClassificationParameters(), ["coat", "shirt"], Survey(28, 28, grey=True)
    )
    model = recipe.build_model()
    backbone = recipe.backbone(model)
    assert backbone is not None
    backbone.requires_grad_(False)
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    assert names == {"backbone.head.weight", "backbone.head.bias"}


def test_normalisation_is_in_the_network() -> None:
    seen: list[Tensor] = []

    class Spy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return images.mean(dim=(2, 3))

    pixels = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    PixelClassifier(Spy(), channels=3)(pixels)
    [images] = seen
    assert images.shape == (1, 3, 1, 1)
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert images.flatten().tolist() == pytest.approx(expected, rel=1e-5)


def labeled_batch(count: int, right: float) -> Batch:
    """Images whose brightest band is the class in a share of `right` of them."""
    random = np.random.default_rng(0)
    brightest = random.integers(0, 3, count)
    images = np.full((count, 6, 4, 1), 100, np.uint8)
    for image, band in zip(images, brightest, strict=True):
        image[2 * band : 2 * band + 2] = 140
    wrong = random.random(count) >= right
    return Batch(images, np.where(wrong, (brightest + 1) % 3, brightest))


@pytest.mark.parametrize("factor", [1.2, 8.0], ids=["too unsure", "too sure"])
def test_the_temperature_makes_confidence_match_accuracy(factor: float) -> None:
    model = PixelClassifier(Scaled(factor), channels=1)
    batch = labeled_batch(2000, right=0.8)
    images = torch.from_numpy(batch.images)
    with torch.no_grad():
        order = model(images).argsort(dim=1)
        fit_temperature(model, [batch])
        confidence = Probabilities(model)(images).max(dim=1).values.mean()
        assert (model(images).argsort(dim=1) == order).all()
    assert float(confidence) == pytest.approx(0.8, abs=0.02)


def test_too_few_images_leave_the_temperature_alone() -> None:
    model = PixelClassifier(Scaled(8.0), channels=1)
    with torch.no_grad():
        fit_temperature(model, [labeled_batch(49, right=0.8)])
    assert float(model.temperature) == 1.0


def placed(folder: Path, pixels: np.ndarray) -> Placed:
    ok, png = cv2.imencode(".png", pixels)
    assert ok
    data = png.tobytes()
    path = folder / sha256_hex(data)
    path.write_bytes(data)
    height, width = pixels.shape[:2]
    return Placed(Example(path.name, "train", (), width, height), path)


def test_the_survey_finds_the_median_size_and_whether_all_are_grey(tmp_path: Path) -> None:
    grey = [placed(tmp_path, np.full((size, 2 * size), size, np.uint8)) for size in (10, 20, 90)]
    assert survey(grey) == Survey(height_px=20, width_px=40, grey=True)
    red = np.zeros((20, 40, 3), np.uint8)
    red[..., 2] = 200
    assert not survey([*grey, placed(tmp_path, red)]).grey


def test_decoded_images_are_kept_as_long_as_there_is_room(tmp_path: Path) -> None:
    paths = [placed(tmp_path, np.full((8, 8), n, np.uint8)).path for n in range(4)]
    pixels = Pixels(paths, InputFormat(4, 4, 1), Room(2 * 4 * 4))
    first = [pixels[n] for n in range(4)]
    again = [pixels[n] for n in range(4)]
    assert [a is b for a, b in zip(first, again, strict=True)] == [True, True, False, False]
    assert [int(image[0, 0, 0]) for image in again] == [0, 1, 2, 3]
