"""`Loopline`: the platform from a program without asyncio.

Generated from the async client by `python -m loopline.client.generate`; do not edit.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loopline.client import augment as _augment
from loopline.client import datasets as _datasets
from loopline.client import dead as _dead
from loopline.client import evaluations as _evaluations
from loopline.client import flows as _flows
from loopline.client import jobs as _jobs
from loopline.client import lineage as _lineage
from loopline.client import models as _models
from loopline.client import people as _people
from loopline.client import runs as _runs
from loopline.client import storage as _storage
from loopline.client.aio import AsyncLoopline
from loopline.client.datasets import Columns, DatasetVersion, DatasetVersions, Leaks
from loopline.client.evaluations import EvaluationVersions
from loopline.client.flows import FlowVersion
from loopline.client.folders import Imported
from loopline.client.jobs import Json, JsonList
from loopline.client.models import Aliases, ModelVersion, ModelVersions, Reproductions
from loopline.client.portal import Portal
from loopline.client.replay import Replayed
from loopline.client.runs import AgentStates, Reports
from loopline.client.session import CommandResult, Told
from loopline.contracts import (
    AliasMoved,
    BucketLocation,
    ImportRules,
    RunChanged,
)
from loopline.contracts.catalog import DEFAULT_POOL
from loopline.contracts.inference.v1 import predict_pb2
from loopline.errors import Rejected
from loopline.evaluation.report import Comparison, Report
from loopline.lineage.trace import Step
from loopline.store.commits import Committed
from loopline.store.deadletters import DeadLetter
from loopline.store.evaluations import CONFIDENCE, RESAMPLES
from loopline.store.fsck import FsckReport, GcReport
from loopline.store.items import Item
from loopline.store.trees import Diff
from loopline.store.verify import VerifyReport


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


class DatasetVerbs:
    """What can be done with datasets. Versions are written `catalogue@v3` or `catalogue@<tag>`."""

    def __init__(self, portal: Portal, client: _datasets.DatasetVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self) -> DatasetVersions:
        """Return the head of every dataset."""
        return self._portal.call(self._client.list())

    def log(self, name: str) -> DatasetVersions:
        """Return a dataset's versions, newest first; NotFound if there is no such dataset."""
        return self._portal.call(self._client.log(name))

    def get(self, version: str) -> DatasetVersion:
        """Return one version; NotFound if there is none of that name, number or tag."""
        return self._portal.call(self._client.get(version))

    def items(self, version: str, columns: Columns | None = None) -> Iterator[Item]:
        """Yield a version's items, sorted by asset; only these columns are read if named."""
        return self._portal.iterate(self._client.items(version, columns))

    def diff(self, before: str, after: str) -> Diff[Item]:
        """Return what was added, removed and changed from one version to another."""
        return self._portal.call(self._client.diff(before, after))

    def leaks(self, version: str) -> Leaks:
        """Return what two splits of a version have in common: copies, and what was made of them."""
        return self._portal.call(self._client.leaks(version))

    def restore(self, version: str) -> DatasetVersion:
        """Commit a new version whose items are those of `version`."""
        return self._portal.call(self._client.restore(version))

    def tag(self, version: str, tag: str) -> DatasetVersion:
        """Name a version; a tag can be moved."""
        return self._portal.call(self._client.tag(version, tag))

    def export(self, version: str, folder: Path, *, format: str = "coco") -> int:
        """Write images, labels in a format and items.csv below `folder`; return how many images.

        Args:
            version: What to write.
            folder: New, or empty.
            format: One of `loopline.formats.registry.FORMATS`.

        Raises:
            Rejected: The folder exists and is not empty, or there is no such format.
        """
        return self._portal.call(self._client.export(version, folder, format=format))

    def import_folder(self, name: str, path: Path, *, format: str = "coco") -> Imported:
        """Commit the images and labels of a folder (or file) in a format to a dataset.

        An image is the item whose bytes it has; where there is only its name, the item that was
        imported from such a file. Images that the dataset does not have are added. Labels take the
        place of those that an item has.

        Raises:
            Rejected: A file cannot be; nothing is committed then.
        """
        return self._portal.call(self._client.import_folder(name, path, format=format))


class ModelVerbs:
    """What can be done with models. Versions are written `catalogue@v2` or `catalogue@champion`."""

    def __init__(self, portal: Portal, client: _models.ModelVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self) -> ModelVersions:
        """Return the last version of every model."""
        return self._portal.call(self._client.list())

    def log(self, name: str) -> ModelVersions:
        """Return a model's versions, newest first; NotFound if there is no such model."""
        return self._portal.call(self._client.log(name))

    def aliases(self, name: str) -> Aliases:
        """Return the heads of a model's aliases."""
        return self._portal.call(self._client.aliases(name))

    def get(self, version: str) -> ModelVersion:
        """Return one version; NotFound if there is none of that number or alias."""
        return self._portal.call(self._client.get(version))

    def promote(
        self, version: str, alias: str = "champion", reason: str = ""
    ) -> Committed[AliasMoved]:
        """Move an alias to a version by hand; moving it back is a rollback."""
        return self._portal.call(self._client.promote(version, alias, reason))

    def rollout(
        self,
        version: str,
        alias: str = "champion",
        canary: float = 0.0,
        shadow: float = 0.0,
        reason: str = "",
    ) -> Committed[AliasMoved]:
        """Put a version beside the one that an alias points to; `promote` ends it, either way.

        Args:
            version: The second version: "catalogue@v3".
            alias: The alias.
            canary: Share of the requests that it answers, in [0, 1]; those with the same
                `sticky_key` parameter get the same version.
            shadow: Share of the other requests that it gets a copy of, in [0, 1]: its answers are
                compared, never returned.
            reason: Why; kept in the log.

        Raises:
            Rejected: A share is out of its range, or the alias points to that version.
            NotFound: There is no such version or alias.
        """
        return self._portal.call(self._client.rollout(version, alias, canary, shadow, reason))

    def replay(self, version: str, images: int = 200) -> Replayed:
        """Ask a served version about recorded production requests, before an alias moves to it.

        Args:
            version: The version: "catalogue@v3".
            images: How many recorded images, the newest first.

        Raises:
            NotFound: There is no such version, or nothing was recorded of the model.
            Transient: It cannot be asked now.
        """
        return self._portal.call(self._client.replay(version, images))

    def reproductions(self, name: str) -> Reproductions:
        """Return the attempts to train versions of a model again, newest first."""
        return self._portal.call(self._client.reproductions(name))

    def download(self, version: str, file: str, path: Path) -> int:
        """Write a file of a model version ("model.onnx") to `path`; return its size in bytes."""
        return self._portal.call(self._client.download(version, file, path))

    def predict(self, model: str, images: Sequence[bytes]) -> predict_pb2.PredictResponse:
        """Ask a served model about encoded images (JPEG, PNG, WebP).

        Args:
            model: "catalogue" for its champion, or "catalogue@v2".
            images: The encoded images; a bad one gets an `error` of its own in the answer.

        Raises:
            Rejected: The model is not known, or the request is too large.
            Transient: The server cannot be reached or is busy.
        """
        return self._portal.call(self._client.predict(model, images))


class EvaluationVerbs:
    """What can be measured. Versions are written `catalogue@v2`, `catalogue@champion`."""

    def __init__(self, portal: Portal, client: _evaluations.EvaluationVerbs) -> None:
        self._portal = portal
        self._client = client

    def run(
        self,
        model: str,
        dataset: str,
        *,
        split: str = "test",
        wait: bool = True,
        pool: str = DEFAULT_POOL,
        told: Told | None = None,
    ) -> CommandResult:
        """Measure a model version on a split of a dataset version.

        Args:
            model: The version.
            dataset: The dataset version.
            split: "train", "val" or "test".
            wait: Return when the run has ended, else as soon as the command is stored.
            pool: Whose agents take it, or the name of one agent.
            told: Called with each report of the run, while it is waited for.

        Raises:
            Rejected: The command was refused.
            RunFailed: The labels or the network do not fit.
        """
        return self._portal.call(
            self._client.run(model, dataset, split=split, wait=wait, pool=pool, told=told)
        )

    def quantize(
        self,
        model: str,
        dataset: str = "",
        *,
        calibration_images: int = 0,
        wait: bool = True,
        pool: str = DEFAULT_POOL,
        told: Told | None = None,
    ) -> CommandResult:
        """Write a version again in 8 bit integers, as the model's next version, and measure it.

        Args:
            model: The version.
            dataset: What to calibrate and measure with; by default what it was trained on.
            calibration_images: Of the split "train"; 0 is the service's default.
            wait: Return when the run has ended, else as soon as the command is stored.
            pool: Whose agents take it, or the name of one agent.
            told: Called with each report of the run, while it is waited for.

        Raises:
            Rejected: The command was refused.
            RunFailed: The network cannot be quantized.
        """
        return self._portal.call(
            self._client.quantize(
                model,
                dataset,
                calibration_images=calibration_images,
                wait=wait,
                pool=pool,
                told=told,
            )
        )

    def list(self, model: str) -> EvaluationVersions:
        """Return the evaluations of all versions of a model that were asked for, newest first."""
        return self._portal.call(self._client.list(model))

    def report(self, model: str, dataset: str = "", split: str = "") -> Report:
        """Return the newest report of a version, of this dataset version and split if named.

        Raises:
            NotFound: It was not measured on that.
        """
        return self._portal.call(self._client.report(model, dataset, split))

    def page(self, model: str, dataset: str = "", split: str = "") -> bytes:
        """Return that report as one HTML page; NotFound as for `report`."""
        return self._portal.call(self._client.page(model, dataset, split))

    def compare(
        self,
        a: str,
        b: str,
        *,
        resamples: int = RESAMPLES,
        confidence: float = CONFIDENCE,
        seed: int = 0,
    ) -> Comparison:
        """Compare two versions on the frozen split that both were measured on.

        Raises:
            Rejected: There is none.
        """
        return self._portal.call(
            self._client.compare(a, b, resamples=resamples, confidence=confidence, seed=seed)
        )

    def card(self, model: str) -> str:
        """Return the model card of a version: Markdown."""
        return self._portal.call(self._client.card(model))


class FlowVerbs:
    """What can be done with flows."""

    def __init__(self, portal: Portal, client: _flows.FlowVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self) -> builtins.list[FlowVersion]:
        """Return the head of every flow."""
        return self._portal.call(self._client.list())

    def get(self, version: str) -> FlowVersion:
        """Return one version of a flow (`catalogue@v3`; its head without version)."""
        return self._portal.call(self._client.get(version))

    def put(self, document: str) -> FlowVersion:
        """Commit a flow document (YAML) as the flow's next version.

        The same one again changes nothing.

        Raises:
            Rejected: A field is unknown, or a rule does not compile; the message names the place.
        """
        return self._portal.call(self._client.put(document))


class JobVerbs:
    """What can be done with labeling jobs."""

    def __init__(self, portal: Portal, client: _jobs.JobVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self) -> JsonList:
        """Return every job with its progress."""
        return self._portal.call(self._client.list())

    def get(self, job: str) -> dict[str, Any]:
        """Return one job; NotFound if there is none of that name."""
        return self._portal.call(self._client.get(job))

    def items(self, job: str, state: str = "") -> JsonList:
        """Return a job's items with predictions and labels; only those in `state` if named."""
        return self._portal.call(self._client.items(job, state))

    def image(self, asset: str) -> bytes:
        """Return the bytes of an image of a job."""
        return self._portal.call(self._client.image(asset))

    def label(
        self,
        job: str,
        asset: str,
        shapes: Sequence[Mapping[str, Any]],
        *,
        labeler: str = "",
        spent_s: float = 0.0,
    ) -> dict[str, Any]:
        """Submit all annotations of one item: `[{"class_name": "coat"}]`."""
        return self._portal.call(
            self._client.label(job, asset, shapes, labeler=labeler, spent_s=spent_s)
        )

    def label_many(
        self, job: str, labels: Mapping[str, Sequence[Mapping[str, Any]]], *, labeler: str = ""
    ) -> int:
        """Submit the annotations of many items, by asset; return how many were taken.

        Raises:
            Rejected: Some were refused; the message has the first reason, the others were taken.
        """
        return self._portal.call(self._client.label_many(job, labels, labeler=labeler))

    def open(self, job: str, dataset: str, **options: Any) -> dict[str, Any]:
        """Open a job over items of a dataset version.

        Args:
            job: Its name.
            dataset: "catalogue", "catalogue@v3".
            **options: The other fields of `POST /v1/jobs` (docs/labeling.md): `items` or `where`,
                `classes`, `shapes`, `review`, `labelers_per_item`, ...
        """
        return self._portal.call(self._client.open(job, dataset, **options))

    def change(self, job: str, **changes: Any) -> dict[str, Any]:
        """Ask other people, or by another date, or more urgently.

        Args:
            job: The job.
            **changes: `labelers`, `reviewers`, `deadline` (RFC 3339), `priority`, `instructions`.
        """
        return self._portal.call(self._client.change(job, **changes))

    def item(self, job: str, asset: str) -> dict[str, Any]:
        """Return one item of a job."""
        return self._portal.call(self._client.item(job, asset))

    def history(self, job: str, asset: str = "") -> JsonList:
        """Return what became of a job, or what was said of one of its items, oldest first."""
        return self._portal.call(self._client.history(job, asset))

    def start(self, job: str) -> dict[str, Any]:
        """Start a job that waits to be started."""
        return self._portal.call(self._client.start(job))

    def stop(self, job: str, *, keep_labels: bool = True) -> dict[str, Any]:
        """Stop a job: nothing more can be submitted; the labels made so far are kept, or not."""
        return self._portal.call(self._client.stop(job, keep_labels=keep_labels))

    def reopen(self, job: str, assets: Sequence[str] = ()) -> dict[str, Any]:
        """Open a job again that is over; these items, or all, go back to the queue."""
        return self._portal.call(self._client.reopen(job, assets))

    def take(
        self, job: str, count: int = 1, *, labeler: str = "", review: bool = False
    ) -> JsonList:
        """Take items to label, or to review; nobody else gets them meanwhile."""
        return self._portal.call(self._client.take(job, count, labeler=labeler, review=review))

    def review(
        self,
        job: str,
        asset: str,
        verdict: str,
        *,
        labels_version: int,
        comment: str = "",
        reviewer: str = "",
    ) -> dict[str, Any]:
        """Say "accepted" or "rejected" of an item's labels, of the version that was looked at."""
        return self._portal.call(
            self._client.review(
                job,
                asset,
                verdict,
                labels_version=labels_version,
                comment=comment,
                reviewer=reviewer,
            )
        )

    def wrong(
        self, job: str, *, kind: str = "", class_name: str = "", confidence_min: float = 0.0
    ) -> JsonList:
        """Return where the model that labelers were shown was wrong.

        Args:
            job: The job.
            kind: Only "class", "missed", "invented" or "moved".
            class_name: Only where this class was predicted or is said.
            confidence_min: Only what the model was at least this sure of, and what it missed.
        """
        return self._portal.call(
            self._client.wrong(job, kind=kind, class_name=class_name, confidence_min=confidence_min)
        )

    def labelers(self, job: str) -> dict[str, Any]:
        """Return how each labeler does, against the truth and against each other."""
        return self._portal.call(self._client.labelers(job))

    def predict(self, job: str, model: str, *, confidence_min: float = 0.0) -> dict[str, Any]:
        """Ask a deployed model about every item that waits for labels; returns at once."""
        return self._portal.call(self._client.predict(job, model, confidence_min=confidence_min))

    def preannotation(self, job: str) -> dict[str, Any]:
        """Return how far a model was asked about a job's items."""
        return self._portal.call(self._client.preannotation(job))

    def notifications(self, job: str) -> JsonList:
        """Return what became of telling others of a job, the latest first."""
        return self._portal.call(self._client.notifications(job))

    def redeliver(self, job: str, *, version: int = 0, receiver: str = "") -> dict[str, Any]:
        """Tell one or every receiver of a job's commit (the last one for 0) again."""
        return self._portal.call(self._client.redeliver(job, version=version, receiver=receiver))


class DeadVerbs:
    """What can be done with messages that nobody could handle."""

    def __init__(self, portal: Portal, client: _dead.DeadVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self, service: str = "") -> builtins.list[DeadLetter]:
        """Return the dead letters, oldest first; only those of `service` if named."""
        return self._portal.call(self._client.list(service))

    def show(self, sequence: int) -> DeadLetter:
        """Return one dead letter; NotFound if there is none of that number."""
        return self._portal.call(self._client.show(sequence))

    def retry(self, sequence: int) -> DeadLetter:
        """Put a command back on its subject.

        Rejected for a commit, which is never published twice.
        """
        return self._portal.call(self._client.retry(sequence))

    def discard(self, sequence: int) -> None:
        """Remove a dead letter."""
        return self._portal.call(self._client.discard(sequence))


class LineageVerbs:
    """Questions to the workflow graph. Answers are the JSON of lineage's API (docs/lineage.md)."""

    def __init__(self, portal: Portal, client: _lineage.LineageVerbs) -> None:
        self._portal = portal
        self._client = client

    def graph(self, focus: str = "", direction: str = "") -> dict[str, Any]:
        """Return nodes and edges; only those around `focus` if named."""
        return self._portal.call(self._client.graph(focus, direction))

    def node(self, node: str) -> dict[str, Any]:
        """Return one node, "dataset:catalogue@1"; NotFound if there is none of that id."""
        return self._portal.call(self._client.node(node))

    def trace(self, target: str = "") -> Step:
        """Return the path from a delivered object, an image or a node back to where it came from.

        Args:
            target: A delivered object's URI or key, an asset's digest, a node's id, or "" for an
                object of the last delivery.

        Raises:
            NotFound: There is no such thing.
        """
        return self._portal.call(self._client.trace(target))

    def destinations(self) -> builtins.list[BucketLocation]:
        """Return the places of customers' storage that anything was delivered to."""
        return self._portal.call(self._client.destinations())

    def verify(
        self,
        connection: str,
        bucket: str,
        prefix: str = "",
        *,
        progress: Callable[[int], None] | None = None,
    ) -> VerifyReport:
        """Walk every object below a place of a customer's storage and prove its chain from the log.

        Args:
            connection: Name of a configured connection.
            bucket: The bucket.
            prefix: Only objects whose key starts with this.
            progress: Called with the number of objects looked at so far.

        Raises:
            Rejected: The connection is not configured here, or the bucket refuses its key.
        """
        return self._portal.call(self._client.verify(connection, bucket, prefix, progress=progress))


class StorageVerbs:
    """Checks of the platform's object storage."""

    def __init__(self, portal: Portal, client: _storage.StorageVerbs) -> None:
        self._portal = portal
        self._client = client

    def fsck(self, *, deep: bool = False) -> FsckReport:
        """Find objects that are missing, corrupt (if `deep`: all are read) or garbage."""
        return self._portal.call(self._client.fsck(deep=deep))

    def gc(self, *, dry_run: bool = True, grace_days: float = 7.0) -> GcReport:
        """Remove garbage older than `grace_days`, or say what would be removed."""
        return self._portal.call(self._client.gc(dry_run=dry_run, grace_days=grace_days))


class UserVerbs:
    """What an admin can do with users. Answers are the JSON of the console's API."""

    def __init__(self, portal: Portal, client: _people.UserVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self) -> JsonList:
        """Return everybody."""
        return self._portal.call(self._client.list())

    def add(self, name: str, role: str = "viewer", *, email: str = "", password: str = "") -> Json:
        """Add a person: viewer, labeler, reviewer, operator or admin.

        Raises:
            Rejected: There is a person of that name, or the password is too short.
        """
        return self._portal.call(self._client.add(name, role, email=email, password=password))

    def change(
        self, name: str, *, role: str = "", password: str = "", disabled: bool | None = None
    ) -> Json:
        """Change a person's role or password, or let nobody sign in as that person."""
        return self._portal.call(
            self._client.change(name, role=role, password=password, disabled=disabled)
        )

    def remove(self, name: str) -> None:
        """Remove a person, with sessions and tokens."""
        return self._portal.call(self._client.remove(name))

    def link(self, name: str) -> str:
        """Return a link that signs a person in, once, within an hour."""
        return self._portal.call(self._client.link(name))


class TokenVerbs:
    """What can be done with tokens for programs. Answers are the JSON of the console's API."""

    def __init__(self, portal: Portal, client: _people.TokenVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self) -> JsonList:
        """Return everybody's tokens, the newest first; never their secrets."""
        return self._portal.call(self._client.list())

    def create(
        self, label: str, scopes: Sequence[str], *, user: str = "", days: float = 90
    ) -> Json:
        """Make a token; its `secret` is in the answer, and nowhere else.

        Args:
            label: For people.
            scopes: "read", "label", "review", "operate", "admin", "predict:<model>", "predict:*".
            user: Whose; the machine's own if empty.
            days: How long it is good.
        """
        return self._portal.call(self._client.create(label, scopes, user=user, days=days))

    def revoke(self, token: str) -> None:
        """Revoke a token by its id: no service takes it any more, a second later."""
        return self._portal.call(self._client.revoke(token))


class RunVerbs:
    """What can be done with runs. A run is named by its id, the beginning of it, or its command."""

    def __init__(self, portal: Portal, client: _runs.RunVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self, active: bool = False) -> Reports:
        """Return the last report of every run, newest first; `active` leaves out those ended."""
        return self._portal.call(self._client.list(active))

    def get(self, run: str) -> RunChanged:
        """Return a run's last report.

        Raises:
            NotFound: No run has this id or command, or none begins so.
            Rejected: Several begin so.
        """
        return self._portal.call(self._client.get(run))

    def cancel(self, run: str, reason: str = "") -> str:
        """Ask for a run to be stopped; return its id, or "" for a command nobody has taken yet.

        A training leaves a checkpoint of that moment; asked for again, it goes on from there.

        Raises:
            Rejected: The run has ended.
        """
        return self._portal.call(self._client.cancel(run, reason))


class AgentVerbs:
    """What can be asked of agents: the workers that train and predict, on whatever machines."""

    def __init__(self, portal: Portal, client: _runs.AgentVerbs) -> None:
        self._portal = portal
        self._client = client

    def list(self) -> AgentStates:
        """Return every agent that has reported in the last 30 days, by name."""
        return self._portal.call(self._client.list())


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
