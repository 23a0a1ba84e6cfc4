"""Training programs. A recipe of your own: docs/adding-a-recipe.md.

Nothing here imports torch before a recipe is asked to build something: parameters are checked while
torch is still loading.
"""

from loopline.vision.augmentation import Augmentation
from services.trainer.recipes.interface import (
    Batch,
    Draw,
    Export,
    Outputs,
    Recipe,
    Survey,
)
from services.trainer.recipes.parameters import RecipeParameters
from services.trainer.recipes.whole_image import WholeImageRecipe

__all__ = [
    "Augmentation",
    "Batch",
    "Draw",
    "Export",
    "Outputs",
    "Recipe",
    "RecipeParameters",
    "Survey",
    "WholeImageRecipe",
]
