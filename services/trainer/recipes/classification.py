"""Classification with any backbone of timm, trained from scratch."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from pydantic import Field

from loopline.errors import Rejected
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
        import timm

        name = self.parameters.backbone
        if not timm.is_model(name):
            close = ", ".join(difflib.get_close_matches(name, timm.list_models(), n=5))
            raise Rejected(
                f"timm has no backbone {name!r}; it has {close or 'others'}", backbone=name
            )
        try:
            network: torch.nn.Module = timm.create_model(
                name,
                num_classes=len(self.classes),
                in_chans=self.input_format.channels,
                drop_rate=self.parameters.dropout,
            )
        except TypeError as error:
            raise Rejected(
                f"backbone {name!r} cannot be built so: {error}", backbone=name
            ) from error
        return network
