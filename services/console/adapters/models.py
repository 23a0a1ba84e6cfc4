"""Answers questions about models, and moves their aliases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from urllib.parse import quote

from fastapi import Response

from loopline.access import Caller
from loopline.contracts import (
    AliasMoved,
    ArtefactKind,
    DatasetCommitted,
    Evaluation,
    EvaluationCommitted,
    ModelCommitted,
    Rollout,
)
from loopline.errors import NotFound
from loopline.lineage.details import iso, plain_struct
from loopline.store.commits import Committed
from loopline.store.datasets import Datasets
from loopline.store.items import Item
from loopline.store.objects import Area, ObjectStore
from services.console.adapters.items import item_out
from services.console.adapters.log_view import LogView
from services.console.adapters.messages import person_out, ref_out, seconds_between
from services.console.adapters.reports import Reports, item_of, prediction_of
from services.console.adapters.sdk import Sdk
from services.console.bodies.base import RefOut
from services.console.bodies.models import (
    CellOut,
    ComparisonOut,
    EvaluationOut,
    FigureDifferenceOut,
    ModelOut,
    ModelsOut,
    ModelVersionOut,
    ModelVersionsOut,
    MoveIn,
    MoveOut,
    MovesOut,
    ReportOut,
    RollbackIn,
    RolloutOut,
)
from services.console.bodies.workflow import AliasOut, DownloadOut
from services.console.domain.figures import main_metric

ONNX = "model.onnx"
PER_CLASS = ":"
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; script-src 'none'; "
    "frame-ancestors 'self'; sandbox"
)

ModelVersion = Committed[ModelCommitted]
Measured = tuple[Evaluation, RefOut | None, str]  # with its dataset and when


class ModelDesk:
    """Models, from the log and the reports.

    Args:
        view: What the log says.
        datasets: Opens trees, for the images of a cell.
        objects: Where reports and files are.
        sdk: Moves aliases.
    """

    def __init__(self, view: LogView, datasets: Datasets, objects: ObjectStore, sdk: Sdk) -> None:
        self._view = view
        self._datasets = datasets
        self._objects = objects
        self._sdk = sdk
        self._reports = Reports(objects)

    async def models(self) -> ModelsOut:
        """Return every model, the last changed first."""
        heads: dict[str, ModelVersion] = {}
        counts: Counter[str] = Counter()
        for committed in self._committed():
            counts[committed.ref.name] += 1
            known = heads.get(committed.ref.name)
            if known is None or committed.sequence > known.sequence:
                heads[committed.ref.name] = committed
        found = sorted(heads.values(), key=lambda one: -one.sequence)
        return ModelsOut(
            models=[
                ModelOut(
                    name=head.ref.name,
                    head=self._version_out(head),
                    versions=counts[head.ref.name],
                    aliases={
                        alias: move.message.target.version
                        for alias, move in self._heads(head.ref.name).items()
                    },
                )
                for head in found
            ]
        )

    async def versions(self, name: str) -> ModelVersionsOut:
        """Return the versions of a model, the newest first."""
        found = [one for one in self._committed() if one.ref.name == name]
        if not found:
            raise NotFound(f"there is no model {name!r}", model=name)
        found.sort(key=lambda one: -one.sequence)
        return ModelVersionsOut(name=name, versions=[self._version_out(one) for one in found])

    async def version(self, name: str, version: int) -> ModelVersionOut:
        """Return one version."""
        return self._version_out(self.committed(name, version))

    async def report(self, name: str, version: int, id_: str) -> ReportOut:
        """Return an evaluation with its report."""
        measured = self._measured_as(self.committed(name, version), id_)
        report = await self._reports.report(id_)
        return ReportOut(evaluation=_evaluation_out(name, version, measured), report=report)

    async def report_page(self, name: str, version: int, id_: str) -> Response:
        """Return a report's HTML page, which may run nothing."""
        evaluation, _, _ = self._measured_as(self.committed(name, version), id_)
        if not evaluation.page_digest:
            raise NotFound("this evaluation has no page")
        data = await self._reports.file(evaluation.page_digest)
        headers = {"content-security-policy": PAGE_POLICY, "cache-control": "private"}
        return Response(data, media_type="text/html; charset=utf-8", headers=headers)

    async def cell(
        self, name: str, version: int, id_: str, truth: str, predicted: str, cursor: str,
        limit: int,
    ) -> CellOut:  # fmt: skip
        """Return the images of a cell of a confusion matrix, as far as the report names them."""
        evaluation, dataset, _ = self._measured_as(self.committed(name, version), id_)
        views, is_whole = await self._reports.images_of_cell(evaluation, truth, predicted)
        start = int(cursor) if cursor.isdecimal() else 0
        shown = views[start : start + limit]
        items = await self._items(dataset, [view.asset for view in shown])
        return CellOut(
            truth=truth,
            predicted=predicted,
            items=[
                item_out(items.get(view.asset) or item_of(view), prediction_of(view))
                for view in shown
            ],
            total=len(views),
            is_whole=is_whole,
            next_cursor=str(start + limit) if start + limit < len(views) else None,
        )

    async def file(self, name: str, version: int, file: str) -> Response:
        """Return a file of a model version."""
        for entry in self.committed(name, version).message.files:
            if entry.name == file:
                data = await self._objects.get(Area.MODELS, entry.digest)
                disposition = f"attachment; filename*=UTF-8''{quote(f'{name}-v{version}-{file}')}"
                headers = {"content-disposition": disposition, "etag": f'"{entry.digest}"'}
                return Response(data, media_type="application/octet-stream", headers=headers)
        raise NotFound(f"{name} v{version} has no file {file!r}", file=file)

    async def compare(self, name: str, a: int, b: int) -> ComparisonOut:
        """Put two versions beside each other."""
        before, after = self.committed(name, a), self.committed(name, b)
        one, other = self._version_out(before), self._version_out(after)
        pair = self._on_one_split(before, after)
        was = dict(pair[0].metrics) if pair else one.metrics
        now = dict(pair[1].metrics) if pair else other.metrics
        figures = [_difference(n, was, now) for n in sorted(was.keys() | now.keys())]
        told = await self._reports.comparison(*pair) if pair else None
        names = {"a": f"{name}@v{a}", "b": f"{name}@v{b}"}
        return ComparisonOut(
            a=one,
            b=other,
            is_comparable=pair is not None,
            reason="" if pair else "they were not measured on the same items and labels",
            metrics=[figure for figure in figures if PER_CLASS not in figure.name],
            per_class=[figure for figure in figures if PER_CLASS in figure.name],
            parameters={
                key: (one.parameters.get(key), other.parameters.get(key))
                for key in sorted(one.parameters.keys() | other.parameters.keys())
                if one.parameters.get(key) != other.parameters.get(key)
            },
            confidence=told.model_copy(update=names) if told else None,
        )

    async def moves(self, name: str) -> MovesOut:
        """Return every move of a model's aliases, the newest first."""
        found = sorted(self._moves(name), key=lambda move: -move.sequence)
        return MovesOut(moves=[_move_out(move) for move in found])

    async def promote(self, name: str, body: MoveIn, caller: Caller) -> MoveOut:
        """Move an alias to a version."""
        self.committed(name, body.version)
        moved = await self._sdk.models(caller).promote(
            f"{name}@v{body.version}", body.alias, body.reason
        )
        await self._view.catch_up(moved.sequence)
        return _move_out(moved)

    async def rollback(self, name: str, body: RollbackIn, caller: Caller) -> MoveOut:
        """Move an alias back to where it pointed before, or to be without a rollout.

        Raises:
            Rejected: It was never anywhere else.
            NotFound: There is no such model or alias.
        """
        moved = await self._sdk.models(caller).rollback(name, body.alias, body.reason)
        await self._view.catch_up(moved.sequence)
        return _move_out(moved)

    def committed(self, name: str, version: int) -> ModelVersion:
        """Return a version's commit; NotFound if there is none."""
        found = self._view.commits.get(f"model:{name}@{version}")
        if found is None:
            raise NotFound(f"there is no model {name} v{version}", model=name)
        return found

    def _committed(self) -> Iterator[ModelVersion]:
        for one in self._view.commits.values():
            if isinstance(one.message, ModelCommitted):
                yield one

    def _moves(self, name: str) -> Iterator[Committed[AliasMoved]]:
        for one in self._view.commits.values():
            if isinstance(one.message, AliasMoved) and one.message.model == name:
                yield one

    def _heads(self, name: str) -> dict[str, Committed[AliasMoved]]:
        found: dict[str, Committed[AliasMoved]] = {}
        for move in sorted(self._moves(name), key=lambda one: one.sequence):
            found[move.message.alias] = move
        return found

    def _version_out(self, committed: ModelVersion) -> ModelVersionOut:
        message, commit, ref = committed.message, committed.commit, committed.ref
        run = commit.run
        measured = self._measured(committed)
        metrics = dict(measured[0][0].metrics) if measured else {}
        main = main_metric(metrics)
        trained_on = [r for r in run.inputs if r.kind == ArtefactKind.ARTEFACT_KIND_DATASET]
        return ModelVersionOut(
            name=ref.name,
            version=ref.version,
            digest=ref.digest,
            node=f"model:{ref.name}@{ref.version}",
            summary=commit.summary,
            committed_at=iso(commit.committed_at),
            actor=person_out(run.actor),
            run=run.id,
            task=message.task,
            recipe=message.recipe,
            classes=list(message.classes),
            trained_on=ref_out(trained_on[0]) if trained_on else None,
            parameters=plain_struct(run.parameters),
            duration_s=seconds_between(iso(run.started_at), iso(run.finished_at)),
            aliases=[
                AliasOut(
                    alias=alias,
                    moved_at=iso(move.commit.committed_at),
                    reason=move.message.reason,
                )
                for alias, move in sorted(self._heads(ref.name).items())
                if move.message.target.version == ref.version
            ],
            main_metric=main,
            main_value=metrics.get(main),
            metrics=metrics,
            evaluations=[_evaluation_out(ref.name, ref.version, one) for one in measured],
            files=[
                DownloadOut(
                    name=file.name,
                    size_bytes=file.size_bytes,
                    url=f"/api/models/{ref.name}/versions/{ref.version}/files/{file.name}",
                )
                for file in message.files
            ],
            size_bytes=next((f.size_bytes for f in message.files if f.name == ONNX), 0),
        )

    def _measured(self, committed: ModelVersion) -> list[Measured]:
        """Return a version's evaluations: its own first, then the later ones, the newest first."""
        trained_on = [
            r for r in committed.commit.run.inputs if r.kind == ArtefactKind.ARTEFACT_KIND_DATASET
        ]
        dataset = ref_out(trained_on[0]) if trained_on else None
        at = iso(committed.commit.committed_at)
        found = [(evaluation, dataset, at) for evaluation in committed.message.evaluations]
        later = [
            one for one in self._view.commits.values()
            if isinstance(one.message, EvaluationCommitted)
            and one.message.model.name == committed.ref.name
            and one.message.model.version == committed.ref.version
        ]  # fmt: skip
        for one in sorted(later, key=lambda each: -each.sequence):
            message = one.message
            at = iso(one.commit.committed_at)
            found.append((message.evaluation, ref_out(message.dataset), at))
        return found

    def _measured_as(self, committed: ModelVersion, id_: str) -> Measured:
        for one in self._measured(committed):
            if one[0].report_digest == id_:
                return one
        raise NotFound(f"the model has no evaluation {id_}", evaluation=id_)

    def _on_one_split(
        self, a: ModelVersion, b: ModelVersion
    ) -> tuple[Evaluation, Evaluation] | None:
        """Return an evaluation of each on the same split; those that tell most first."""
        pairs = [
            (one, other)
            for one, _, _ in self._measured(a)
            for other, _, _ in self._measured(b)
            if one.split_digest and one.split_digest == other.split_digest
        ]
        pairs.sort(key=lambda pair: not (pair[0].outcomes_digest and pair[1].outcomes_digest))
        return pairs[0] if pairs else None

    async def _items(self, dataset: RefOut | None, assets: list[str]) -> dict[str, Item]:
        if dataset is None or not assets:
            return {}
        committed = self._view.commits.get(f"dataset:{dataset.name}@{dataset.version}")
        if committed is None or not isinstance(committed.message, DatasetCommitted):
            return {}
        return await (await self._datasets.tree(committed)).get(assets)


def _evaluation_out(name: str, version: int, measured: Measured) -> EvaluationOut:
    evaluation, dataset, at = measured
    place = f"/api/models/{name}/versions/{version}/evaluations/{evaluation.report_digest}"
    return EvaluationOut(
        id=evaluation.report_digest,
        split=evaluation.split,
        split_digest=evaluation.split_digest,
        count=evaluation.count,
        metrics=dict(evaluation.metrics),
        dataset=dataset,
        evaluated_at=at,
        page_url=f"{place}/page" if evaluation.page_digest else "",
    )


def _difference(name: str, a: dict[str, float], b: dict[str, float]) -> FigureDifferenceOut:
    one, other = a.get(name), b.get(name)
    both = one is not None and other is not None
    return FigureDifferenceOut(
        name=name,
        a=one,
        b=other,
        difference=other - one if both else None,  # type: ignore[operator]
    )


def _move_out(move: Committed[AliasMoved]) -> MoveOut:
    message = move.message
    return MoveOut(
        model=message.model,
        alias=message.alias,
        version=message.target.version,
        previous=message.previous.version,
        rollout=_rollout_out(message.rollout) if message.HasField("rollout") else None,
        moved_at=iso(move.commit.committed_at),
        actor=person_out(move.commit.run.actor),
        reason=message.reason,
    )


def _rollout_out(rollout: Rollout) -> RolloutOut:
    return RolloutOut(
        version=rollout.candidate.version, canary=rollout.canary, shadow=rollout.shadow
    )
