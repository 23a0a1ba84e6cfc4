"""Applications of models to datasets: planned from the log, predicted in chunks, committed once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from loopline import tracing
from loopline.clock import Clock
from loopline.contracts import (
    Actor,
    Agent,
    ApplyModel,
    ArtefactKind,
    ArtefactRef,
    ChunkCompleted,
    Commit,
    DatasetCommitted,
    Environment,
    PredictionsCommitted,
    Run,
    RunKind,
)
from loopline.contracts.catalog import DATASET_COMMITTED, PREDICTIONS_COMMITTED
from loopline.digests import canonical_json
from loopline.runtime.chunks import chunk_size
from loopline.store import runs
from loopline.store.commits import CommitLog, Committed
from loopline.store.items import ITEMS, PREDICTIONS, Item, Prediction
from loopline.store.objects import Area, ObjectStore
from loopline.store.trees import Tree, TreeStore
from services.inference.adapters.bulk import BulkPredictor
from services.inference.adapters.models.committed_models import CommittedModels
from services.inference.adapters.models.repository import ModelRepository
from services.inference.domain.application import (
    CHUNK_ITEMS,
    ApplicationPlan,
    Scored,
    Version,
    from_lines,
    predictions_name,
    slices,
    to_lines,
)
from services.inference.domain.classification import prediction
from services.inference.domain.model import VersionKey

if TYPE_CHECKING:
    from services.inference.domain.selection import Selection

MODEL: Final = ArtefactKind.ARTEFACT_KIND_MODEL
DATASET: Final = ArtefactKind.ARTEFACT_KIND_DATASET
FLOW: Final = ArtefactKind.ARTEFACT_KIND_FLOW


@dataclass(frozen=True, slots=True)
class Application:
    """An ApplyModel whose references are resolved.

    Args:
        run_id: The key of its run.
        model: The model version.
        dataset: The dataset version's commit.
        since: The older version of it whose items are left out, or None.
        where: Which of its items.
        flow: The flow that asks, or None.
        actor: Who asks.
    """

    run_id: str
    model: Version
    dataset: Committed[DatasetCommitted]
    since: Committed[DatasetCommitted] | None
    where: str
    flow: Version | None
    actor: Actor


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """A chunk that was predicted: the object that has its results, and counts."""

    digest: str
    counts: dict[str, int]


class Applications:
    """Plans, predicts and commits applications."""

    def __init__(
        self,
        log: CommitLog,
        objects: ObjectStore,
        repository: ModelRepository,
        bulk: BulkPredictor,
        *,
        environment: Environment,
        agent: Agent,
        clock: Clock,
    ) -> None:
        self._log = log
        self._objects = objects
        self._models = CommittedModels(log, objects)
        self._repository = repository
        self._bulk = bulk
        self._environment = environment
        self._agent = agent
        self._clock = clock
        self._items: TreeStore[Item] = TreeStore(objects, ITEMS)
        self._predictions: TreeStore[Prediction] = TreeStore(objects, PREDICTIONS)

    async def resolve(self, command: ApplyModel) -> Application:
        """Return what a command names.

        Raises:
            NotFound: There is no such model or dataset version.
        """
        ref = command.model
        model = await self._models.find(ref.name, ref.version, ref.digest)
        dataset = await self._log.version(
            DATASET_COMMITTED, command.dataset, name=command.dataset.name
        )
        flow = _version(command.flow) if command.HasField("flow") else None
        version = Version(model.name, model.version, model.digest)
        since = await self._since(command)
        inputs = _inputs(version, _version(dataset.ref), flow)
        run_id = runs.run_key(
            RunKind.RUN_KIND_PREDICT,
            inputs,
            _parameters(command.where, _version(since.ref) if since else None),
            self._environment.code_digest,
        )
        return Application(run_id, version, dataset, since, command.where, flow, command.actor)

    async def committed(
        self, run_id: str, model: Version
    ) -> Committed[PredictionsCommitted] | None:
        """Return what the run committed, if it did already."""
        name = predictions_name(model)
        return await self._log.find_run(PREDICTIONS_COMMITTED, run_id, name=name)

    async def plan(self, application: Application) -> ApplicationPlan:
        """Return what must be inferred: what is selected and was not predicted before.

        Raises:
            Rejected: `where` is no rule over items.
        """
        started_at = self._clock.now().isoformat()
        selected = await self._selected(application)
        known = await self._known(application.model)
        missing = [asset for asset in selected if asset not in known]
        chunk_items = chunk_size(len(missing), CHUNK_ITEMS)
        chunks = [canonical_json(chunk) for chunk in slices(missing, chunk_items)]
        return ApplicationPlan(
            run_id=application.run_id,
            model=application.model,
            dataset=_version(application.dataset.ref),
            since=_version(application.since.ref) if application.since else None,
            where=application.where,
            flow=application.flow,
            actor_kind=application.actor.kind,
            actor_name=application.actor.name,
            selection_digest=await self._objects.put(Area.PLANS, canonical_json(selected)),
            selected=len(selected),
            inferred=len(missing),
            chunk_items=chunk_items,
            chunks=tuple(await self._objects.put_many(Area.PLANS, chunks)),
            started_at=started_at,
        )

    async def keep(self, plan: ApplicationPlan) -> str:
        """Store a plan and return its object digest."""
        return await self._objects.put(Area.PLANS, plan.to_json())

    async def read(self, plan_digest: str) -> ApplicationPlan:
        """Return a stored plan; NotFound or Rejected if there is none."""
        return ApplicationPlan.from_json(await self._objects.get(Area.PLANS, plan_digest))

    async def predict(self, plan: ApplicationPlan, index: int) -> ChunkResult:
        """Predict one chunk with exactly the plan's model version.

        Raises:
            NotFound: The model version is not there any more.
            Rejected: Its bytes are corrupt.
            Transient: Something cannot be read now.
        """
        assets = await self._assets(plan.chunks[index])
        key = VersionKey(plan.model.name, plan.model.version)
        servable = await self._repository.load(key, plan.model.digest)
        scored = await self._bulk.predict(servable, assets)
        failed = sum(bool(one.reason) for one in scored)
        digest = await self._objects.put(Area.PLANS, to_lines(scored))
        return ChunkResult(digest, {"inferred": len(scored) - failed, "failed": failed})

    def pace(self, plan: ApplicationPlan, done: int) -> dict[str, float]:
        """Return how fast a run is and how long it still takes; nothing before it can be told."""
        elapsed_s = (self._clock.now() - datetime.fromisoformat(plan.started_at)).total_seconds()
        if not done or elapsed_s <= 0:
            return {}
        per_s = done / elapsed_s
        return {"images_per_s": per_s, "eta_s": (plan.inferred - done) / per_s}

    async def commit(
        self, plan: ApplicationPlan, chunks: Sequence[ChunkCompleted]
    ) -> Committed[PredictionsCommitted]:
        """Commit the predictions: those of the head, and what the chunks found.

        Committed once: a join that comes again finds its run.

        Raises:
            Conflict: Other writers won too often.
            Transient: Something cannot be read or written now.
        """
        scored = [
            one
            for data in await self._objects.get_many(Area.PLANS, [c.result_digest for c in chunks])
            for one in from_lines(data)
        ]
        model = await self._models.find(plan.model.name, plan.model.version, plan.model.digest)
        rows = [
            prediction(one.asset, one.scores, model.classes, model.digest)
            if one.scores
            else Prediction(one.asset, one.shapes, ())
            for one in scored
            if not one.reason
        ]
        failed = [one for one in scored if one.reason]
        report = await self._report(failed)

        async def build(head: Committed[PredictionsCommitted] | None) -> PredictionsCommitted:
            onto = await self._tree(head)
            tree = await self._predictions.apply(onto, rows)
            return self._message(plan, tree, self._run(plan, len(rows), len(failed), report))

        return await self._log.commit(PREDICTIONS_COMMITTED, build, name=plan.predictions)

    async def _selected(self, application: Application) -> list[str]:
        # In a thread: what it imports takes 0.4 s at first, and heartbeats must go on.
        selection = await asyncio.to_thread(_selection, application.where)
        tree = await self._items.open(application.dataset.message.tree.root_object)
        if application.since is not None:
            older = await self._items.open(application.since.message.tree.root_object)
            added = (await self._items.diff(older, tree)).added
            return sorted(item.asset for item in added.values() if selection.selects(item))
        if selection.repeats:
            return [a async for part in tree.batches(selection.columns) for a in selection.of(part)]
        return [
            item.asset async for item in tree.rows(selection.columns) if selection.selects(item)
        ]

    async def _since(self, command: ApplyModel) -> Committed[DatasetCommitted] | None:
        if not command.HasField("since"):
            return None
        return await self._log.version(DATASET_COMMITTED, command.since, name=command.dataset.name)

    async def _known(self, model: Version) -> frozenset[str]:
        """Return the assets that the model version predicted before."""
        head = await self._log.head(PREDICTIONS_COMMITTED, name=predictions_name(model))
        tree = await self._tree(head)
        if tree is None:
            return frozenset()
        table = await tree.table(["asset"])
        return frozenset(table.column("asset").to_pylist())

    async def _tree(self, head: Committed[PredictionsCommitted] | None) -> Tree[Prediction] | None:
        return await self._predictions.open(head.message.tree.root_object) if head else None

    async def _assets(self, digest: str) -> list[str]:
        return list(orjson.loads(await self._objects.get(Area.PLANS, digest)))

    async def _report(self, failed: Sequence[Scored]) -> ArtefactRef | None:
        """Store why assets could not be predicted; None if all were."""
        if not failed:
            return None
        document = [{"asset": one.asset, "reason": one.reason} for one in failed]
        digest = await self._objects.put(Area.REPORTS, canonical_json(document))
        return ArtefactRef(
            kind=ArtefactKind.ARTEFACT_KIND_REPORT,
            name="drops.json",
            digest=digest,
            role="drop_report",
        )

    def _run(
        self, plan: ApplicationPlan, inferred: int, failed: int, report: ArtefactRef | None
    ) -> Run:
        run = runs.new_run(
            RunKind.RUN_KIND_PREDICT,
            inputs=_inputs(plan.model, plan.dataset, plan.flow),
            parameters=_parameters(plan.where, plan.since),
            actor=Actor(kind=plan.actor_kind, name=plan.actor_name),
            agent=self._agent,
            environment=self._environment,
            clock=self._clock,
            trace_id=tracing.current_trace_id(),
        )
        run.id = plan.run_id  # planned, perhaps, by another release, whose key this run has
        run.finished_at.CopyFrom(run.started_at)
        run.started_at.FromJsonString(plan.started_at)
        if report is not None:
            run.outputs.append(report)
        duration_s = _seconds(run.finished_at) - _seconds(run.started_at)
        figures = {"selected": plan.selected, "inferred": inferred, "failed": failed}
        run.figures.update({**figures, "duration_s": duration_s})
        return run

    def _message(
        self, plan: ApplicationPlan, tree: Tree[Prediction], run: Run
    ) -> PredictionsCommitted:
        artefact = ArtefactRef(
            kind=ArtefactKind.ARTEFACT_KIND_PREDICTIONS, name=plan.predictions, digest=tree.digest
        )
        summary = (
            f"{plan.model} on {plan.selected} items of {plan.dataset}, "
            f"{int(run.figures['inferred'])} of them inferred now"
        )
        return PredictionsCommitted(
            commit=Commit(artefact=artefact, run=run, summary=summary),
            model=_ref(MODEL, plan.model),
            dataset=_ref(DATASET, plan.dataset),
            tree=tree.ref(),
            selection_digest=plan.selection_digest,
            selected=plan.selected,
            inferred=int(run.figures["inferred"]),
            flow=_ref(FLOW, plan.flow) if plan.flow else None,
        )


def _inputs(model: Version, dataset: Version, flow: Version | None) -> list[ArtefactRef]:
    inputs = [_ref(MODEL, model, "model"), _ref(DATASET, dataset, "dataset")]
    return [*inputs, _ref(FLOW, flow, "flow")] if flow else inputs


def _parameters(where: str, since: Version | None) -> dict[str, str]:
    return {"where": where, **({"since": since.digest} if since else {})}


def _version(ref: ArtefactRef) -> Version:
    return Version(ref.name, ref.version, ref.digest)


def _ref(kind: ArtefactKind, version: Version, role: str = "") -> ArtefactRef:
    return ArtefactRef(
        kind=kind, name=version.name, version=version.version, digest=version.digest, role=role
    )


def _seconds(moment: Timestamp) -> float:
    return moment.seconds + moment.nanos / 1e9


def _selection(where: str) -> Selection:
    # Imported here: the rules' compiler costs every start 0.5 s, and most never apply a model.
    from services.inference.domain.selection import Selection

    return Selection(where)
