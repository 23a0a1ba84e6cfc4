"""Finding recipes and checking what they are told."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from pydantic import ValidationError

from loopline.errors import Rejected
from services.trainer.recipes.interface import Recipe
from services.trainer.recipes.parameters import RecipeParameters

GROUP: Final = "loopline.recipes"

AnyRecipe = type[Recipe[Any]]


def find_recipe(name: str) -> AnyRecipe:
    """Return the recipe class that an installed package offers under this name.

    Raises:
        Rejected: There is none, it cannot be imported, or it is not a recipe.
    """
    offered = {point.name: point for point in entry_points(group=GROUP)}
    if name not in offered:
        known = ", ".join(sorted(offered)) or "none"
        raise Rejected(f"there is no recipe {name!r}; installed are: {known}", recipe=name)
    try:
        found = offered[name].load()
    except Exception as error:  # whatever a user's module does
        raise Rejected(f"recipe {name!r} cannot be imported: {error!r}", recipe=name) from error
    if not (isinstance(found, type) and issubclass(found, Recipe)):
        raise Rejected(f"recipe {name!r} is not a subclass of Recipe: {found!r}", recipe=name)
    return found


def checked_parameters(recipe: AnyRecipe, given: Mapping[str, Any]) -> RecipeParameters:
    """Return the recipe's parameters, defaults filled in.

    Raises:
        Rejected: Names every unknown or wrong parameter.
    """
    try:
        return recipe.parameters_class.model_validate(dict(given))
    except ValidationError as error:
        problems = [_problem(recipe.parameters_class, dict(e)) for e in error.errors()]
        raise Rejected("parameters: " + "; ".join(problems)) from error


def _problem(parameters: type[RecipeParameters], error: dict[str, Any]) -> str:
    path = [str(part) for part in error["loc"]]
    name = ".".join(path)
    if error["type"] != "extra_forbidden":
        return f"{name!r}: {error['msg']} (got {error['input']!r})"
    close = difflib.get_close_matches(path[-1], _names(parameters), n=1)
    return f"unknown parameter {name!r}" + (f", did you mean {close[0]!r}?" if close else "")


def _names(parameters: type[RecipeParameters]) -> list[str]:
    names = list(parameters.model_fields)
    for field in parameters.model_fields.values():
        names += getattr(field.annotation, "model_fields", {})
    return names
