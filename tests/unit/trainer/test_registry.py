"""Recipes are found by entry point, and their parameters checked by name."""

from __future__ import annotations

import pytest

from loopline.errors import Rejected
from services.trainer.recipes.classification import ClassificationParameters, ClassificationRecipe
from services.trainer.recipes.interface import Survey
from services.trainer.recipes.registry import checked_parameters, find_recipe


def test_the_built_in_recipe_is_found() -> None:
    assert find_recipe("classification") is ClassificationRecipe


def test_an_unknown_recipe_is_refused_and_the_installed_ones_named() -> None:
    with pytest.raises(
        Rejected, match=r"no recipe 'clasification'; installed are: .*classification"
    ):
        find_recipe("clasification")


@pytest.mark.usefixtures("with_house_recipes")
def test_a_recipe_of_another_package_is_found() -> None:
    assert find_recipe("tiny").__name__ == "Tiny"


@pytest.mark.usefixtures("with_house_recipes")
def test_a_recipe_that_cannot_be_imported_is_refused_with_the_reason() -> None:
    with pytest.raises(Rejected, match=r"recipe 'gone' cannot be imported: ModuleNotFoundError"):
        find_recipe("gone")


@pytest.mark.usefixtures("with_house_recipes")
def test_something_else_is_not_a_recipe() -> None:
    with pytest.raises(Rejected, match="'number' is not a subclass of Recipe: 7"):
        find_recipe("number")


def test_no_parameters_are_needed() -> None:
    parameters = checked_parameters(ClassificationRecipe, {})
    assert parameters.epochs > 0
    assert parameters.model_dump()["backbone"] == "test_resnet"


def test_an_unknown_parameter_is_refused_by_name_and_the_nearest_one_offered() -> None:
    with pytest.raises(Rejected, match=r"unknown parameter 'epoch', did you mean 'epochs'\?"):
        checked_parameters(ClassificationRecipe, {"epoch": 3})


def test_an_unknown_augmentation_is_refused_with_its_path() -> None:
    with pytest.raises(Rejected, match=r"unknown parameter 'augmentation\.rotate'"):
        checked_parameters(ClassificationRecipe, {"augmentation": {"rotate": 3}})


def test_every_wrong_value_is_named_with_what_was_given() -> None:
    with pytest.raises(Rejected) as refused:
        checked_parameters(ClassificationRecipe, {"epochs": 0, "learning_rate": "fast"})
    assert "'epochs': Input should be greater than or equal to 1 (got 0)" in refused.value.message
    assert "'learning_rate'" in refused.value.message
    assert "(got 'fast')" in refused.value.message


def test_whole_floats_from_json_are_taken_as_integers() -> None:
    assert checked_parameters(ClassificationRecipe, {"epochs": 3.0}).epochs == 3


@pytest.mark.parametrize(("side", "expected"), [(28, 40), (64, 64), (100, 96), (4000, 128)])
def test_the_input_size_follows_the_images_within_bounds(side: int, expected: int) -> None:
    survey = Survey(side, side // 2, grey=True)
    recipe = ClassificationRecipe(ClassificationParameters(), ["coat", "shirt"], survey)
    assert recipe.input_format.height_px == recipe.input_format.width_px == expected


@pytest.mark.parametrize(
    ("colour", "grey", "channels"), [("auto", True, 1), ("auto", False, 3), ("rgb", True, 3)]
)
def test_channels_follow_the_images_unless_told(colour: str, grey: bool, channels: int) -> None:
    parameters = checked_parameters(ClassificationRecipe, {"colour": colour, "image_size": 48})
    recipe = ClassificationRecipe(parameters, ["a", "b"], Survey(28, 28, grey))  # type: ignore[arg-type]  # checked above
    assert (recipe.input_format.channels, recipe.input_format.width_px) == (channels, 48)
