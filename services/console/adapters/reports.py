"""Reads what evaluations found: reports, and the outcome of each image."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from loopline.contracts import Evaluation
from loopline.errors import NotFound, Rejected
from loopline.evaluation.report import Comparison, ImageView, Report, ShapeView
from loopline.store.items import Item, Prediction, Shape
from loopline.store.objects import Area, ObjectStore

if TYPE_CHECKING:
    from loopline.evaluation.outcomes import Outcomes

REPORTS_KEPT = 8
COMPARED_KEPT = 64
BACKGROUND = "background"


class Reports:
    """Files of evaluations; the last ones that were read are kept.

    Args:
        objects: Where they are.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._kept: OrderedDict[str, Report] = OrderedDict()
        self._compared: OrderedDict[tuple[str, str], Comparison] = OrderedDict()

    async def report(self, digest: str) -> Report:
        """Return a report; Rejected if it is of another release."""
        if digest not in self._kept:
            try:
                self._kept[digest] = Report.model_validate_json(await self.file(digest))
            except ValidationError as error:
                raise Rejected(f"the report {digest} is of another release: {error}") from error
            if len(self._kept) > REPORTS_KEPT:
                self._kept.popitem(last=False)
        return self._kept[digest]

    async def file(self, digest: str) -> bytes:
        """Return a file of an evaluation, wherever it was kept."""
        try:
            return await self._objects.get(Area.REPORTS, digest)
        except NotFound:  # a training's own are files of its model version
            return await self._objects.get(Area.MODELS, digest)

    async def images_of_cell(
        self, evaluation: Evaluation, truth: str, predicted: str
    ) -> tuple[list[ImageView], bool]:
        """Return the images of a cell of the confusion matrix, the worst first.

        Also whether these are all of them: where outcomes were not kept only the worst are known.
        """
        report = await self.report(evaluation.report_digest)
        labels = report.confusion.labels if report.confusion else report.classes
        assets = _assets(await self._outcomes(evaluation), labels, truth, predicted)
        if assets is None:
            return [view for view in report.worst if _is_in_cell(view, truth, predicted)], False
        known = {view.asset: view for view in report.worst}
        worst = [known[asset] for asset in assets if asset in known]
        is_named = report.task == "classification"  # of boxes and masks only the worst are drawn
        others = [_view(a, truth, predicted, is_named) for a in assets if a not in known]
        return [*worst, *others], True

    async def comparison(self, a: Evaluation, b: Evaluation) -> Comparison | None:
        """Return how sure the differences of two evaluations are; None if nothing tells."""
        from loopline.evaluation.comparison import compare

        key = (a.outcomes_digest, b.outcomes_digest)
        if not all(key):
            return None
        if key not in self._compared:
            one, other = await self._outcomes(a), await self._outcomes(b)
            assert one is not None  # they have digests
            assert other is not None
            told = await asyncio.to_thread(compare, one, other)
            self._compared[key] = told.model_copy(update={"split_digest": b.split_digest})
            if len(self._compared) > COMPARED_KEPT:
                self._compared.popitem(last=False)
        return self._compared[key]

    async def _outcomes(self, evaluation: Evaluation) -> Outcomes | None:
        """Return what was found on each image; None if that was not kept."""
        from loopline.evaluation import outcomes

        if not evaluation.outcomes_digest:
            return None
        data = await self.file(evaluation.outcomes_digest)
        return await asyncio.to_thread(outcomes.from_bytes, data)


def _assets(
    outcomes: Outcomes | None, labels: Sequence[str], truth: str, predicted: str
) -> list[str] | None:
    """Return the images of a cell, by asset; None if what was found was not kept."""
    if outcomes is None:
        return None
    if truth not in labels or predicted not in labels:
        return []
    return list(outcomes.in_cell(labels.index(truth), labels.index(predicted)))


def _view(asset: str, truth: str, predicted: str, is_named: bool) -> ImageView:
    """Return an image of a cell that is not among the worst."""
    if not is_named:
        return ImageView(asset=asset, width_px=0, height_px=0, badness=0.0, reason="")
    verdict: Literal["right", "wrong"] = "right" if truth == predicted else "wrong"
    return ImageView(
        asset=asset, width_px=0, height_px=0, badness=0.0, reason="",
        truth=(ShapeView(class_name=truth),),
        predicted=(ShapeView(class_name=predicted, verdict=verdict),),
    )  # fmt: skip


def _is_in_cell(view: ImageView, truth: str, predicted: str) -> bool:
    """Tell whether an image shows what a cell counts; "background" is what nobody drew."""
    if truth == BACKGROUND:
        return any(s.class_name == predicted and s.verdict == "wrong" for s in view.predicted)
    if predicted == BACKGROUND:
        return any(s.class_name == truth and s.verdict == "missed" for s in view.truth)
    true = {shape.class_name for shape in view.truth}
    return truth in true and predicted in {shape.class_name for shape in view.predicted}


def item_of(view: ImageView) -> Item:
    """Return an image of a report whose dataset version is not known here."""
    shapes = tuple(_shape(at, shape) for at, shape in enumerate(view.truth))
    return Item(view.asset, "", 0, view.width_px, view.height_px, labeled=True, shapes=shapes)


def prediction_of(view: ImageView) -> Prediction:
    """Return what the model says of an image of a report."""
    shapes = tuple(_shape(at, shape) for at, shape in enumerate(view.predicted))
    return Prediction(view.asset, shapes, ())


def _shape(at: int, shape: ShapeView) -> Shape:
    return Shape(
        id=str(at),
        class_name=shape.class_name,
        bbox_xyxy=shape.bbox_xyxy,
        mask_rle=shape.mask_rle,
        confidence=shape.confidence,
    )
