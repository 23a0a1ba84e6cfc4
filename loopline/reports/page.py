"""The page of an evaluation: one HTML file with its plots and images in it, nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Final

from loopline.evaluation.report import ImageView, Report, ShapeView, Slice, Speed
from loopline.reports import plots

TITLES: Final = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "roc_auc": "ROC AUC",
    "calibration_error": "Calibration error",
    "map": "mAP .50:.95",
    "map50": "mAP .50",
    "map75": "mAP .75",
    "map_small": "mAP small",
    "map_medium": "mAP medium",
    "map_large": "mAP large",
    "mean_iou": "Mean IoU",
    "mean_dice": "Mean Dice",
    "boundary_f1": "Boundary F1",
    "pixel_accuracy": "Pixel accuracy",
    "auc": "AUC",
    "iou": "IoU",
    "ap": "AP",
    "ap50": "AP .50",
    "ap75": "AP .75",
    "f1": "F1",
}
"""How metrics are written for people; others by their own name."""
TINY_PX: Final = 64  # images up to this side are shown without smoothing

Outline = Callable[[str, int, int], Sequence[Sequence[float]]]
"""From a mask, its width and its height to rings x0, y0, x1, y1, ..."""
Cells = Sequence[str | float | None]
"""A row of a table: texts as they are, figures between 0 and 1, None for an empty cell."""


def title_of(metric: str) -> str:
    """Return how a metric is written for people.

    >>> title_of("macro_recall")
    'Macro recall'
    """
    return TITLES.get(metric, metric.replace("_", " ").capitalize())


def render(
    report: Report, images: Mapping[str, bytes] | None = None, outline: Outline | None = None
) -> str:
    """Return the page.

    Args:
        report: What was found.
        images: JPEGs of the worst images by asset; one that is missing is only named.
        outline: Draws masks; without it they are left out.
    """
    return _document(
        f"{report.model or report.task} on {report.dataset or 'images'}",
        [
            _header(report),
            _tiles(report),
            _curves(report),
            _errors(report),
            _per_class(report),
            _slices(report.slices),
            _worst(report, images or {}, outline),
            _training(report),
            _speed(report.speed),
        ],
    )


def _document(title: str, sections: Iterable[str]) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_style()}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>"
    )


@cache
def _style() -> str:
    return Path(__file__).with_name("style.css").read_text()


def _header(report: Report) -> str:
    where = f"<b>{escape(report.dataset)}</b>, split " if report.dataset else "split "
    notes = "".join(f"<p>{escape(note)}</p>" for note in report.notes)
    return (
        f"<header><h1>{escape(report.model or 'Evaluation')}</h1>"
        f"<p>{report.task.capitalize()} on {where}<b>{escape(report.split or '?')}</b>: "
        f"<b>{report.count:,}</b> images, {len(report.classes)} "
        f"class{'' if len(report.classes) == 1 else 'es'}</p>{notes}</header>"
    )


def _tiles(report: Report) -> str:
    tiles = [
        f'<div class="tile"><span>{title_of(name)}</span><b>{report.metrics[name]:.3f}</b></div>'
        for name in report.headline
        if name in report.metrics
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _curves(report: Report) -> str:
    figures = []
    for kind, title, labels, diagonal in (
        ("precision_recall", "Precision and recall", ("recall", "precision"), False),
        ("roc", "ROC", ("false positive rate", "true positive rate"), True),
        ("f1_confidence", "F1 by confidence", ("confidence", "F1"), False),
    ):
        curves = [curve for curve in report.curves if curve.kind == kind]
        if len(curves) == 2 and len(report.classes) == 1:
            curves = curves[:1]  # all, and the only class: the same line twice
        if curves:
            plot = plots.lines(curves, labels, diagonal=diagonal) + plots.legend(curves)
            figures.append(f"<div><h3>{title}</h3>{plot}</div>")
    return _section("Curves", f'<div class="grid2">{"".join(figures)}</div>') if figures else ""


def _errors(report: Report) -> str:
    columns = [_confusion(report), _costs(report) + _calibration(report)]
    parts = "".join(f"<div>{column}</div>" for column in columns if column)
    return _section("Errors", f'<div class="grid2">{parts}</div>') if parts else ""


def _confusion(report: Report) -> str:
    found = report.confusion
    if found is None:
        return ""
    at = f", predictions from confidence {found.confidence:.2f} on" if found.confidence else ""
    return (
        f"<h3>Confusion</h3><p>Rows are the truth, columns what the model says; {found.unit}{at}."
        f'</p><div class="wide">{plots.matrix(found)}</div>'
    )


def _costs(report: Report) -> str:
    if not report.errors:
        return ""
    return (
        "<h3>What errors cost</h3><p>How much mAP .50 would gain without each kind, and how many "
        f"there are.</p>{plots.costs(report.errors)}"
    )


def _calibration(report: Report) -> str:
    found = report.calibration
    if found is None or not found.bins:
        return ""
    told = f"On average confidence and truth are {found.error:.3f} apart."
    if found.temperature is not None and found.error_after is not None:
        told += (
            f" With a temperature of {found.temperature:.2f} it would be {found.error_after:.3f}."
        )
    told += " The fuller a bar's colour, the more predictions are in it."
    return f"<h3>Calibration</h3><p>{told}</p>{plots.reliability(found)}"


def _per_class(report: Report) -> str:
    if not report.per_class:
        return ""
    columns = list(dict.fromkeys(name for one in report.per_class for name in one.metrics))
    unit = report.confusion.unit if report.confusion else "images"
    rows: list[Cells] = [
        [escape(one.class_name), f"{one.count:,}", *(one.metrics.get(name) for name in columns)]
        for one in report.per_class
    ]
    return _section("Classes", _table(["class", unit, *map(title_of, columns)], rows))


def _slices(slices: Sequence[Slice]) -> str:
    if not slices:
        return ""
    columns = list(slices[0].metrics)
    rows: list[Cells] = [
        [f"{one.by}: {escape(one.value)}", f"{one.count:,}", *(one.metrics[n] for n in columns)]
        for one in slices
    ]
    return _section("Slices", _table(["images with", "images", *map(title_of, columns)], rows))


def _training(report: Report) -> str:
    curves = [curve for curve in report.curves if curve.kind == "training"]
    if not curves:
        return ""
    losses = [curve for curve in curves if "loss" in curve.name]
    shares = [curve for curve in curves if curve.name in report.headline]
    figures = []
    for title, some in (("Loss", losses), ("Validation", shares)):
        if some:
            plot = plots.lines(some, ("epoch", ""), unit=False) + plots.legend(some)
            figures.append(f"<div><h3>{title}</h3>{plot}</div>")
    return _section("Training", f'<div class="grid2">{"".join(figures)}</div>') if figures else ""


def _speed(speed: Speed | None) -> str:
    if speed is None:
        return ""
    rows: list[Cells] = [
        ["images per second, with decoding", f"{speed.images_per_s:,.0f}"],
        [
            f"network alone, {speed.batch} at a time",
            f"{speed.network_images_per_s:,.0f} per second",
        ],
        ["one image, median", f"{speed.p50_ms:.2f} ms"],
        ["one image, 95 of 100", f"{speed.p95_ms:.2f} ms"],
    ]
    threads = f"{speed.threads} thread{'' if speed.threads == 1 else 's'}"
    return _section("Speed", _table([f"{escape(speed.device)}, {threads}", ""], rows))


def _worst(report: Report, images: Mapping[str, bytes], outline: Outline | None) -> str:
    if not report.worst:
        return ""
    figures = "".join(_figure(view, images.get(view.asset), outline) for view in report.worst)
    tiny = all(max(view.width_px, view.height_px) <= TINY_PX for view in report.worst)
    key = ""
    if any(shape.bbox_xyxy or shape.mask_rle for view in report.worst for shape in view.truth):
        boxes = report.task == "detection"
        key = (
            f'<p><i class="swatch t"></i>truth{", filled where it was missed" if boxes else ""}'
            f'<i class="swatch p"></i>prediction{", filled where it is wrong" if boxes else ""}</p>'
        )
    size = " small" if tiny else ""
    return _section("Worst images", f'{key}<div class="images{size}">{figures}</div>')


def _figure(view: ImageView, image: bytes | None, outline: Outline | None) -> str:
    width, height = max(view.width_px, 1), max(view.height_px, 1)
    stroke = max(width, height) / 160
    drawn = "".join(_shape(shape, view, stroke, outline, predicted=False) for shape in view.truth)
    drawn += "".join(_shape(s, view, stroke, outline, predicted=True) for s in view.predicted)
    picture = ""
    if image is not None:
        data = base64.b64encode(image).decode()
        picture = (
            f'<image href="data:image/jpeg;base64,{data}" width="{width}" height="{height}" '
            'preserveAspectRatio="none"/>'
        )
    tiny = "tiny" if max(width, height) <= TINY_PX else ""
    return (
        f'<figure><svg class="{tiny}" viewBox="0 0 {width} {height}" role="img">'
        f"{picture}{drawn}</svg>"
        f"<figcaption><b>{escape(view.reason)}</b><br><code>{view.asset[:12]}</code></figcaption>"
        "</figure>"
    )


def _shape(
    shape: ShapeView, view: ImageView, stroke: float, outline: Outline | None, *, predicted: bool
) -> str:
    sure = "" if shape.confidence is None else f" {shape.confidence:.2f}"
    title = f"<title>{escape(shape.class_name)}{sure}</title>"
    if shape.mask_rle is not None:
        if outline is None:
            return ""
        style = "mask-said" if predicted else "mask-truth"
        rings = outline(shape.mask_rle, view.width_px, view.height_px)
        path = "".join(_path(ring) for ring in rings)
        return f'<path class="{style}" stroke-width="{stroke:.2f}" d="{path}">{title}</path>'
    if shape.bbox_xyxy is None:
        return ""
    left, top, right, bottom = shape.bbox_xyxy
    style = {"wrong": "wrong-box", "missed": "missed"}.get(
        shape.verdict, "said" if predicted else "truth"
    )
    return (
        f'<rect class="{style}" stroke-width="{stroke:.2f}" x="{left:.1f}" y="{top:.1f}" '
        f'width="{right - left:.1f}" height="{bottom - top:.1f}">{title}</rect>'
    )


def _path(ring: Sequence[float]) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(ring[0::2], ring[1::2], strict=True))
    return f"M{points}Z"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _table(columns: Sequence[str], rows: Iterable[Cells]) -> str:
    """Return a table; texts are shown as they are, numbers with a bar behind them."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _cell(value: str | float | None) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, str):
        return f"<td>{value}</td>"
    share = min(max(value, 0.0), 1.0)
    return f'<td class="meter"><i style="--v:{share:.3f}"></i><span>{value:.3f}</span></td>'
