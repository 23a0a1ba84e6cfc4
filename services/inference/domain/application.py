"""Applying a model version to items of a dataset version: the plan, its chunks, their results.

A plan lists only what must be inferred. It depends on what was predicted before, so that a command
that is delivered twice may be planned twice, differently, if predictions were committed in between.
Chunks therefore belong to `work_id`, which names the run and the plan's content: two plans of one
run never mix their chunks, both are right, and the commit log keeps the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from loopline.digests import canonical_json, digest_of
from loopline.errors import Rejected
from loopline.store.shapes import Shape, shape_document

CHUNK_ITEMS: Final = 256
NAME_LENGTH_MAX: Final = 63
_DIGEST_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an artefact, by name, number and content."""

    name: str
    version: int
    digest: str

    def __str__(self) -> str:
        return f"{self.name}@v{self.version}"


@dataclass(frozen=True, slots=True)
class ApplicationPlan:
    """What a run infers.

    Args:
        run_id: The run's key.
        model: The model version.
        dataset: The dataset version.
        where: Which of its items.
        flow: The flow that asked; None if no flow did.
        actor_kind: Who asked.
        actor_name: Who asked.
        selection_digest: Object digest of all assets that were selected (JSON array, sorted).
        selected: How many these are.
        inferred: How many of them were not predicted before.
        chunk_items: How many go into one chunk.
        chunks: Object digests of these in slices (JSON arrays, sorted).
        started_at: When the run began, RFC 3339.
        since: The older version of the dataset whose items are left out; None for none.
    """

    run_id: str
    model: Version
    dataset: Version
    where: str
    flow: Version | None
    actor_kind: str
    actor_name: str
    selection_digest: str
    selected: int
    inferred: int
    chunk_items: int
    chunks: tuple[str, ...]
    started_at: str
    since: Version | None = None

    @property
    def work_id(self) -> str:
        """Under what the chunks of this plan are told apart: equal for equal chunks of one run."""
        return digest_of([self.run_id, *self.chunks])

    @property
    def predictions(self) -> str:
        """Name of the predictions artefact."""
        return predictions_name(self.model)

    @property
    def title(self) -> str:
        """What the run does, for people."""
        return f"{self.model} on {self.dataset}"

    def images_through(self, index: int) -> int:
        """Return how many images the chunks up to `index` have together."""
        return min((index + 1) * self.chunk_items, self.inferred)

    def to_json(self) -> bytes:
        """Return the plan's bytes."""
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> ApplicationPlan:
        """Return the plan of its bytes.

        Raises:
            Rejected: They are not a plan.
        """
        try:
            document: dict[str, Any] = orjson.loads(data)
            versions = {
                name: Version(**document[name]) if document.get(name) else None
                for name in ("flow", "since")
            }
            versions |= {name: Version(**document[name]) for name in ("model", "dataset")}
            return cls(**{**document, **versions, "chunks": tuple(document["chunks"])})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Rejected(f"the plan of an application cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Scored:
    """What a chunk found for one asset.

    Args:
        asset: The asset.
        scores: A classifier's, per class in the model's order; empty for other tasks.
        shapes: What any other model found.
        reason: Why it could not be; empty if it was.
    """

    asset: str
    scores: tuple[float, ...] = ()
    shapes: tuple[Shape, ...] = ()
    reason: str = ""


def predictions_name(model: Version) -> str:
    """Return the name of the predictions of a model version: "<model>-<16 digits of its digest>".

    A model's name that would make it longer than names may be is cut.

    >>> predictions_name(Version("catalogue", 2, "ab" * 32))
    'catalogue-abababababababab'
    """
    room = NAME_LENGTH_MAX - _DIGEST_DIGITS - 1
    return f"{model.name[:room]}-{model.digest[:_DIGEST_DIGITS]}"


def slices(assets: Iterable[str], size: int) -> list[list[str]]:
    """Return the assets in chunks, sorted: the same assets always make the same chunks."""
    ordered = sorted(set(assets))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def to_lines(results: Sequence[Scored]) -> bytes:
    """Return a chunk's results as JSON lines."""
    return b"\n".join(canonical_json(_line(one)) for one in results)


def from_lines(data: bytes) -> list[Scored]:
    """Return a chunk's results from JSON lines.

    Raises:
        Rejected: They cannot be read.
    """
    try:
        documents = [orjson.loads(line) for line in data.splitlines()]
        return [
            Scored(
                one["asset"],
                tuple(one.get("scores", ())),
                tuple(map(_shape, one.get("shapes", ()))),
                one.get("reason", ""),
            )
            for one in documents
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Rejected(f"the results of a chunk cannot be read: {error}") from error


def _line(one: Scored) -> dict[str, Any]:
    if one.reason:
        return {"asset": one.asset, "reason": one.reason}
    if one.scores:
        return {"asset": one.asset, "scores": one.scores}
    return {"asset": one.asset, "shapes": [shape_document(shape) for shape in one.shapes]}


def _shape(document: dict[str, Any]) -> Shape:
    lists = {name: tuple(v) for name, v in document.items() if isinstance(v, list)}
    return Shape(**{**document, **lists})
