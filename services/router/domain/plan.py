"""The plan of a routing run, as JSON: everything that its chunks and its join need to know.

Equal events give equal plans, byte for byte, so a planning that is repeated changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loopline.digests import canonical_json
from loopline.errors import Rejected

CHUNK_ITEMS = 256


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an artefact, by name, number and content."""

    name: str
    version: int
    digest: str

    def __str__(self) -> str:
        return f"{self.name}@v{self.version}"


@dataclass(frozen=True, slots=True)
class RoutingPlan:
    """What a run routes, by which rules.

    Args:
        workspace: The workspace.
        run_id: The run's key.
        flow: The flow version whose rules decide.
        document: Its text.
        predictions: The predictions; the digest is their tree's.
        predictions_root: Root object of their tree.
        predictions_sequence: Stream sequence of their commit.
        model: The model version that predicted.
        recipe: The recipe that trained it.
        task: Its task.
        classes: Its classes, in the order of its scores.
        dataset: The dataset version it was applied to.
        dataset_root: Root object of its tree.
        selection_digest: Object digest of the assets that were selected.
        selected: How many these are.
        chunks: Object digests of the assets of each chunk (JSON arrays, sorted by asset).
    """

    workspace: str
    run_id: str
    flow: Version
    document: str
    predictions: Version
    predictions_root: str
    predictions_sequence: int
    model: Version
    recipe: str
    task: str
    classes: tuple[str, ...]
    dataset: Version
    dataset_root: str
    selection_digest: str
    selected: int
    chunks: tuple[str, ...]

    def to_json(self) -> bytes:
        """Return the plan's canonical bytes."""
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> RoutingPlan:
        """Return the plan of a JSON document.

        Raises:
            Rejected: It is not one of ours.
        """
        try:
            versions = ("flow", "predictions", "model", "dataset")
            named = {name: Version(**document[name]) for name in versions}
            lists = {name: tuple(document[name]) for name in ("classes", "chunks")}
            return cls(**{**document, **named, **lists})
        except (KeyError, TypeError) as error:
            raise Rejected(f"the routing plan cannot be read: {error}") from error


def slices(assets: Sequence[str], size: int) -> list[list[str]]:
    """Return the chunks of a selection, sorted by asset: neighbours share shards of the trees."""
    ordered = sorted(set(assets))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]
