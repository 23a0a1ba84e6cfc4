"""`AsyncLoopline`: the platform from a program, for asyncio. `Loopline` is the same without it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from loopline.client.augment import AugmentVerbs
from loopline.client.datasets import DatasetVerbs
from loopline.client.dead import DeadVerbs
from loopline.client.evaluations import EvaluationVerbs
from loopline.client.flows import FlowVerbs
from loopline.client.jobs import JobVerbs
from loopline.client.lineage import LineageVerbs
from loopline.client.models import ModelVerbs
from loopline.client.people import TokenVerbs, UserVerbs
from loopline.client.runs import AgentVerbs, RunVerbs
from loopline.client.session import CommandResult, Session, Told
from loopline.client.settings import ClientSettings
from loopline.client.storage import StorageVerbs
from loopline.contracts import (
    ApplyModel,
    BucketLocation,
    ImportImages,
    ImportRules,
    ReproduceModel,
    RunChanged,
    TrainModel,
    catalog,
)
from loopline.contracts.catalog import DEFAULT_POOL
from loopline.contracts.inference.v1 import predict_pb2
from loopline.errors import Rejected
from loopline.names import validate_name


class AsyncLoopline:
    """One object for everything.

    >>> async with await AsyncLoopline.connect() as loopline:  # doctest: +SKIP
    ...     versions = await loopline.dataset.log("catalogue")
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.dataset = DatasetVerbs(session)
        self.augment = AugmentVerbs(session, self.dataset)
        self.model = ModelVerbs(session)
        self.evaluation = EvaluationVerbs(session)
        self.flow = FlowVerbs(session)
        self.job = JobVerbs(session)
        self.dead = DeadVerbs(session)
        self.lineage = LineageVerbs(session)
        self.storage = StorageVerbs(session)
        self.run = RunVerbs(session)
        self.agent = AgentVerbs(session)
        self.user = UserVerbs(session)
        self.token = TokenVerbs(session)

    @classmethod
    async def connect(cls, data_dir: Path | None = None, **settings: Any) -> AsyncLoopline:
        """Connect to the platform of `data_dir` (".loopline"), or where `LOOPLINE_*` variables say.

        Raises:
            NotFound: No platform is known.
            Transient: It does not answer.
        """
        return cls(await Session.open(ClientSettings.load(data_dir, **settings)))

    async def close(self) -> None:
        """Close every connection."""
        await self.session.close()

    async def __aenter__(self) -> AsyncLoopline:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def import_images(
        self,
        dataset: str,
        *,
        connection: str,
        bucket: str,
        prefix: str = "",
        labels_key: str = "",
        classes: Sequence[str] = (),
        rules: ImportRules | None = None,
        wait: bool = True,
        pool: str = DEFAULT_POOL,
    ) -> CommandResult:
        """Import the images of a customer's bucket into a dataset.

        Args:
            dataset: The dataset; made if it is not there.
            connection: Name of a configured connection.
            bucket: Bucket name.
            prefix: Only keys that start with this.
            labels_key: Key of a file with known labels: CSV "file,class,split", or COCO JSON.
            classes: Classes in the order models index them.
            rules: What to keep; the service's defaults if None.
            wait: Return when the run has ended, else as soon as the command is stored.
            pool: Whose workers take it.

        Raises:
            Rejected: The command was refused.
            RunFailed: The import failed.
        """
        command = ImportImages(
            dataset=validate_name("dataset", dataset),
            source=BucketLocation(connection=connection, bucket=bucket, prefix=prefix),
            labels_key=labels_key,
            classes=classes,
            rules=rules,
            actor=self.session.actor,
        )
        return await self.session.command(catalog.IMPORT_IMAGES, command, wait=wait, pool=pool)

    async def train(
        self,
        model: str,
        dataset: str,
        *,
        recipe: str = "classification",
        parameters: dict[str, Any] | None = None,
        wait: bool = True,
        pool: str = DEFAULT_POOL,
        told: Told | None = None,
    ) -> CommandResult:
        """Train a model on a dataset version ("catalogue@v2"; its head without version).

        Args:
            model: The model to commit a version of.
            dataset: What to train on.
            recipe: Name of the recipe.
            parameters: The recipe's; unknown ones are refused by name.
            wait: Return when the run has ended, else as soon as the command is stored.
            pool: Whose agents take it, or the name of one agent.
            told: Called with each report of the run, while it is waited for.
        """
        version = await self.dataset.get(dataset)
        command = TrainModel(
            model=validate_name("model", model),
            recipe=recipe,
            dataset=version.ref,
            actor=self.session.actor,
        )
        command.parameters.update(parameters or {})
        return await self.session.command(
            catalog.TRAIN_MODEL, command, wait=wait, told=told, pool=pool
        )

    async def reproduce(
        self,
        model: str,
        *,
        changes: dict[str, Any] | None = None,
        dataset: str = "",
        wait: bool = True,
        pool: str = DEFAULT_POOL,
        told: Told | None = None,
        id: str = "",
    ) -> CommandResult:
        """Train a model version ("catalogue@v2") again from the log alone, and compare.

        What it proves is a commit: see `model.reproductions`.

        Args:
            model: The model version.
            changes: Parameters to change, to see what they do; none for a proof.
            dataset: Another dataset version, to see what that does; none for a proof.
            wait: Return when the run has ended, else as soon as the command is stored.
            pool: Whose agents take it, or the name of one agent.
            told: Called with each report of the run, while it is waited for.
            id: Names the attempt: asked for again under it, it is not made twice. Each call is an
                attempt of its own without.
        """
        command = ReproduceModel(model=(await self.model.get(model)).ref, actor=self.session.actor)
        command.changes.update(changes or {})
        if dataset:
            command.dataset.CopyFrom((await self.dataset.get(dataset)).ref)
        return await self.session.command(
            catalog.REPRODUCE_MODEL, command, wait=wait, told=told, id=id, pool=pool
        )

    async def apply(
        self,
        model: str,
        dataset: str,
        *,
        where: str = "",
        wait: bool = True,
        pool: str = DEFAULT_POOL,
    ) -> CommandResult:
        """Apply a model version to the items of a dataset version that `where` (CEL) selects."""
        command = ApplyModel(
            model=(await self.model.get(model)).ref,
            dataset=(await self.dataset.get(dataset)).ref,
            where=where,
            actor=self.session.actor,
        )
        return await self.session.command(catalog.APPLY_MODEL, command, wait=wait, pool=pool)

    async def predict(self, model: str, images: Sequence[Path]) -> predict_pb2.PredictResponse:
        """Ask a served model about image files; see `ModelVerbs.predict`."""
        try:
            blobs = [path.read_bytes() for path in images]
        except OSError as error:
            raise Rejected(f"{error.filename}: {error.strerror}") from error
        return await self.model.predict(model, blobs)

    async def events(self) -> AsyncIterator[RunChanged | Rejected]:
        """Yield the reports of every run, and what is rejected, from now on."""
        async with self.session.reports() as reports:
            async for report in reports:
                yield report
