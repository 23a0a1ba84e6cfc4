"""Models: versions, evaluations, comparison, promotion."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from loopline.evaluation.report import Comparison, Report
from services.console.bodies.base import In, Name, Out, PersonOut, RefOut
from services.console.bodies.datasets import ItemOut
from services.console.bodies.workflow import AliasOut, DownloadOut


class EvaluationOut(Out):
    """An evaluation of a model version on one split of one dataset version."""

    id: str
    """Digest of its report: `/api/models/{name}/versions/{version}/evaluations/{id}`."""
    split: str
    split_digest: str
    """Two evaluations compare only where it is equal."""
    count: int
    metrics: dict[str, float]
    dataset: RefOut | None
    evaluated_at: str
    page_url: str
    """The report as one HTML page; "" if there is none."""


class ModelVersionOut(Out):
    """One version of a model."""

    name: str
    version: int
    digest: str
    node: str
    summary: str
    committed_at: str
    actor: PersonOut | None
    run: str
    task: str
    recipe: str
    classes: list[str]
    trained_on: RefOut | None
    parameters: dict[str, Any]
    duration_s: float | None
    aliases: list[AliasOut]
    main_metric: str
    """Name of the figure that versions are ordered by; "" if there is none."""
    main_value: float | None
    metrics: dict[str, float]
    """Of the first evaluation."""
    evaluations: list[EvaluationOut]
    files: list[DownloadOut]
    size_bytes: int
    """Of the ONNX file; 0 if there is none."""


class ModelOut(Out):
    """A model, by its last version."""

    name: str
    head: ModelVersionOut
    versions: int
    aliases: dict[str, int]
    """Alias to version."""


class ModelsOut(Out):
    """Every model, the last changed first."""

    models: list[ModelOut]


class ModelVersionsOut(Out):
    """The versions of a model, the newest first."""

    name: str
    versions: list[ModelVersionOut]


class ReportOut(Out):
    """An evaluation with its whole report: confusion, curves, calibration, worst images, slices."""

    evaluation: EvaluationOut
    report: Report


class CellOut(Out):
    """The images of one cell of a confusion matrix, the worst first."""

    truth: str
    predicted: str
    items: list[ItemOut]
    total: int
    is_whole: bool
    """False if only the worst images are known, as of boxes and masks."""
    next_cursor: str | None


class FigureDifferenceOut(Out):
    """One figure of two versions."""

    name: str
    a: float | None
    b: float | None
    difference: float | None


class ComparisonOut(Out):
    """Two model versions beside each other."""

    a: ModelVersionOut
    b: ModelVersionOut
    is_comparable: bool
    """Whether both were measured on the same split: same items, same labels."""
    reason: str
    """Why they are not."""
    metrics: list[FigureDifferenceOut]
    per_class: list[FigureDifferenceOut]
    parameters: dict[str, tuple[Any, Any]]
    """Those that differ."""
    confidence: Comparison | None
    """How sure the differences are, from what was found on each image; null if that was not kept,
    or the two were not measured on the same split."""


class MoveIn(In):
    """Moves an alias by hand; to an earlier version it is a rollback."""

    alias: Name = "champion"
    version: int = Field(ge=1)
    reason: str = Field(default="", max_length=500)


class RollbackIn(In):
    """Moves an alias back to where it pointed before; a rollout ends, and the alias stays."""

    alias: Name = "champion"
    reason: str = Field(default="", max_length=500)


class RolloutOut(Out):
    """A second version beside an alias's."""

    version: int
    canary: float
    """Share of the requests that it answers."""
    shadow: float
    """Share of the others that it gets copies of."""


class MoveOut(Out):
    """A move of an alias."""

    model: str
    alias: str
    version: int
    previous: int
    """0 if it is the first move."""
    rollout: RolloutOut | None
    """Who else answers since; the next move ends it."""
    moved_at: str
    actor: PersonOut | None
    reason: str


class MovesOut(Out):
    """The history of a model's aliases, the newest first."""

    moves: list[MoveOut]


class EvaluateIn(In):
    """Measures a model version."""

    dataset: Name
    dataset_version: int = Field(default=0, ge=0)
    """0 for the head."""
    split: str = Field(default="test", pattern="^(train|val|test)$")


class TrainIn(In):
    """Trains a model."""

    model: Name
    dataset: Name
    dataset_version: int = Field(default=0, ge=0)
    recipe: Name = "classification"
    parameters: dict[str, Any] = Field(default_factory=dict)
    pool: Name = "default"
