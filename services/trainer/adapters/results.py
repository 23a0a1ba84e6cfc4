"""What a training made, noted beside its files until it is committed.

Who dies between the end of a training and its commit has nothing to train, export or measure again:
the run's folder says so. What is noted counts only if every file still has the bytes it had.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from loopline.digests import sha256_hex
from services.trainer.adapters.files import write_whole
from services.trainer.domain.job import Trained

NOTE: Final = "trained.json"


class _Note(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    trained: Trained
    digests: dict[Path, str]


def note(folder: Path, trained: Trained) -> None:
    """Note a training's result in its run's folder; its files are there."""
    digests = {path: sha256_hex(path.read_bytes()) for path in _files(trained)}
    made = _Note(trained=trained, digests=digests)
    write_whole(folder / NOTE, made.model_dump_json().encode())


def noted(folder: Path) -> Trained | None:
    """Return the result that is noted in a run's folder; None if there is none, or not all of it.

    Files of another version of this program, or after a power cut, are none.
    """
    try:
        found = _Note.model_validate_json((folder / NOTE).read_bytes())
        whole = all(sha256_hex(path.read_bytes()) == d for path, d in found.digests.items())
    except (OSError, ValidationError):
        return None
    return found.trained if whole else None


def _files(trained: Trained) -> tuple[Path, ...]:
    reports = trained.reports
    return (*trained.files, reports.evaluation, reports.outcomes, reports.page)
