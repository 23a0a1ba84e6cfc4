"""Answers questions about the workflow graph."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from datetime import UTC
from typing import Any
from uuid import uuid4

import orjson
import structlog

from loopline.access import Caller, Scope
from loopline.contracts import DatasetCommitted
from loopline.errors import LooplineError, NotFound
from loopline.lineage.model import Edge
from loopline.store.commits import Committed
from loopline.store.datasets import Datasets
from services.console.adapters.actions import actions_of
from services.console.adapters.log_view import LogView
from services.console.adapters.messages import UNDER_WAY, seconds_between
from services.console.adapters.runs import RunDesk
from services.console.bodies.base import PersonOut, WorkerOut
from services.console.bodies.workflow import (
    AliasOut,
    DownloadOut,
    EdgeOut,
    FigureOut,
    NodeDetailOut,
    NodeOut,
)
from services.console.domain.figures import card_figures, histogram, place_label
from services.console.domain.questions import Question, part_of
from services.console.domain.workflow import SERVING, Card, Workflow

log = structlog.get_logger()

THUMBNAILS = 4  # on a card
SAMPLE = 256  # items that they are chosen from
PICTURES_EVERY_S = 0.5
NEIGHBOURS_MAX = 200


class WorkflowDesk:
    """The graph, as the page asks for it.

    Args:
        view: What the log says.
        runs: Tells of runs.
        datasets: For the pictures of dataset versions.
    """

    def __init__(self, view: LogView, runs: RunDesk, datasets: Datasets) -> None:
        self._view = view
        self._runs = runs
        self._datasets = datasets
        self._boot = uuid4().hex[:8]  # ticks begin anew with each process
        self._cards: dict[str, tuple[int, dict[str, Any]]] = {}
        self._pictures: dict[str, tuple[str, ...]] = {}  # by tree
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to find pictures for dataset versions."""
        self._task = asyncio.create_task(self._find_pictures(), name="find pictures")

    async def stop(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def revision(self) -> str:
        """Of the whole graph."""
        return f"{self._boot}-{self._workflow.tick}"

    @property
    def _workflow(self) -> Workflow:
        return self._view.workflow

    def graph(self, question: Question, since: str, limit: int) -> bytes:
        """Return what is asked for, as the JSON of a `WorkflowOut`.

        Raises:
            NotFound: The focus is not there.
        """
        workflow = self._workflow
        if question.focus and question.focus not in workflow.cards:
            raise NotFound(f"there is no node {question.focus!r}", node=question.focus)
        tick = self._tick_of(since) if question.is_everything else 0
        cards, edges = part_of(workflow, question)
        total = len(cards)
        if total > limit:
            cards = cards[-limit:]
            kept = {card.id for card in cards}
            edges = [edge for edge in edges if edge.source in kept and edge.target in kept]
        if tick:
            cards = [card for card in cards if card.tick > tick]
            edges = [e for e in edges if workflow.above[e.target].get(e, 0) > tick]
        answer = {
            "revision": self.revision,
            "is_partial": bool(tick),
            "removed": [id_ for id_, at in workflow.removed.items() if at > tick] if tick else [],
            "total": total,
            "nodes": [self._card(card) for card in cards],
            "edges": [edge._asdict() for edge in edges],
            "kinds": Counter(card.kind for card in workflow.cards.values()),
            "dataset_names": sorted(
                {card.node.name for card in workflow.cards.values() if card.kind == "dataset"}
            ),
        }
        return orjson.dumps(answer)

    async def node(self, id_: str, caller: Caller) -> NodeDetailOut:
        """Return everything about a node."""
        card = self._workflow.cards.get(id_)
        if card is None:
            raise NotFound(f"there is no node {id_!r}", node=id_)
        inputs, outputs = list(self._workflow.above[id_]), list(self._workflow.below[id_])
        ends = dict.fromkeys([e.source for e in inputs] + [e.target for e in outputs])
        run = None
        made_by = card.node.digest if card.kind == "run" else card.node.run
        if made_by:
            with contextlib.suppress(NotFound):
                run = await self._runs.run(made_by)
        version = self._head_version(card)
        may_operate = caller.may(Scope.OPERATE)
        return NodeDetailOut(
            **self._card(card),
            details=dict(card.node.details),
            all_figures=dict(card.node.figures),
            run=run,
            inputs=_edges_out(inputs),
            outputs=_edges_out(outputs),
            neighbours=[
                NodeOut(**self._card(self._workflow.cards[end]))
                for end in list(ends)[:NEIGHBOURS_MAX]
            ],
            actions=actions_of(card, run, version) if may_operate else actions_of(card, None, -1),
            downloads=downloads_of(card),
        )

    def _head_version(self, card: Card) -> int:
        """Return the last version of what a card is a version of."""
        group = (one for one in self._workflow.cards.values() if one.group == card.group)
        return max((one.node.version for one in group), default=0)

    def _tick_of(self, revision: str) -> int:
        boot, _, tick = revision.partition("-")
        known = boot == self._boot and tick.isdecimal() and len(tick) < 16
        return int(tick) if known and int(tick) <= self._workflow.tick else 0

    def _card(self, card: Card) -> dict[str, Any]:
        """Return a card as the API says it; made once per change."""
        known = self._cards.get(card.id)
        if known is None or known[0] != card.tick:
            known = self._cards[card.id] = (card.tick, self._made(card).model_dump())
        return known[1]

    def _made(self, card: Card) -> NodeOut:
        node, details = card.node, card.node.details
        is_run = card.kind == "run"
        actor, agent = details.get("actor") or {}, details.get("agent") or {}
        return NodeOut(
            id=card.id,
            kind=card.kind,
            name=node.name,
            version=0 if card.kind == "labeling_job" else node.version,
            label=_label(card),
            group=card.group,
            at=node.committed_at or self._view.began.get(node.digest, ""),
            state=card.state,
            progress=card.progress if not card.state or card.state in _IN_PROGRESS else None,
            duration_s=self._duration_s(card),
            summary=node.summary,
            datasets=sorted(card.datasets),
            figures=[FigureOut(**f) for f in card_figures(card.kind, node.figures)],
            histogram=histogram(node.figures) if card.kind == "dataset" else {},
            thumbnails=list(card.thumbnails),
            aliases=self._aliases(card),
            made_by=f"run:{node.run}" if node.run else "",
            run_kind=node.name if is_run else "",
            worker=WorkerOut(**agent) if agent.get("id") else None,
            actor=PersonOut(**actor) if actor.get("name") else None,
        )

    def _aliases(self, card: Card) -> list[AliasOut]:
        moves = {name: self._workflow.cards[id_].node for name, id_ in card.aliases.items()}
        return [
            AliasOut(
                alias=name, moved_at=move.committed_at, reason=str(move.details.get("reason", ""))
            )
            for name, move in sorted(moves.items())
        ]

    def _duration_s(self, card: Card) -> float | None:
        if card.kind != "run":
            return None
        details = card.node.details
        if details.get("started_at"):
            return seconds_between(details["started_at"], details["finished_at"])
        began = self._view.began.get(card.node.digest, "")
        changed = self._view.runs.get(card.node.digest)
        if changed is None or card.state in UNDER_WAY:
            return None  # the page counts it from `at`
        return seconds_between(began, changed.at.ToDatetime(UTC).isoformat())

    async def _find_pictures(self) -> None:
        """Give dataset versions their pictures, the newest first, one after the other."""
        while True:
            waiting = [
                card for card in self._workflow.cards.values()
                if card.kind == "dataset" and card.node.sequence and not card.thumbnails
                and str(card.node.details.get("tree")) not in self._pictures
            ]  # fmt: skip
            for card in sorted(waiting, key=lambda one: -one.node.sequence):
                await self._illustrate(card)
            for card in self._workflow.cards.values():
                if card.kind == "dataset" and not card.thumbnails:
                    tree = str(card.node.details.get("tree"))
                    self._workflow.show(card.id, self._pictures.get(tree, ()))
            await asyncio.sleep(PICTURES_EVERY_S)

    async def _illustrate(self, card: Card) -> None:
        tree = str(card.node.details.get("tree"))
        committed = self._view.commits.get(card.id)
        if tree in self._pictures or committed is None:
            return
        try:
            self._pictures[tree] = await self.pictures(committed)
        except LooplineError as error:
            log.warning("no_pictures", dataset=card.id, reason=error.message)
            self._pictures[tree] = ()

    async def pictures(self, committed: Committed[DatasetCommitted]) -> tuple[str, ...]:
        """Return some assets of a dataset version: of as many classes as may be."""
        tree = await self._datasets.tree(committed)
        by_class: dict[str, str] = {}
        others: list[str] = []
        looked = 0
        async for item in tree.rows(["asset", "shapes"]):
            name = item.shapes[0].class_name if item.shapes else ""
            if name and name not in by_class:
                by_class[name] = item.asset
            else:
                others.append(item.asset)
            looked += 1
            if looked == SAMPLE or len(by_class) == THUMBNAILS:
                break
        return tuple([*by_class.values(), *others][:THUMBNAILS])


_IN_PROGRESS = (*UNDER_WAY, "in_progress", "on_review", "pending")


def _label(card: Card) -> str:
    node = card.node
    if card.kind == "labeling_job":
        return node.name
    if card.kind in ("source", "bucket"):
        return place_label(node.name)
    if card.kind == "deployment":
        target = str(node.details.get("target", "")).rpartition("@")[2]
        return f"{node.name} → v{target}" if card.state == SERVING else node.label
    return node.label or node.name


def _edges_out(edges: list[Edge]) -> list[EdgeOut]:
    return [EdgeOut(source=edge.source, target=edge.target, role=edge.role) for edge in edges]


def downloads_of(card: Card) -> list[DownloadOut]:
    """Return the files that a card's version has."""
    node = card.node
    files: list[Mapping[str, Any]] = list(node.details.get("files") or ())
    return [
        DownloadOut(
            name=str(file["name"]),
            size_bytes=int(file["size_bytes"]),
            url=f"/api/models/{node.name}/versions/{node.version}/files/{file['name']}",
        )
        for file in files
        if card.kind == "model"
    ]
