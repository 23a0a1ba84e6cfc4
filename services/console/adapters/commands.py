"""Starts work for people: commands on the bus, in their names."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from google.protobuf.message import Message

from loopline.access import Caller
from loopline.contracts import (
    ApplyModel,
    ArtefactKind,
    ArtefactRef,
    BucketLocation,
    CancelRun,
    EvaluateModel,
    ImportImages,
    ImportRules,
    ModelCommitted,
    ReproduceModel,
    Run,
    RunKind,
    TrainModel,
    catalog,
)
from loopline.contracts.catalog import BY_TYPE, DEFAULT_POOL, Event
from loopline.errors import NotFound, Rejected
from loopline.lineage.details import plain_struct, run_kind_of
from loopline.runtime.bus import Bus
from loopline.store.commits import CommitLog, Committed
from services.console.adapters.runs import RunDesk
from services.console.adapters.sdk import actor_of
from services.console.bodies.base import AcceptedOut
from services.console.bodies.models import EvaluateIn, TrainIn

DATASET = ArtefactKind.ARTEFACT_KIND_DATASET
MODEL = ArtefactKind.ARTEFACT_KIND_MODEL
SOURCE = ArtefactKind.ARTEFACT_KIND_SOURCE
DECISIVE = ("recipe", "classes")  # what a training's record has beyond its recipe's parameters


class Commands:
    """Sends commands.

    Args:
        bus: Where to.
        log: What they are about.
        runs: What was done before.
    """

    def __init__(self, bus: Bus, log: CommitLog, runs: RunDesk) -> None:
        self._bus = bus
        self._log = log
        self._runs = runs

    async def train(self, body: TrainIn, caller: Caller) -> AcceptedOut:
        """Train a model."""
        dataset = await self._dataset(body.dataset, body.dataset_version)
        command = TrainModel(
            model=body.model, recipe=body.recipe, dataset=dataset, actor=actor_of(caller)
        )
        try:
            command.parameters.update(body.parameters)
        except ValueError as error:
            raise Rejected(f"the parameters cannot be sent: {error}") from error
        return await self.send(catalog.TRAIN_MODEL, command, body.pool)

    async def evaluate(
        self, name: str, version: int, body: EvaluateIn, caller: Caller
    ) -> AcceptedOut:
        """Measure a model version."""
        wanted = ArtefactRef(kind=MODEL, name=name, version=version)
        model = await self._log.version(catalog.MODEL_COMMITTED, wanted, name=name)
        dataset = await self._dataset(body.dataset, body.dataset_version)
        command = EvaluateModel(
            model=model.ref, dataset=dataset, split=body.split, actor=actor_of(caller)
        )
        return await self.send(catalog.EVALUATE_MODEL, command)

    async def cancel(self, run: str, reason: str, caller: Caller) -> AcceptedOut:
        """Stop a run.

        Raises:
            Rejected: It has ended already.
        """
        found = await self._runs.run(run)
        if not found.can_cancel:
            raise Rejected(f"the run has ended: it is {found.state}", run=run)
        command = CancelRun(
            run_id=run, command_id=found.command_id, actor=actor_of(caller), reason=reason
        )
        command_id = str(uuid4())
        await self._bus.send(catalog.CANCEL_RUN, command, id=command_id, run_id=run)
        return AcceptedOut(command_id=command_id)

    async def rerun(self, run: str, caller: Caller) -> AcceptedOut:
        """Ask for a run's work once more, whether it was completed, failed or was stopped.

        Raises:
            Rejected: Runs of its kind follow from others and are not asked for, or it is under way.
        """
        committed = self._runs.committed(run)
        if committed is not None:
            event, command = await _again(self._log, committed)
        else:
            event, command = await self._asked(run)
        command.actor.CopyFrom(actor_of(caller))  # type: ignore[attr-defined]  # all of them have it
        return await self.send(event, command)

    async def reproduce(self, run: str, caller: Caller) -> AcceptedOut:
        """Train a model version again from the log alone, and compare.

        Raises:
            Rejected: The run was no training.
        """
        committed = self._committed(run)
        if not isinstance(committed.message, ModelCommitted):
            raise Rejected("only trainings can be reproduced", run=run)
        command = ReproduceModel(model=committed.ref, actor=actor_of(caller))
        return await self.send(catalog.REPRODUCE_MODEL, command)

    async def send(
        self, event: Event[Any], command: Message, pool: str = DEFAULT_POOL
    ) -> AcceptedOut:
        """Store a command; it is done when somebody takes it up."""
        command_id = str(uuid4())
        await self._bus.send(event, command, id=command_id, pool=pool)
        return AcceptedOut(command_id=command_id)

    async def _asked(self, run: str) -> tuple[Event[Any], Message]:
        """Return the command of a run that committed nothing."""
        found = await self._runs.run(run)
        if found.can_cancel:
            raise Rejected("the run is under way: stop it first", run=run)
        if not found.can_rerun:
            raise Rejected(f"a run of kind {found.kind} cannot be asked for again", run=run)
        command = await self._runs.asked(run)
        return BY_TYPE[command.DESCRIPTOR.full_name], command

    def _committed(self, run: str) -> Committed[Any]:
        committed = self._runs.committed(run)
        if committed is None:
            raise NotFound(
                f"the run {run[:12]} committed nothing: what it was asked is known no more", run=run
            )
        return committed

    async def _dataset(self, name: str, version: int) -> ArtefactRef:
        wanted = ArtefactRef(kind=DATASET, name=name, version=version)
        found = await self._log.version(catalog.DATASET_COMMITTED, wanted, name=name)
        return found.ref


async def _again(log: CommitLog, committed: Committed[Any]) -> tuple[Event[Any], Message]:
    """Return the command that leads to a run like the one that made a commit."""
    run: Run = committed.commit.run
    parameters = plain_struct(run.parameters)
    if run.kind == RunKind.RUN_KIND_TRAIN:
        return catalog.TRAIN_MODEL, train_again(committed, committed.ref.name)
    if run.kind == RunKind.RUN_KIND_IMPORT:
        return catalog.IMPORT_IMAGES, _import(committed.ref.name, run, parameters)
    if run.kind == RunKind.RUN_KIND_PREDICT:
        where = str(parameters.get("where", ""))
        command = ApplyModel(model=_input(run, MODEL), dataset=_input(run, DATASET), where=where)
        return catalog.APPLY_MODEL, command
    if run.kind == RunKind.RUN_KIND_EVALUATE:
        split = str(parameters.get("split", ""))
        model, dataset = _input(run, MODEL), _input(run, DATASET)
        return catalog.EVALUATE_MODEL, EvaluateModel(model=model, dataset=dataset, split=split)
    raise Rejected(f"a run of kind {run_kind_of(run.kind)} cannot be asked for again", run=run.id)


def train_again(committed: Committed[ModelCommitted], model: str) -> TrainModel:
    """Return the command that a model version's training was asked by."""
    run = committed.commit.run
    command = TrainModel(model=model, recipe=committed.message.recipe, dataset=_input(run, DATASET))
    parameters = plain_struct(run.parameters)
    command.parameters.update({k: v for k, v in parameters.items() if k not in DECISIVE})
    return command


def _import(dataset: str, run: Run, parameters: dict[str, Any]) -> ImportImages:
    sources = {ref.role: urlsplit(ref.name) for ref in run.inputs if ref.kind == SOURCE}
    if "images" not in sources:
        raise Rejected("the run does not say where its images came from", run=run.id)
    connection, path = sources["images"].netloc, unquote(sources["images"].path)
    bucket, _, prefix = path.lstrip("/").partition("/")
    labels_key = ""
    if "labels" in sources:
        labels_key = unquote(sources["labels"].path).lstrip("/").partition("/")[2]
    told: dict[str, Any] = parameters.get("rules") or {}
    known = {field.name for field in ImportRules.DESCRIPTOR.fields}
    return ImportImages(
        dataset=dataset,
        source=BucketLocation(connection=connection, bucket=bucket, prefix=prefix),
        labels_key=labels_key,
        rules=ImportRules(**{name: value for name, value in told.items() if name in known}),
        classes=parameters.get("classes") or (),
    )


def _input(run: Run, kind: ArtefactKind) -> ArtefactRef:
    for ref in run.inputs:
        if ref.kind == kind:
            found = ArtefactRef()
            found.CopyFrom(ref)
            found.ClearField("role")
            return found
    raise Rejected(f"the run names no {ArtefactKind.Name(kind)} it read", run=run.id)
