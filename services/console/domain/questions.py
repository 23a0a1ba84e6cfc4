"""Which part of the workflow graph is asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from loopline.lineage.model import Edge
from services.console.domain.workflow import Card, Workflow


@dataclass(frozen=True, slots=True)
class Question:
    """Which part of the graph is asked for.

    Args:
        kinds: Kinds of cards; all if empty. What is left out does not cut the graph.
        datasets: Only what has to do with one of these; everything if empty.
        after: Only what is from this moment on (ISO 8601, UTC); "" for any.
        before: Only what is before this moment.
        search: Words that all must be in a card's texts.
        focus: A card's id: only it, and what it comes from or what came of it.
        up: What it comes from.
        down: What came of it.
    """

    kinds: frozenset[str] = frozenset()
    datasets: frozenset[str] = frozenset()
    after: str = ""
    before: str = ""
    search: str = ""
    focus: str = ""
    up: bool = True
    down: bool = True

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self == Question(up=self.up, down=self.down)

    def shows(self, card: Card) -> bool:
        """Tell whether a card is asked for, its kind aside."""
        if self.datasets and not self.datasets & card.datasets:
            return False
        at = card.node.committed_at
        if (self.after and at < self.after) or (self.before and at >= self.before):
            return False
        return all(word in text_of(card) for word in self.search.lower().split())


def text_of(card: Card) -> str:
    """Return what a search looks at."""
    node = card.node
    parts = (node.id, node.label, node.name, node.summary, node.digest, card.state, *card.aliases)
    return " ".join(parts).lower()


def part_of(workflow: Workflow, question: Question) -> tuple[list[Card], list[Edge]]:
    """Return the cards that are asked for, in the order of time, and the edges among them."""
    ids: Iterable[str] = workflow.cards
    if question.focus:
        ids = workflow.closure(question.focus, up=question.up, down=question.down)
    asked = [card for id_ in ids if question.shows(card := workflow.cards[id_])]
    shown = [card for card in asked if not question.kinds or card.kind in question.kinds]
    shown.sort(key=lambda card: (card.node.committed_at or "0", card.node.sequence, card.id))
    kept, through = {card.id for card in shown}, {card.id for card in asked}
    edges: dict[Edge, None] = {}
    for card in shown:
        for edge in workflow.below.get(card.id, ()):
            if edge.target in kept:
                edges[edge] = None
            elif edge.target in through:
                for end in _beyond(workflow, edge.target, kept, through):
                    edges[Edge(card.id, end, edge.role)] = None
    return shown, list(edges)


def _beyond(workflow: Workflow, hidden: str, kept: set[str], through: set[str]) -> Iterator[str]:
    """Yield the first shown cards behind a hidden one."""
    seen, waiting = {hidden}, [hidden]
    while waiting:
        for edge in workflow.below.get(waiting.pop(), ()):
            if edge.target in seen:
                continue
            seen.add(edge.target)
            if edge.target in kept:
                yield edge.target
            elif edge.target in through:
                waiting.append(edge.target)
