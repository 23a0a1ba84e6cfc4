"""Classification with any backbone of timm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from services.trainer.recipes.parameters import RecipeParameters
from services.trainer.recipes.whole_image import WholeImageRecipe

if TYPE_CHECKING:
    import torch


class ClassificationParameters(RecipeParameters):
    """Parameters of the recipe "classification"."""

    backbone: str = Field("test_resnet", description="A model name of timm.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Before the last layer.")


class ClassificationRecipe(WholeImageRecipe[ClassificationParameters]):
    """A timm backbone under a linear layer."""

    parameters_class = ClassificationParameters

    @classmethod
    def load(cls) -> None:
        """See `Recipe`."""
        import timm  # noqa: F401

    def build_network(self) -> torch.nn.Module:
        """See `WholeImageRecipe`; Rejected if timm has no such backbone."""
        from services.trainer.recipes.networks import Headed

        p, wanted = self.parameters, self.input_format
        return Headed(p.backbone, len(self.classes), wanted.channels, p.dropout, wanted.height_px)

    def backbone(self, model: torch.nn.Module) -> torch.nn.Module:
        """See `Recipe`."""
        return model.get_submodule("backbone.body")
