"""From what a person asks for to the command that opens a job."""

from __future__ import annotations

from loopline.client.refs import parse_ref
from loopline.contracts import Actor, ArtefactKind, DatasetCommitted, OpenLabelingJob, catalog
from loopline.errors import NotFound, Rejected
from loopline.flows import observations
from loopline.flows.contexts import Kind
from loopline.flows.rules import compile_rule
from loopline.store.commits import CommitLog, Committed
from loopline.store.datasets import Datasets
from services.annotate.adapters.bodies import JobIn
from services.annotate.adapters.sources import JobSources

_PLAIN = (
    "instructions", "classes", "shapes", "labelers", "reviewers", "review", "priority", "quorum",
    "labelers_per_item", "iou_min", "ground_truth_every", "keeps_filling", "where", "pending",
    "webhook_url", "notify", "lease_s", "confidence_min", "start_empty",
)  # fmt: skip


class Opening:
    """Makes commands of what people ask for.

    Args:
        log: The log.
        datasets: Where the items are.
        sources: Keeps the lists of items.
    """

    def __init__(self, log: CommitLog, datasets: Datasets, sources: JobSources) -> None:
        self._log = log
        self._datasets = datasets
        self._sources = sources

    async def command(self, asked: JobIn, actor: Actor) -> OpenLabelingJob:
        """Return the command.

        Raises:
            NotFound: There is no such dataset, version or predictions.
            Rejected: The rule cannot be, chooses nothing, or both a rule and a list are given.
        """
        version = await self._version(asked.dataset)
        assets = await self._assets(asked, version)
        given = {name: getattr(asked, name) for name in _PLAIN}
        command = OpenLabelingJob(job=asked.job, dataset=version.ref, actor=actor, **given)
        command.items_digest = await self._sources.keep_list(assets)
        command.items_count = len(assets)
        if asked.ground_truth:
            command.ground_truth_digest = await self._sources.keep_list(asked.ground_truth)
            command.ground_truth_count = len(asked.ground_truth)
        if asked.deadline is not None:
            command.deadline.FromDatetime(asked.deadline)
        if asked.predictions:
            ref, _ = parse_ref(asked.predictions, ArtefactKind.ARTEFACT_KIND_PREDICTIONS)
            found = await self._log.version(catalog.PREDICTIONS_COMMITTED, ref, name=ref.name)
            command.predictions.CopyFrom(found.ref)
            command.predictions_tree.CopyFrom(found.message.tree)
        return command

    async def _version(self, name: str) -> Committed[DatasetCommitted]:
        ref, tag = parse_ref(name, ArtefactKind.ARTEFACT_KIND_DATASET)
        if tag:
            head = await self._datasets.head(ref.name)
            if head is None or tag not in head.message.tags:
                raise NotFound(f"the dataset {ref.name!r} has no tag {tag!r}", tag=tag)
            ref.version = head.message.tags[tag]
        return await self._datasets.version(ref)

    async def _assets(self, asked: JobIn, version: Committed[DatasetCommitted]) -> list[str]:
        if asked.items:
            if asked.where:
                raise Rejected(f"job {asked.job}: give either items or a rule")
            return list(asked.items)
        rule = compile_rule(Kind.APPLY, asked.where) if asked.where else None
        hidden = set(asked.ground_truth)
        tree = await self._datasets.tree(version)
        chosen: list[str] = []
        async for item in tree.rows():
            if item.asset in hidden:
                continue
            if rule is None or rule.holds({"item": observations.item(item)}):
                chosen.append(item.asset)
            if len(chosen) == asked.limit:
                break
        if not chosen:
            raise Rejected(f"job {asked.job}: no item of {asked.dataset} is chosen", job=asked.job)
        return chosen
