"""What can be done with a node of the graph."""

from __future__ import annotations

from urllib.parse import quote

from services.console.bodies.runs import RunOut
from services.console.bodies.workflow import ActionOut
from services.console.domain.workflow import Card

_SAME = (
    "Ask for the same once more? What comes of equal inputs, parameters and code is known:"
    " unless one of them is another by now, it is recognised, and nothing is made anew."
)
_AGAIN = {
    "import": "Look at the source once more? Images that are new there make the next version.",
    "train": f"{_SAME} To train it anew from its record and compare, choose Reproduce.",
}


def actions_of(card: Card, run: RunOut | None, head: int) -> list[ActionOut]:
    """Return the actions of a card.

    Args:
        card: The card.
        run: The run it is, or that made it; None if who asks may change nothing.
        head: The last version of what it is a version of; -1 if who asks may change nothing.
    """
    found = [*_pages(card), *_comparison(card)]
    if head >= 0:
        found += _changes(card, head)
        if run is not None:
            found += _of_run(run)
    return found


def _pages(card: Card) -> list[ActionOut]:
    node = card.node
    pages = {
        "dataset": f"/datasets/{node.name}/{node.version}",
        "model": f"/models/{node.name}/{node.version}",
        "evaluation": _evaluated(str(node.details.get("model", ""))),
        "labeling_job": f"/label/{node.name}",
        "deployment": f"/models/{node.details.get('model', '')}?tab=aliases",
        "run": f"/live?run={quote(node.digest, safe='')}",
    }
    return [_page("open", "Open", pages[card.kind])] if card.kind in pages else []


def _evaluated(model: str) -> str:
    name, _, version = model.removeprefix("model:").rpartition("@")
    return f"/models/{name}/{version}?tab=evaluation"


def _comparison(card: Card) -> list[ActionOut]:
    node = card.node
    if card.kind not in ("dataset", "model") or node.version < 2:
        return []
    place = "datasets" if card.kind == "dataset" else "models"
    tab = "diff" if card.kind == "dataset" else "compare"
    path = f"/{place}/{node.name}?tab={tab}&a={node.version - 1}&b={node.version}"
    return [_page("compare", f"Compare with v{node.version - 1}", path)]


def _changes(card: Card, head: int) -> list[ActionOut]:
    node = card.node
    if card.kind == "dataset" and node.version < head:
        return [
            ActionOut(
                name="restore",
                label=f"Restore v{node.version}",
                method="POST",
                path=f"/api/datasets/{node.name}/restore",
                body={"version": node.version},
                confirm=f"Commit v{head + 1} of {node.name} with the items of v{node.version}?",
            )
        ]
    if card.kind == "model" and "champion" not in card.aliases:
        return [
            ActionOut(
                name="promote",
                label="Promote to champion",
                method="POST",
                path=f"/api/models/{node.name}/promote",
                body={"alias": "champion", "version": node.version},
                confirm=f"Serve v{node.version} of {node.name} as champion from now on?",
            )
        ]
    return []


def _of_run(run: RunOut) -> list[ActionOut]:
    found = []
    if run.can_cancel:
        found.append(_run("stop", "Stop", f"/api/runs/{run.id}/cancel", f"Stop this {run.kind}?"))
        found[-1].body = {"reason": ""}
    if run.can_rerun:
        ask = _AGAIN.get(run.kind, _SAME) if run.state == "completed" else ""
        found.append(_run("rerun", "Run again", f"/api/runs/{run.id}/rerun", ask))
    if run.can_reproduce:
        ask = "Train it anew from its record, to see whether the same comes out?"
        found.append(_run("reproduce", "Reproduce", f"/api/runs/{run.id}/reproduce", ask))
    return found


def _page(name: str, label: str, path: str) -> ActionOut:
    return ActionOut(name=name, label=label, method="GET", path=path, body={}, confirm="")


def _run(name: str, label: str, path: str, confirm: str) -> ActionOut:
    return ActionOut(name=name, label=label, method="POST", path=path, body={}, confirm=confirm)
