"""Training a model version again from the log alone: the same data, parameters, code and seed."""

from __future__ import annotations

from typing import Any

from loopline import tracing
from loopline.contracts import (
    ArtefactKind,
    ArtefactRef,
    Commit,
    DatasetCommitted,
    Environment,
    ModelCommitted,
    ReproduceModel,
    ReproductionCommitted,
    Run,
    RunKind,
    catalog,
)
from loopline.contracts import Difference as DifferenceMessage
from loopline.errors import NotFound, Rejected
from loopline.runtime.processing import Delivery
from loopline.runtime.service import Service
from loopline.store import runs
from loopline.store.commits import Committed, timestamp
from services.trainer.adapters.machine import machine
from services.trainer.adapters.messages import Training, in_role, members_of
from services.trainer.attendance import Attendance, Made
from services.trainer.domain.job import Described
from services.trainer.domain.manifest import Manifest
from services.trainer.domain.reproduction import (
    Difference,
    Ingredients,
    Result,
    causes,
    effects,
    verdict,
)

INITIAL_WEIGHTS = "initial_weights"
WEIGHTS_FILE = "weights.safetensors"
DECISIVE_BESIDE = ("recipe", "classes")
"""What a run's parameters say beside those of the recipe."""

Reproduction = Committed[ReproductionCommitted]


class Reproductions:
    """Carries out `ReproduceModel`.

    Args:
        service: Whose log, bus and storage are used.
        attendance: Has trainings done.
    """

    def __init__(self, service: Service, attendance: Attendance) -> None:
        self._service = service
        self._attendance = attendance

    async def carry_out(self, command: ReproduceModel, delivery: Delivery) -> Reproduction:
        """Train the version again and compare, unless this very command did; return what it proved.

        Raises:
            Rejected: There is no such version, or it cannot be trained again.
            Transient: The training process was killed; the next delivery goes on.
            Cancelled: Someone asked for that.
        """
        model = await self._model(command.model)
        dataset = await self._dataset(command, model)
        parameters, recipe = _parameters(command, model), model.message.recipe
        weights = await self._attendance.bench.weights.find(
            str(parameters.get(INITIAL_WEIGHTS, ""))
        )
        async with self._attendance.bench.process(delivery.attempt) as process:
            described = await process.describe(recipe, parameters)
            run = self._new_run(command, model, dataset, described, delivery)
            training = Training(model.ref.name, recipe, dataset, described, run, weights)

            async def finish(made: Made) -> Reproduction:
                return await self._commit(training, model, made)

            async def done() -> Reproduction | None:
                return await self._service.log.find_run(
                    catalog.REPRODUCTION_COMMITTED, run.id, model=model.ref.name
                )

            committed = await self._attendance.attend(training, process, delivery, finish, done)
        await self._service.bus.report(training.completed(committed))
        return committed

    async def _model(self, ref: ArtefactRef) -> Committed[ModelCommitted]:
        found = await self._service.log.version(catalog.MODEL_COMMITTED, ref, name=ref.name)
        if found.commit.run.kind != RunKind.RUN_KIND_TRAIN:
            raise Rejected(f"{ref.name}@v{found.ref.version} was not made by a training")
        return found

    async def _dataset(
        self, command: ReproduceModel, model: Committed[ModelCommitted]
    ) -> Committed[DatasetCommitted]:
        if command.HasField("dataset"):
            return await self._attendance.bench.datasets.version(command.dataset)
        for ref in model.commit.run.inputs:
            if ref.kind == ArtefactKind.ARTEFACT_KIND_DATASET and ref.role == "train_on":
                return await self._attendance.bench.datasets.version(ref)
        raise NotFound(f"the log does not say what {model.ref.name} was trained on")

    def _new_run(
        self,
        command: ReproduceModel,
        model: Committed[ModelCommitted],
        dataset: Committed[DatasetCommitted],
        described: Described,
        delivery: Delivery,
    ) -> Run:
        """Return the run; each command is one of its own, a redelivery finds what it did."""
        beside = {"recipe": model.message.recipe, "classes": list(dataset.message.classes)}
        return runs.new_run(
            RunKind.RUN_KIND_REPRODUCE,
            inputs=[in_role(model.ref, "reproduced"), in_role(dataset.ref, "train_on")],
            parameters=described.parameters | beside | {"asked_by": delivery.event_id},
            actor=command.actor,
            agent=self._service.agent,
            environment=machine(described),
            clock=self._service.clock,
            trace_id=tracing.current_trace_id(),
        )

    async def _commit(
        self,
        training: Training,
        model: Committed[ModelCommitted],
        made: Made,
    ) -> Reproduction:
        run, trained, manifest = training.run, made.trained, made.manifest
        run.environment.device = trained.device
        run.members.extend(members_of(trained))
        run.figures.update(trained.figures)
        run.finished_at.CopyFrom(timestamp(self._service.clock))
        made_from = causes(_ingredients(model.commit.run), _ingredients(run))
        came_out = effects(_result_of(model), Result(_files(manifest), dict(trained.metrics)))
        name = f"{model.ref.name}@v{model.ref.version}"
        message = ReproductionCommitted(
            commit=Commit(
                artefact=ArtefactRef(
                    kind=ArtefactKind.ARTEFACT_KIND_REPRODUCTION,
                    name=model.ref.name,
                    digest=manifest.digest,
                ),
                run=run,
                summary=verdict(name, made_from, came_out),
            ),
            model=model.ref,
            is_identical=not came_out,
            causes=_messages(made_from),
            effects=_messages(came_out),
            weights_digest=_files(manifest)[WEIGHTS_FILE],
            metrics=trained.metrics,
        )

        async def build(_: Reproduction | None) -> ReproductionCommitted:
            return message

        return await self._service.log.commit(
            catalog.REPRODUCTION_COMMITTED, build, model=model.ref.name
        )


def _parameters(command: ReproduceModel, model: Committed[ModelCommitted]) -> dict[str, Any]:
    logged: dict[str, Any] = runs.plain(model.commit.run.parameters)
    changes: dict[str, Any] = runs.plain(command.changes)
    kept = {name: value for name, value in logged.items() if name not in DECISIVE_BESIDE}
    return kept | changes


def _ingredients(run: Run) -> Ingredients:
    [dataset] = [ref for ref in run.inputs if ref.role == "train_on"]
    parameters: dict[str, Any] = runs.plain(run.parameters)
    parameters.pop("asked_by", None)
    return Ingredients(
        dataset=(f"{dataset.name}@v{dataset.version}", dataset.digest),
        parameters=parameters,
        code=run.environment.code_digest,
        machine=_machine(run.environment),
    )


def _machine(environment: Environment) -> dict[str, str]:
    told = {
        "python": environment.python,
        "device": environment.device,
        "cpu": environment.cpu,
        "cpu features": " ".join(environment.cpu_features),
        "threads": str(environment.threads),
    }
    return told | {f"package {name}": v for name, v in environment.packages.items()}


def _result_of(model: Committed[ModelCommitted]) -> Result:
    metrics = dict(model.message.evaluations[0].metrics) if model.message.evaluations else {}
    return Result({file.name: file.digest for file in model.message.files}, metrics)


def _files(manifest: Manifest) -> dict[str, str]:
    return {file.name: file.digest for file in manifest.files}


def _messages(differences: list[Difference]) -> list[DifferenceMessage]:
    return [DifferenceMessage(what=d.what, was=d.was, now=d.now) for d in differences]
