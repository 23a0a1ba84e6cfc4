"""`Loopline`: the platform from a program without asyncio.

Generated from `loopline.client.aio` by `python -m loopline.client.generate`; do not edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from loopline.client.aio import AsyncLoopline
from loopline.client.portal import Portal
from loopline.client.session import CommandResult, Told
from loopline.client.sync.augment import AugmentVerbs
from loopline.client.sync.datasets import DatasetVerbs
from loopline.client.sync.dead import DeadVerbs
from loopline.client.sync.evaluations import EvaluationVerbs
from loopline.client.sync.flows import FlowVerbs
from loopline.client.sync.jobs import JobVerbs
from loopline.client.sync.lineage import LineageVerbs
from loopline.client.sync.models import ModelVerbs
from loopline.client.sync.people import TokenVerbs, UserVerbs
from loopline.client.sync.runs import AgentVerbs, RunVerbs
from loopline.client.sync.storage import StorageVerbs
from loopline.contracts import (
    ImportRules,
    RunChanged,
)
from loopline.contracts.catalog import DEFAULT_POOL
from loopline.contracts.inference.v1 import predict_pb2
from loopline.errors import Rejected


class LooplineVerbs:
    """One object for everything."""

    def __init__(self, portal: Portal, client: AsyncLoopline) -> None:
        self._portal = portal
        self._client = client

    def import_images(
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
        return self._portal.call(
            self._client.import_images(
                dataset,
                connection=connection,
                bucket=bucket,
                prefix=prefix,
                labels_key=labels_key,
                classes=classes,
                rules=rules,
                wait=wait,
                pool=pool,
            )
        )

    def train(
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
        return self._portal.call(
            self._client.train(
                model,
                dataset,
                recipe=recipe,
                parameters=parameters,
                wait=wait,
                pool=pool,
                told=told,
            )
        )

    def reproduce(
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
        return self._portal.call(
            self._client.reproduce(
                model, changes=changes, dataset=dataset, wait=wait, pool=pool, told=told, id=id
            )
        )

    def apply(
        self,
        model: str,
        dataset: str,
        *,
        where: str = "",
        wait: bool = True,
        pool: str = DEFAULT_POOL,
    ) -> CommandResult:
        """Apply a model version to the items of a dataset version that `where` (CEL) selects."""
        return self._portal.call(
            self._client.apply(model, dataset, where=where, wait=wait, pool=pool)
        )

    def predict(self, model: str, images: Sequence[Path]) -> predict_pb2.PredictResponse:
        """Ask a served model about image files; see `ModelVerbs.predict`."""
        return self._portal.call(self._client.predict(model, images))

    def events(self) -> Iterator[RunChanged | Rejected]:
        """Yield the reports of every run, and what is rejected, from now on."""
        return self._portal.iterate(self._client.events())


class Loopline(LooplineVerbs):
    """One object for everything; close it, or use it in a `with` block.

    >>> with Loopline.connect() as loopline:  # doctest: +SKIP
    ...     versions = loopline.dataset.log("catalogue")
    """

    def __init__(self, portal: Portal, client: AsyncLoopline) -> None:
        super().__init__(portal, client)
        self.dataset = DatasetVerbs(portal, client.dataset)
        self.augment = AugmentVerbs(portal, client.augment)
        self.model = ModelVerbs(portal, client.model)
        self.evaluation = EvaluationVerbs(portal, client.evaluation)
        self.flow = FlowVerbs(portal, client.flow)
        self.job = JobVerbs(portal, client.job)
        self.dead = DeadVerbs(portal, client.dead)
        self.lineage = LineageVerbs(portal, client.lineage)
        self.storage = StorageVerbs(portal, client.storage)
        self.user = UserVerbs(portal, client.user)
        self.token = TokenVerbs(portal, client.token)
        self.run = RunVerbs(portal, client.run)
        self.agent = AgentVerbs(portal, client.agent)

    @classmethod
    def connect(cls, data_dir: Path | None = None, **settings: Any) -> Loopline:
        """Connect; see `AsyncLoopline.connect`."""
        portal = Portal()
        try:
            return cls(portal, portal.call(AsyncLoopline.connect(data_dir, **settings)))
        except BaseException:
            portal.close()
            raise

    def close(self) -> None:
        """Close every connection."""
        self._portal.call(self._client.close())
        self._portal.close()

    def __enter__(self) -> Loopline:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()
