"""The workflow graph as the page shows it: folded from commits and from what runs say.

Differs from lineage's graph in what a person wants to see: a labeling job is one card, an alias's
moves are deployments, submissions of labels and reports are not there, and runs are there from
their first word on. Pure; cards change in place and say at which tick they did.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from loopline.lineage.model import LABELER, LABELS, REPORT, Edge, Fragment, Node, Ref

DEPLOYMENT = "deployment"
JOB = "labeling_job"
KINDS: Mapping[str, str] = {
    "source": "source", "dataset": "dataset", "run": "run", "model": "model",
    "evaluation": "evaluation", "alias": DEPLOYMENT, "predictions": "predictions", JOB: JOB,
    "flow": "flow", "delivery": "delivery", "bucket": "bucket",
}  # fmt: skip
"""Kinds of lineage's nodes that have a card, and the card's kind."""
HIDDEN = (LABELS, LABELER, REPORT)
LABELS_FILE = "labels"
"""Role of the file with known labels beside an import's images: no card of its own."""
SERVING = "serving"
REPLACED = "replaced"
REMOVED_MAX = 10_000  # cards remembered that are gone


@dataclass(slots=True)
class Card:
    """One node as it is now.

    Attributes:
        node: What the log says of it.
        kind: One of the values of `KINDS`.
        group: What it is a version of.
        state: Of a run, a job or a deployment.
        live: The last report of a run or job that is not over; figures by name.
        datasets: Names of the datasets it has to do with.
        aliases: Of a model version: alias to the move's card.
        tick: When it last changed.
    """

    node: Node
    kind: str
    group: str
    state: str = ""
    done: int = 0
    total: int = 0
    datasets: set[str] = field(default_factory=set)
    aliases: dict[str, str] = field(default_factory=dict)
    thumbnails: tuple[str, ...] = ()
    tick: int = 0

    @property
    def id(self) -> str:
        """Its own id."""
        return card_id(self.node.id)

    @property
    def progress(self) -> float | None:
        """What is done of what is to do, in [0, 1]; None if that is not known."""
        return min(1.0, self.done / self.total) if self.total else None


@dataclass(frozen=True, slots=True)
class Report:
    """What a run said of itself last, as far as a card shows it."""

    run: str
    kind: str
    state: str
    title: str
    at: str
    done: int = 0
    total: int = 0
    mentions: tuple[str, ...] = ()
    """Ids of versions that its title names."""


class Workflow:
    """Every card and every edge."""

    def __init__(self) -> None:
        self.cards: dict[str, Card] = {}
        self.above: defaultdict[str, dict[Edge, int]] = defaultdict(dict)
        self.below: defaultdict[str, dict[Edge, int]] = defaultdict(dict)
        self.removed: dict[str, int] = {}  # id -> tick at which the card went
        self.tick = 0
        self._versions: defaultdict[tuple[str, str], list[Node]] = defaultdict(list)
        self._jobs_by_run: dict[str, str] = {}
        self._heads: dict[str, str] = {}  # group of a deployment -> its last move

    def add(self, fragment: Fragment) -> None:
        """Add what one commit makes; the same one again changes nothing."""
        own = fragment.artefact
        known = self.cards.get(card_id(own.id))
        if known is not None and known.node.sequence >= own.sequence:
            return
        self.tick += 1
        if own.kind not in KINDS:
            self._add_run(fragment)
            return
        self._versions[own.kind, own.name].append(own)
        if own.kind == JOB and known is not None:
            self._job_changed(known, own)
            return
        self._mention_all(fragment)
        self._place(own)
        self._link_all(fragment)
        self._settle(self.cards[card_id(own.id)])

    def report(self, report: Report) -> None:
        """Take what a run says of itself."""
        job = self._jobs_by_run.get(report.run)
        card = self.cards.get(job or f"run:{report.run}")
        if job and card is not None:
            card.done, card.total = report.done, report.total
        elif card is None:
            card = self._announced(report)
        elif card.node.sequence:  # its commit says more than it did
            return
        else:
            card.state, card.done, card.total = report.state, report.done, report.total
        self._touch(card)

    def forget(self, run: str) -> None:
        """Drop a run that committed nothing; runs with a commit stay."""
        card = self.cards.get(f"run:{run}")
        if card is not None and not card.node.sequence:
            self.tick += 1
            del self.cards[card.id]
            self.removed[card.id] = self.tick
            while len(self.removed) > REMOVED_MAX:
                del self.removed[next(iter(self.removed))]
            for edge in self.above.pop(card.id, {}):
                self.below[edge.source].pop(edge, None)

    def show(self, id_: str, thumbnails: tuple[str, ...]) -> None:
        """Give a card its pictures."""
        card = self.cards.get(id_)
        if card is not None and thumbnails != card.thumbnails:
            card.thumbnails = thumbnails
            self._touch(card)

    def edges(self) -> Iterator[tuple[Edge, int]]:
        """Yield every edge with the tick it came at."""
        for edges in self.above.values():
            yield from edges.items()

    def closure(self, id_: str, *, up: bool, down: bool) -> set[str]:
        """Return the ids of all that a card comes from, of all that came of it, or both."""
        found = {id_}
        if up:
            found |= self._reached(id_, lambda at: (e.source for e in self.above.get(at, ())))
        if down:
            found |= self._reached(id_, lambda at: (e.target for e in self.below.get(at, ())))
        return found

    @staticmethod
    def _reached(start: str, step: Any) -> set[str]:
        seen, waiting = {start}, [start]
        while waiting:
            for id_ in step(waiting.pop()):
                if id_ not in seen:
                    seen.add(id_)
                    waiting.append(id_)
        return seen

    def _add_run(self, fragment: Fragment) -> None:
        """Add the run that made something without a card: a proof that a model is reproducible."""
        self._mention_all(fragment)
        self._link_all(fragment)
        run = self.cards.get(f"run:{fragment.artefact.run}")
        if run is not None:
            self._settle(run)

    def _mention_all(self, fragment: Fragment) -> None:
        files = {edge.source for edge in fragment.edges if edge.role == LABELS_FILE}
        for node in fragment.nodes:
            is_file = node.kind == "source" and node.id in files
            if node.id != fragment.artefact.id and not is_file:
                self._mention(node)

    def _link_all(self, fragment: Fragment) -> None:
        for edge in fragment.edges:
            self._link(edge)
        for loose in fragment.loose:
            source = self._meant(loose.source, fragment.sequence)
            if source:
                self._link(Edge(source, loose.target, loose.role))

    def _place(self, node: Node) -> Card:
        """Put a committed version in the place of what was only mentioned."""
        id_ = card_id(node.id)
        card = self.cards.get(id_) or Card(node, KINDS[node.kind], group_of(node))
        card.node, self.cards[id_] = node, card
        if node.kind == "dataset":
            card.datasets = {node.name}
        elif node.kind == JOB:
            card.state = str(node.details.get("state", ""))
            self._jobs_by_run[node.run] = id_
        elif node.kind == "alias":
            self._deployed(card)
        self._touch(card)
        return card

    def _mention(self, node: Node) -> None:
        if node.kind not in KINDS:
            return
        known = self.cards.get(card_id(node.id))
        if known is None:
            self._touch(self.cards.setdefault(card_id(node.id), _card(node)))
        elif node.kind == "run" and not known.node.sequence:
            known.node, known.state = node, "completed"
            known.done = known.total = 0
            self._touch(known)

    def _announced(self, report: Report) -> Card:
        node = Node(
            f"run:{report.run}", "run", report.kind, digest=report.run, label=report.kind,
            committed_at=report.at, summary=report.title,
        )  # fmt: skip
        card = Card(node, "run", group_of(node), report.state, report.done, report.total)
        self.cards[card.id] = card
        self.tick += 1
        for mentioned in report.mentions:
            # Its commit will say exactly what it read; until then it hangs on what it names.
            if mentioned in self.cards:
                self._link(Edge(mentioned, card.id, "input"))
                card.datasets |= self.cards[mentioned].datasets
        return card

    def _job_changed(self, card: Card, node: Node) -> None:
        """Take a job's next state: its card stays where the job was opened."""
        opened = card.node
        card.state = str(node.details.get("state", ""))
        card.node = Node(
            opened.id, opened.kind, opened.name, node.version, node.digest, opened.label,
            node.sequence, opened.committed_at, opened.run, node.summary,
            {**opened.figures, **node.figures}, {**opened.details, **node.details},
        )  # fmt: skip
        self._touch(card)

    def _deployed(self, card: Card) -> None:
        """Move an alias: the version it left is no longer flagged."""
        before = self.cards.get(self._heads.get(card.group, ""))
        card.state = SERVING
        if before is not None and before is not card:
            before.state = REPLACED
            self._touch(before)
            self._flag(before, on=False)
        self._heads[card.group] = card.id
        self._flag(card, on=True)

    def _flag(self, deployment: Card, *, on: bool) -> None:
        details = deployment.node.details
        model = self.cards.get(str(details.get("target", "")))
        if model is None:
            return
        alias = str(details.get("alias", ""))
        if on:
            model.aliases[alias] = deployment.id
        elif model.aliases.get(alias) == deployment.id:
            del model.aliases[alias]
        self._touch(model)

    def _link(self, edge: Edge) -> None:
        source, target = card_id(edge.source), card_id(edge.target)
        if source not in self.cards or target not in self.cards or source == target:
            return
        linked = Edge(source, target, edge.role)
        if linked not in self.above[target]:
            self.above[target][linked] = self.below[source][linked] = self.tick

    def _meant(self, ref: Ref, before: int) -> str:
        """Return the id of the version that a reference names, as things were at a commit."""
        if ref.kind == LABELS:
            return card_id(f"{LABELS}:{ref.name}")
        if ref.id:
            return ref.id
        for node in reversed(self._versions[ref.kind, ref.name]):
            if node.sequence < before and ref.digest in ("", node.digest):
                return node.id
        return ""

    def _settle(self, own: Card) -> None:
        """Tell the datasets of what a commit linked: a run's from both its sides."""
        run = own if own.kind == "run" else self.cards.get(f"run:{own.node.run}")
        if run is not None:
            for edge in self.above.get(run.id, ()):
                run.datasets |= self.cards[edge.source].datasets
            if own.kind == "dataset":
                run.datasets |= own.datasets
            for edge in self.above.get(run.id, ()):
                source = self.cards[edge.source]
                if source.kind in ("source", "flow") and not run.datasets <= source.datasets:
                    source.datasets |= run.datasets
                    self._touch(source)
            self._touch(run)
        if own.kind != "dataset":
            for edge in self.above.get(own.id, ()):
                own.datasets |= self.cards[edge.source].datasets
        for edge in self.below.get(own.id, ()):  # a customer's bucket
            target = self.cards[edge.target]
            if not target.node.sequence and target.kind == "bucket":
                target.datasets |= own.datasets
                self._touch(target)

    def _touch(self, card: Card) -> None:
        self.tick += 1
        card.tick = self.tick


def card_id(node_id: str) -> str:
    """Return the id of a node's card: a labeling job has one, with all states and submissions.

    >>> card_id("labeling_job:relabel@2"), card_id("labels:relabel/0a1b@1")
    ('labeling_job:relabel', 'labeling_job:relabel')
    >>> card_id("dataset:catalogue@2")
    'dataset:catalogue@2'
    """
    if node_id.startswith(f"{JOB}:"):
        return node_id.partition("@")[0]
    if node_id.startswith(f"{LABELS}:"):
        return f"{JOB}:{node_id.removeprefix(f'{LABELS}:').partition('/')[0]}"
    return node_id


def group_of(node: Node) -> str:
    """Return what a node is a version of: cards of one group may be collapsed."""
    kind = KINDS.get(node.kind, node.kind)
    return f"run:{node.name}" if kind == "run" else f"{kind}:{node.name}"


def _card(node: Node) -> Card:
    state = "completed" if node.kind == "run" and node.sequence else ""
    return Card(node, KINDS[node.kind], group_of(node), state)
