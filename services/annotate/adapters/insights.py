"""What a job tells of models and of labelers: where models were wrong, how far people agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

from loopline.store.items import Shape
from services.annotate.adapters import answers, presenting
from services.annotate.adapters.http import cursor_of
from services.annotate.adapters.items import ItemRows
from services.annotate.adapters.reader import BoardReader, Job, Shown, SideBySide, Submission
from services.annotate.adapters.rows import shapes_from
from services.annotate.domain.agreement import agreement
from services.annotate.domain.consensus import cohen_kappa, fleiss_kappa, ratings
from services.annotate.domain.work import Rules
from services.annotate.domain.wrong import Wrong, differences

Said = Mapping[str, Sequence[Shape]]


class Insights:
    """Reads what a job tells.

    Args:
        board: Submissions.
        rows: The truth of items that score labelers.
        side_by_side: Predictions beside results.
    """

    def __init__(self, board: BoardReader, rows: ItemRows, side_by_side: SideBySide) -> None:
        self._board = board
        self._rows = rows
        self._side_by_side = side_by_side

    async def wrong(
        self, job: str, after: int, limit: int, *, kind: str = "", class_name: str = "",
        confidence_min: float = 0.0,
    ) -> answers.WrongsOut:  # fmt: skip
        """Return where models were wrong on the items behind a position.

        Args:
            job: The job.
            after: Position of the last item that was looked at.
            limit: How many items to look at.
            kind: Only "class", "missed", "invented" or "moved".
            class_name: Only where this class was predicted or is said.
            confidence_min: Only predictions that were at least this sure, and what was missed.
        """
        page = await self._side_by_side.page(job, after, limit)
        found: list[answers.WrongOut] = []
        for shown in page:
            wrong = differences(shapes_from(shown.predicted or "[]"), shown.result.shapes)
            wanted = (one for one in wrong if _wanted(one, kind, class_name, confidence_min))
            found += [_wrong_out(job, shown, one) for one in wanted]
        more = cursor_of(page[-1].position) if len(page) == limit else None
        return answers.WrongsOut(wrong=found, looked_at=len(page), next_cursor=more)

    async def people(self, job: Job) -> answers.PeopleOut:
        """Return how labelers do, and how far they agree."""
        said = await self._board.submissions(job.name)
        truths = await self._rows.truths(job.name)
        blind = [one for one in said if not one.ground_truth and not one.said.by_reviewer]
        by_asset: dict[str, dict[str, Sequence[Shape]]] = defaultdict(dict)
        for one in blind:
            by_asset[one.asset][one.said.labeler] = one.said.shapes
        together = [people for people in by_asset.values() if len(people) > 1]
        rules = job.rules
        names = sorted({one.said.labeler for one in said if not one.said.by_reviewer})
        scores = _agreements(together, rules)
        return answers.PeopleOut(
            job=job.name,
            labelers=[_person(name, said, truths, scores, rules) for name in names],
            pairs=_pairs(together, rules),
            fleiss_kappa=_fleiss(together, rules),
            agreement=_mean([score for each in scores.values() for score in each]),
        )


def _wanted(one: Wrong, kind: str, class_name: str, confidence_min: float) -> bool:
    if kind and one.kind != kind:
        return False
    shapes = [shape for shape in (one.predicted, one.label) if shape is not None]
    if class_name and class_name not in {shape.class_name for shape in shapes}:
        return False
    return one.predicted is None or (one.predicted.confidence or 0.0) >= confidence_min


def _wrong_out(job: str, shown: Shown, one: Wrong) -> answers.WrongOut:
    return answers.WrongOut(
        job=job,
        asset=shown.asset,
        kind=one.kind.value,
        model=shown.predicted_by,
        predicted=presenting.shape_out(one.predicted) if one.predicted is not None else None,
        label=presenting.shape_out(one.label) if one.label is not None else None,
        iou=round(one.iou, 6),
        labelers=list(shown.result.labelers),
    )


def _agreements(together: Sequence[Said], rules: Rules) -> dict[str, list[float]]:
    """Return each person's agreement with each other one, item by item."""
    scores: dict[str, list[float]] = defaultdict(list)
    for people in together:
        for a, b in combinations(sorted(people), 2):
            score = agreement(people[a], people[b], rules.iou_min)
            scores[a].append(score)
            scores[b].append(score)
    return scores


def _person(
    name: str,
    said: Sequence[Submission],
    truths: Mapping[str, Sequence[Shape]],
    scores: Mapping[str, list[float]],
    rules: Rules,
) -> answers.PersonOut:
    own = [one for one in said if one.said.labeler == name and not one.said.by_reviewer]
    work = [one for one in own if not one.ground_truth]
    scored = [
        agreement(one.said.shapes, truths[one.asset], rules.iou_min)
        for one in own
        if one.asset in truths
    ]
    return answers.PersonOut(
        labeler=name,
        items=len(work),
        spent_s=round(sum(one.said.spent_s for one in own), 3),
        accepted=sum(one.accepted for one in work),
        rejected=sum(one.rejected for one in work),
        ground_truth_items=len(scored),
        ground_truth_score=_mean(scored),
        agreement=_mean(scores.get(name, [])),
    )


def _pairs(together: Sequence[Said], rules: Rules) -> list[answers.KappaOut]:
    given: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    items: Counter[tuple[str, str]] = Counter()
    for people in together:
        for a, b in combinations(sorted(people), 2):
            rated = ratings({a: people[a], b: people[b]}, rules.iou_min)
            given[a, b] += [(place[a], place[b]) for place in rated]
            items[a, b] += 1
    return [
        answers.KappaOut(
            a=a, b=b, items=items[a, b], places=len(pairs), kappa=_rounded(cohen_kappa(pairs))
        )
        for (a, b), pairs in sorted(given.items())
    ]


def _fleiss(together: Sequence[Said], rules: Rules) -> float | None:
    units = [
        Counter(place.values())
        for people in together
        if len(people) == rules.labelers_per_item
        for place in ratings(people, rules.iou_min)
    ]
    return _rounded(fleiss_kappa(units))


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 6) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
