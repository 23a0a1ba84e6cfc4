"""In which order a training needs its images: they are fetched while it trains, ahead of it."""

from __future__ import annotations

from typing import Final

from loopline.vision.randomness import permutation
from services.trainer.domain.examples import Selection

LOOKED_AT: Final = 64  # training images whose colours are looked at first, spread over the split


def arrival_order(selection: Selection, seed: int) -> list[str]:
    """Return the assets of a training in the order it needs them, each once.

    First those that are looked at before it begins, then the first epoch's, then those it is judged
    on. The order only decides who waits for what: nothing of the result depends on it.

    Args:
        selection: What is trained and judged on.
        seed: The training's.
    """
    train = [example.asset for example in selection.train]
    first = train[:: max(1, len(train) // LOOKED_AT)]
    epoch = [train[place] for place in permutation(seed, 0, len(train))]
    rest = [example.asset for example in (*selection.validation, *selection.test)]
    return list(dict.fromkeys([*first, *epoch, *rest]))
