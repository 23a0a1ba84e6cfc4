"""Models: versions, evaluations, comparison, promotion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Query, Response

from loopline.access import Scope
from services.console.bodies.base import AcceptedOut
from services.console.bodies.models import (
    CellOut,
    ComparisonOut,
    EvaluateIn,
    ModelsOut,
    ModelVersionOut,
    ModelVersionsOut,
    MoveIn,
    MoveOut,
    MovesOut,
    ReportOut,
    RollbackIn,
    TrainIn,
)
from services.console.routes.parameters import Cursor, Digest, Id, Limit, Name, Text, Version
from services.console.routes.registry import Current, Registry

if TYPE_CHECKING:
    from services.console.adapters.commands import Commands
    from services.console.adapters.models import ModelDesk

TAG = "models"
VersionOf = Annotated[int, Query(ge=1, le=2**53)]


class ModelRoutes:
    """What the models can, and which of them is in use."""

    def __init__(self, desk: ModelDesk, commands: Commands) -> None:
        self._desk = desk
        self._commands = commands

    def register(self, registry: Registry) -> None:
        """Add the routes."""
        add, one = registry.add, "/models/{name}"
        at = f"{one}/versions/{{version}}"
        add("GET", "/models", self.get_models, Scope.READ, tag=TAG)
        add("POST", "/models/train", self.post_train, Scope.OPERATE, tag=TAG, status=202)
        add("GET", f"{one}/versions", self.get_model_versions, Scope.READ, tag=TAG)
        add("GET", at, self.get_model_version, Scope.READ, tag=TAG)
        add("GET", f"{at}/evaluations/{{id}}", self.get_report, Scope.READ, tag=TAG)
        add("GET", f"{at}/evaluations/{{id}}/cell", self.get_cell, Scope.READ, tag=TAG)
        add(
            "GET", f"{at}/evaluations/{{id}}/page", self.get_report_page, Scope.READ, tag=TAG,
            raw="text/html",
        )  # fmt: skip
        add(
            "GET", f"{at}/files/{{file}}", self.get_file, Scope.READ, tag=TAG,
            raw="application/octet-stream",
        )  # fmt: skip
        add("POST", f"{at}/evaluate", self.post_evaluate, Scope.OPERATE, tag=TAG, status=202)
        add("GET", f"{one}/compare", self.get_comparison, Scope.READ, tag=TAG)
        add("GET", f"{one}/aliases", self.get_moves, Scope.READ, tag=TAG)
        add("POST", f"{one}/promote", self.post_promote, Scope.OPERATE, tag=TAG)
        add("POST", f"{one}/rollback", self.post_rollback, Scope.OPERATE, tag=TAG)

    async def get_models(self) -> ModelsOut:
        """List every model."""
        return await self._desk.models()

    async def get_model_versions(self, name: Name) -> ModelVersionsOut:
        """List the versions of a model."""
        return await self._desk.versions(name)

    async def get_model_version(self, name: Name, version: Version) -> ModelVersionOut:
        """Show one version."""
        return await self._desk.version(name, version)

    async def get_report(self, name: Name, version: Version, id: Digest) -> ReportOut:
        """Return the whole report of an evaluation."""
        return await self._desk.report(name, version, id)

    async def get_cell(
        self, name: Name, version: Version, id: Digest, truth: Text, predicted: Text,
        cursor: Cursor = "", limit: Limit = 60,
    ) -> CellOut:  # fmt: skip
        """Return the images of one cell of an evaluation's confusion matrix."""
        return await self._desk.cell(name, version, id, truth, predicted, cursor, limit)

    async def get_report_page(self, name: Name, version: Version, id: Digest) -> Response:
        """Return the report of an evaluation as one HTML page."""
        return await self._desk.report_page(name, version, id)

    async def get_file(self, name: Name, version: Version, file: Id) -> Response:
        """Download a file of a model version."""
        return await self._desk.file(name, version, file)

    async def post_evaluate(
        self, name: Name, version: Version, body: EvaluateIn, caller: Current
    ) -> AcceptedOut:
        """Measure a model version on a split of a dataset version."""
        return await self._commands.evaluate(name, version, body, caller)

    async def post_train(self, body: TrainIn, caller: Current) -> AcceptedOut:
        """Train a model on a dataset version."""
        return await self._commands.train(body, caller)

    async def get_comparison(self, name: Name, a: VersionOf, b: VersionOf) -> ComparisonOut:
        """Put two versions beside each other."""
        return await self._desk.compare(name, a, b)

    async def get_moves(self, name: Name) -> MovesOut:
        """Tell when which alias was moved, by whom and why."""
        return await self._desk.moves(name)

    async def post_promote(self, name: Name, body: MoveIn, caller: Current) -> MoveOut:
        """Move an alias to a version."""
        return await self._desk.promote(name, body, caller)

    async def post_rollback(self, name: Name, body: RollbackIn, caller: Current) -> MoveOut:
        """Move an alias back to where it pointed before; a rollout ends, and the alias stays."""
        return await self._desk.rollback(name, body, caller)
