"""Training programs. A recipe of your own: docs/adding-a-recipe.md.

Nothing here imports torch before a recipe is asked to build something: parameters are checked while
torch is still loading.
"""

from services.trainer.recipes.augmentation import Augmentation
from services.trainer.recipes.interface import (
    Batch,
    Draw,
    Export,
    Recipe,
    RecipeParameters,
    Survey,
)
from services.trainer.recipes.whole_image import WholeImageRecipe

__all__ = [
    "Augmentation",
    "Batch",
    "Draw",
    "Export",
    "Recipe",
    "RecipeParameters",
    "Survey",
    "WholeImageRecipe",
]
