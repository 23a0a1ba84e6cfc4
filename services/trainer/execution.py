"""`TrainModel`: from the command to the committed model version."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from loopline import tracing
from loopline.contracts import (
    DatasetCommitted,
    ModelCommitted,
    Run,
    RunKind,
    TrainModel,
    catalog,
)
from loopline.names import validate_name
from loopline.runtime.processing import Delivery
from loopline.runtime.service import Service
from loopline.store import runs
from loopline.store.commits import Committed, timestamp
from loopline.store.objects import Area
from services.trainer.adapters.machine import machine
from services.trainer.adapters.messages import (
    InitialWeights,
    Training,
    asked_by,
    in_role,
    members_of,
    report_outputs,
)
from services.trainer.attendance import Attendance, Made
from services.trainer.domain.job import Described, Reports

INITIAL_WEIGHTS = "initial_weights"


class Executions:
    """Carries out training commands.

    Args:
        service: Whose log, bus and storage are used.
        attendance: Has trainings done.
    """

    def __init__(self, service: Service, attendance: Attendance) -> None:
        self._service = service
        self._attendance = attendance

    async def carry_out(self, command: TrainModel, delivery: Delivery) -> Committed[ModelCommitted]:
        """Train what the command asks for, unless that was done before; return the model version.

        Raises:
            Rejected: The command, the data or the recipe is wrong.
            Transient: The training process was killed; the next delivery goes on from its
                checkpoint.
            Cancelled: Someone asked for that; a checkpoint of that moment is in storage.
        """
        validate_name("model", command.model)
        attendance = self._attendance
        dataset = await attendance.bench.datasets.version(command.dataset)
        given: dict[str, Any] = runs.plain(command.parameters)
        weights = await attendance.bench.weights.find(str(given.get(INITIAL_WEIGHTS, "")))
        if weights.parameter:
            given[INITIAL_WEIGHTS] = weights.parameter
        async with attendance.bench.process(delivery.attempt) as process:
            described = await process.describe(command.recipe, given)
            run = self._new_run(command, dataset, described, weights)
            training = Training(command.model, command.recipe, dataset, described, run, weights)

            async def finish(made: Made) -> Committed[ModelCommitted]:
                return await self._commit(training, made)

            async def done() -> Committed[ModelCommitted] | None:
                return await self._service.log.find_run(
                    catalog.MODEL_COMMITTED, run.id, name=command.model
                )

            committed = await attendance.attend(training, process, delivery, finish, done)
        await self._service.bus.report(training.completed(committed))
        return committed

    def _new_run(
        self,
        command: TrainModel,
        dataset: Committed[DatasetCommitted],
        described: Described,
        weights: InitialWeights,
    ) -> Run:
        """Return the run: its key holds all that the weights depend on, and nothing else."""
        decisive = {"recipe": command.recipe, "classes": list(dataset.message.classes)}
        return runs.new_run(
            RunKind.RUN_KIND_TRAIN,
            inputs=[in_role(dataset.ref, "train_on"), *weights.inputs],
            on_behalf_of=asked_by(command),
            parameters=described.parameters | decisive,
            actor=command.actor,
            agent=self._service.agent,
            environment=machine(described),
            clock=self._service.clock,
            trace_id=tracing.current_trace_id(),
        )

    async def _commit(self, training: Training, made: Made) -> Committed[ModelCommitted]:
        """Store the files, then make them visible."""
        run = training.run
        await self._service.objects.put_many(Area.MODELS, list(made.contents.values()))
        reports = await self._store_reports(made.trained.reports)
        run.environment.device = made.trained.device
        run.members.extend(members_of(made.trained))
        run.outputs.extend(report_outputs(list(reports.items())))
        run.figures.update(made.trained.figures)
        run.finished_at.CopyFrom(timestamp(self._service.clock))
        message = training.committed(made.trained, made.manifest, run, reports)

        async def build(_: Committed[ModelCommitted] | None) -> ModelCommitted:
            return message

        return await self._service.log.commit(catalog.MODEL_COMMITTED, build, name=training.model)

    async def _store_reports(self, reports: Reports) -> dict[str, str]:
        """Store the files of the evaluation; return their digests by role."""
        paths: dict[str, Path] = dict(reports.model_copy())
        contents = [await asyncio.to_thread(path.read_bytes) for path in paths.values()]
        digests = await self._service.objects.put_many(Area.REPORTS, contents)
        return dict(zip(paths, digests, strict=True))
