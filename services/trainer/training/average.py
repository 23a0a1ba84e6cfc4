"""A moving average of the weights (EMA): steadier than the weights of the last step."""

from __future__ import annotations

import copy

import torch


class Average:
    """The average of a model's weights over the steps so far, recent ones counting more.

    It begins with little memory, `(1 + n) / (10 + n)` after n steps, so that the first weights,
    which have learned nothing, are soon forgotten.

    Args:
        model: What is averaged.
        decay: How much of the average stays at each step, once it has its memory.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval()
        self.model.requires_grad_(False)
        self.count = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        """Take in the weights after a step; counters are copied."""
        self.count += 1
        share = 1 - min(self._decay, (1 + self.count) / (10 + self.count))
        ours, theirs = self.model.state_dict(), model.state_dict()
        floating = [name for name, tensor in ours.items() if tensor.is_floating_point()]
        torch._foreach_lerp_(
            [ours[name] for name in floating], [theirs[name] for name in floating], share
        )
        for name in ours.keys() - set(floating):
            ours[name].copy_(theirs[name])

    def state_dict(self) -> dict[str, object]:
        """Return what a checkpoint keeps."""
        return {"model": self.model.state_dict(), "count": self.count}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from what a checkpoint kept."""
        self.model.load_state_dict(state["model"])  # type: ignore[arg-type]
        self.count = int(state["count"])  # type: ignore[call-overload]
