"""What training begins with, and that it is what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from loopline.errors import Rejected
from services.trainer.recipes.classification import ClassificationRecipe
from services.trainer.recipes.detection import DetectionRecipe
from services.trainer.recipes.interface import Recipe, Survey
from services.trainer.recipes.segmentation import SegmentationRecipe
from services.trainer.recipes.weights import begin, fill
from services.trainer.training.export import weights_file

LITE0 = "tf_efficientnet_lite0"
RECIPES: list[type[Recipe[Any]]] = [ClassificationRecipe, DetectionRecipe, SegmentationRecipe]


def build(
    kind: type[Recipe[Any]], classes: int = 3, grey: bool = False, **parameters: Any
) -> Recipe[Any]:
    given = kind.parameters_class.model_validate({"backbone": "test_resnet"} | parameters)
    names = [f"class {n}" for n in range(classes)]
    return kind(given, names, Survey(64, 64, grey=grey))


def backbone_of(recipe: Recipe[Any], model: torch.nn.Module) -> dict[str, torch.Tensor]:
    backbone = recipe.backbone(model)
    assert backbone is not None
    return dict(backbone.state_dict())


@pytest.mark.parametrize("kind", RECIPES)
def test_every_recipe_begins_with_the_weights_of_imagenet(kind: type[Recipe[Any]]) -> None:
    recipe = build(kind, backbone=LITE0, initial_weights="lite0")
    begun = begin(recipe)
    assert begun.loaded >= 288
    stem = backbone_of(recipe, begun.model)["conv_stem.weight"]
    assert float(stem.sum()) == pytest.approx(IMAGENET_STEM_SUM, rel=1e-5)


IMAGENET_STEM_SUM = -26.81137466430664


def test_grey_images_get_the_sum_of_the_colours_weights() -> None:
    colour = begin(build(ClassificationRecipe, backbone=LITE0, initial_weights="lite0"))
    grey = build(ClassificationRecipe, grey=True, backbone=LITE0, initial_weights="lite0")
    stem = "backbone.body.conv_stem.weight"
    summed = colour.model.state_dict()[stem].sum(dim=1, keepdim=True)
    assert torch.equal(begin(grey).model.state_dict()[stem], summed)


def saved(recipe: Recipe[Any], folder: Path) -> tuple[Path, torch.nn.Module]:
    torch.manual_seed(7)
    model = recipe.build_model()
    path = folder / "weights.safetensors"
    path.write_bytes(weights_file(model))
    return path, model


@pytest.mark.parametrize("kind", RECIPES)
def test_a_model_of_the_same_recipe_is_taken_whole(kind: type[Recipe[Any]], tmp_path: Path) -> None:
    path, model = saved(build(kind), tmp_path)
    begun = begin(build(kind, initial_weights="shop@v1"), path)
    assert begun.loaded == begun.tensors
    for name, tensor in begun.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


def test_of_a_model_with_other_classes_all_but_the_last_layer_is_taken(tmp_path: Path) -> None:
    path, _ = saved(build(ClassificationRecipe, classes=5), tmp_path)
    begun = begin(build(ClassificationRecipe, classes=3, initial_weights="shop@v1"), path)
    assert begun.loaded == begun.tensors - 2
    assert begun.model.state_dict()["backbone.head.weight"].shape[0] == 3


@pytest.mark.parametrize("given", RECIPES)
@pytest.mark.parametrize("wanted", RECIPES)
def test_a_backbone_moves_from_task_to_task(
    given: type[Recipe[Any]], wanted: type[Recipe[Any]], tmp_path: Path
) -> None:
    source = build(given)
    path, model = saved(source, tmp_path)
    recipe = build(wanted, initial_weights="shop@v1")
    begun = begin(recipe, path)
    theirs = backbone_of(source, model)
    for name, tensor in backbone_of(recipe, begun.model).items():
        assert torch.equal(tensor, theirs[name])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path, _ = saved(build(ClassificationRecipe), tmp_path)
    other = build(ClassificationRecipe, backbone="lcnet_050", initial_weights="shop@v1")
    with pytest.raises(Rejected, match=r"'shop@v1' are of another network: \d+ of the \d+ tensors"):
        begin(other, path)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        pytest.param({"initial_weights": "lite0"}, "tf_efficientnet_lite0", id="another backbone"),
        pytest.param({"initial_weights": "nonsense"}, "'nonsense' is not known", id="no source"),
        pytest.param({"initial_weights": "timm"}, "has no weights of", id="none on the hub"),
    ],
)
def test_weights_that_cannot_be_had_are_named(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(Rejected, match=words):
        begin(build(ClassificationRecipe, backbone="lcnet_035", **parameters))


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"pickled nonsense")
    with pytest.raises(Rejected, match="no safetensors file"):
        begin(build(ClassificationRecipe, initial_weights="file:mine"), path)


def test_a_library_that_joins_names_is_understood() -> None:
    model = torch.nn.ModuleDict({"stages_0": torch.nn.Linear(2, 2)})
    given = {"backbone.stages.0.weight": torch.ones(2, 2), "backbone.stages.0.bias": torch.ones(2)}
    assert fill(torch.nn.ModuleDict({"own": model}), model, given, "hub") == 2
    assert torch.equal(model.state_dict()["stages_0.weight"], torch.ones(2, 2))


def test_a_safetensors_file_holds_what_torch_would_load(tmp_path: Path) -> None:
    path, model = saved(build(ClassificationRecipe), tmp_path)
    assert safetensors.torch.load_file(path).keys() == model.state_dict().keys()
