"""The processes that share one training: each takes a part of a batch, and their gradients meet.

torchrun starts them and sets `RANK`, `WORLD_SIZE` and where they meet. With two of them a step has
the same images, the same batch statistics and the same gradient as with one; sums are in another
order, so the bits differ.
"""

from __future__ import annotations

import os
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")
RANK: Final = "RANK"
COUNT: Final = "WORLD_SIZE"


class Peers:
    """This process among those that share the training; one alone shares with nobody.

    Args:
        rank: Which one this is, from 0; the first writes files and speaks.
        count: How many there are.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank = rank
        self.count = count

    @property
    def is_first(self) -> bool:
        """Whether this one writes files and speaks."""
        return self.rank == 0

    def wrapped(self, model: nn.Module) -> nn.Module:
        """Return the model whose gradients are those of all peers."""
        if self.count == 1:
            return model
        # Batch statistics are everybody's already; there is nothing to send around.
        return DistributedDataParallel(synced(model), broadcast_buffers=False)

    def agreed(self, value: T) -> T:
        """Return what the first says, for all."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of everybody's value."""
        if self.count == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self.count

    def seed_step(self, seed: int, step: int) -> None:
        """Make the random numbers of a step a function of (seed, step, rank).

        A checkpoint, which the first writes, then need not hold everybody's generators.
        """
        if self.count > 1:
            torch.manual_seed((seed * 1_000_003 + step) * 1_009 + self.rank)


def joined() -> Peers:
    """Meet the peers that torchrun started, if it started this process."""
    if COUNT not in os.environ:
        return Peers()
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return Peers(dist.get_rank(), dist.get_world_size())


def synced(model: nn.Module) -> nn.Module:
    """Return the model with batch normalisation over the batch of all peers."""
    if any(parameter.is_cuda for parameter in model.parameters()):
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            _sync(module)
    return model


def _sync(module: _BatchNorm) -> None:
    """Replace the module's forward: torch's own synchronised one needs a GPU."""
    alone = module.forward

    def forward(input: Tensor) -> Tensor:
        if not module.training:
            return alone(input)
        return _normalised(module, input)

    module.forward = forward  # type: ignore[method-assign]


def _summed(values: Tensor) -> Tensor:
    """Return the sum over all peers; gradients flow back to each of them."""
    total: Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
    return total


def _normalised(module: _BatchNorm, values: Tensor) -> Tensor:
    axes = [axis for axis in range(values.ndim) if axis != 1]
    shape = [1, -1, *[1] * (values.ndim - 2)]
    count = values.numel() // values.shape[1] * dist.get_world_size()
    mean = _summed(values.sum(axes)) / count
    centred = values - mean.view(shape)
    variance = _summed((centred * centred).sum(axes)) / count
    _note(module, mean.detach(), variance.detach(), count)
    out: Tensor = centred * torch.rsqrt(variance + module.eps).view(shape)
    if module.affine:
        out = out * module.weight.view(shape) + module.bias.view(shape)
    return out


@torch.no_grad()
def _note(module: Any, mean: Tensor, variance: Tensor, count: int) -> None:
    """Update the running statistics as torch does, the variance without bias."""
    if not module.track_running_stats:
        return
    module.num_batches_tracked.add_(1)
    share = module.momentum
    if share is None:
        share = 1 / float(module.num_batches_tracked)
    module.running_mean.lerp_(mean, share)
    module.running_var.lerp_(variance * count / max(count - 1, 1), share)
