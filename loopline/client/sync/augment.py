"""`client.augment`: augmented copies of a dataset's items, looked at or committed.

Generated from `loopline.client.augment` by `python -m loopline.client.generate`; do not edit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loopline.client import augment as _augment
from loopline.client.portal import Portal
from loopline.client.session import CommandResult
from loopline.contracts.catalog import DEFAULT_POOL


class AugmentVerbs:
    """What can be done before training that training could also do as it goes."""

    def __init__(self, portal: Portal, client: _augment.AugmentVerbs) -> None:
        self._portal = portal
        self._client = client

    def run(
        self,
        dataset: str,
        source: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        copies: int = 1,
        seed: int = 0,
        split: str = "train",
        wait: bool = True,
        pool: str = DEFAULT_POOL,
    ) -> CommandResult:
        """Commit a dataset of another one's items and of augmented copies of some.

        Args:
            dataset: The dataset to commit to; made if it is not there.
            source: The version that is copied: NAME, NAME@v3 or NAME@TAG.
            parameters: What may happen to an image (`loopline.vision.draws.Augmentation`).
            copies: Of each item.
            seed: Same seed, same copies.
            split: Whose labeled items are copied.
            wait: Return when the run has ended, else as soon as the command is stored.
            pool: Whose workers take it.

        Raises:
            Rejected: The command was refused.
            RunFailed: There is nothing to copy, or a parameter is wrong.
        """
        return self._portal.call(
            self._client.run(
                dataset,
                source,
                parameters=parameters,
                copies=copies,
                seed=seed,
                split=split,
                wait=wait,
                pool=pool,
            )
        )

    def preview(
        self,
        source: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        copies: int = 5,
        items: int = 6,
        seed: int = 0,
        split: str = "train",
    ) -> bytes:
        """Return a contact sheet, PNG: some items with their labels, and copies of each.

        The copies are those that `run` would make with the same parameters and seed.

        Args:
            source: NAME, NAME@v3 or NAME@TAG.
            parameters: What may happen to an image.
            copies: Of each item.
            items: How many; the labeled ones of the split, spread over it.
            seed: Of every draw.
            split: Whose items are shown.

        Raises:
            Rejected: A parameter is wrong or unknown.
            NotFound: There is no such version, or nothing is labeled in it.
        """
        return self._portal.call(
            self._client.preview(
                source, parameters=parameters, copies=copies, items=items, seed=seed, split=split
            )
        )
