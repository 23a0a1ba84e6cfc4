"""What a checkpoint is called, and which of them are kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

SUFFIX: Final = ".ckpt"
_NAME: Final = re.compile(
    r"(?P<step>\d{9})-(?P<epoch>\d{5})-(?P<best>best-)?(?P<digest>[0-9a-f]{64})\.ckpt"
)


@dataclass(frozen=True, slots=True, order=True)
class CheckpointName:
    """The name of a checkpoint's file: its digest is in it, so that damage is known as such.

    Attributes:
        step: Steps done.
        epoch: Epochs done.
        digest: sha256 of the file's bytes.
        is_best: Whether the validation was best there so far.
    """

    step: int
    epoch: int
    digest: str
    is_best: bool = False

    @property
    def file_name(self) -> str:
        """As it is on disk; names sort by step."""
        best = "best-" if self.is_best else ""
        return f"{self.step:09d}-{self.epoch:05d}-{best}{self.digest}{SUFFIX}"

    @classmethod
    def parse(cls, file_name: str) -> Self | None:
        """Return the name; None if it is no checkpoint's."""
        match = _NAME.fullmatch(file_name)
        if match is None:
            return None
        return cls(int(match["step"]), int(match["epoch"]), match["digest"], bool(match["best"]))


def superseded(names: Iterable[CheckpointName], kept: int) -> list[CheckpointName]:
    """Return what need not be kept: all but the last `kept` and the last that was best.

    Example:
        >>> names = [CheckpointName(step, 0, "", is_best=step == 1) for step in range(5)]
        >>> [name.step for name in superseded(names, 2)]
        [0, 2]
    """
    ordered = sorted(names)
    best = [name for name in ordered if name.is_best][-1:]
    return [name for name in ordered[:-kept] if name not in best]
