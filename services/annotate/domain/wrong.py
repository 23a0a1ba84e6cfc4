"""Where a model was wrong: prediction and labels of an image laid side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from loopline.store.items import Shape
from services.annotate.domain.agreement import overlap, pair_off
from services.annotate.domain.shapes import is_whole_image, top_whole_image

SAME_FROM_IOU = 0.9
"""A shape that people moved by less was right."""


class Kind(StrEnum):
    """How a model was wrong."""

    CLASS = "class"  # something else is there
    MISSED = "missed"  # something is there that it did not see
    INVENTED = "invented"  # nothing is there
    MOVED = "moved"  # the same thing, drawn otherwise


@dataclass(frozen=True, slots=True)
class Wrong:
    """One place where they differ.

    Attributes:
        kind: How.
        predicted: What the model said; None where it saw nothing.
        label: What people say; None where nothing is.
        iou: How much the two overlap, in [0, 1].
    """

    kind: Kind
    predicted: Shape | None
    label: Shape | None
    iou: float = 0.0


def differences(predicted: Sequence[Shape], labels: Sequence[Shape]) -> list[Wrong]:
    """Return where a model was wrong.

    What a person says to have edited is compared with what it came from; the rest by overlap.

    Args:
        predicted: What the model said.
        labels: What people say.
    """
    drawn_p = [shape for shape in predicted if not is_whole_image(shape)]
    drawn_l = [shape for shape in labels if not is_whole_image(shape)]
    edited = _edited(drawn_p, drawn_l)
    rest_p = [shape for shape in drawn_p if shape.id not in edited]
    rest_l = [shape for shape in drawn_l if not any(one is shape for one in edited.values())]
    pairs = [(p, edited[p.id]) for p in drawn_p if p.id in edited]
    found = pair_off(rest_p, rest_l)
    pairs += [(rest_p[pair.a], rest_l[pair.b]) for pair in found]
    lone_p = [p for i, p in enumerate(rest_p) if i not in {pair.a for pair in found}]
    lone_l = [one for j, one in enumerate(rest_l) if j not in {pair.b for pair in found}]
    return [
        *_whole_image(predicted, labels),
        *(wrong for p, one in pairs if (wrong := _compared(p, one)) is not None),
        *(Wrong(Kind.INVENTED, p, None) for p in lone_p),
        *(Wrong(Kind.MISSED, None, one) for one in lone_l),
    ]


def _edited(predicted: Sequence[Shape], labels: Sequence[Shape]) -> dict[str, Shape]:
    known = {shape.id for shape in predicted}
    edited: dict[str, Shape] = {}
    for label in labels:
        if label.edited_from in known:
            edited.setdefault(label.edited_from, label)
    return edited


def _compared(predicted: Shape, label: Shape) -> Wrong | None:
    iou = overlap(predicted, label)
    if predicted.class_name != label.class_name:
        return Wrong(Kind.CLASS, predicted, label, iou)
    return Wrong(Kind.MOVED, predicted, label, iou) if iou < SAME_FROM_IOU else None


def _whole_image(predicted: Sequence[Shape], labels: Sequence[Shape]) -> list[Wrong]:
    shown = top_whole_image(predicted)
    said = [shape for shape in labels if is_whole_image(shape)]
    if shown is None:
        return [Wrong(Kind.MISSED, None, shape) for shape in said]
    if not said:
        return [Wrong(Kind.INVENTED, shown, None)]
    others = [shape for shape in said if shape.class_name != shown.class_name]
    if len(others) == len(said):
        first, *more = others
        wrong = [Wrong(Kind.CLASS, shown, first, 1.0)]
    else:
        more, wrong = others, []
    return wrong + [Wrong(Kind.MISSED, None, shape) for shape in more]
