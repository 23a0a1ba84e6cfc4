"""Plots as inline SVG: colours come from the page's style sheet, so one plot serves dark and light.

Each function returns an `<svg>`; figures appear as a tooltip where the pointer rests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from loopline.evaluation.report import Calibration, Confusion, Curve, ErrorKind

WIDTH: Final = 420
HEIGHT: Final = 300
COLOURS: Final = 10  # distinct ones in the style sheet: s0 to s9
NUMBERED_CELLS_MAX: Final = 16  # classes up to which a confusion matrix shows numbers
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 40


class _Axes:
    """Maps data to pixels and draws the frame.

    Args:
        x: Lowest and highest.
        y: Lowest and highest.
        labels: Of x and y.
    """

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        labels: tuple[str, str],
    ) -> None:
        self._x, self._y, self._labels = x, y, labels

    def at(self, x: float, y: float) -> tuple[float, float]:
        (x_low, x_high), (y_low, y_high) = self._x, self._y
        across = (x - x_low) / ((x_high - x_low) or 1)
        up = (y - y_low) / ((y_high - y_low) or 1)
        return (
            round(_LEFT + across * (WIDTH - _LEFT - _RIGHT), 1),
            round(HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM), 1),
        )

    def frame(self) -> str:
        parts = []
        for value in _ticks(*self._y):
            x0, y = self.at(self._x[0], value)
            x1, _ = self.at(self._x[1], value)
            parts.append(f'<line class="grid" x1="{x0}" x2="{x1}" y1="{y}" y2="{y}"/>')
            parts.append(f'<text class="tick" x="{x0 - 6}" y="{y + 3.5}" text-anchor="end">'
                         f"{_short(value)}</text>")  # fmt: skip
        for value in _ticks(*self._x):
            x, y = self.at(value, self._y[0])
            parts.append(f'<text class="tick" x="{x}" y="{y + 15}" text-anchor="middle">'
                         f"{_short(value)}</text>")  # fmt: skip
        middle_x, middle_y = (WIDTH + _LEFT - _RIGHT) / 2, (HEIGHT - _BOTTOM + _TOP) / 2
        parts.append(
            f'<text class="axis" x="{middle_x}" y="{HEIGHT - 6}" text-anchor="middle">'
            f"{escape(self._labels[0])}</text>"
            f'<text class="axis" transform="translate(11 {middle_y}) rotate(-90)" '
            f'text-anchor="middle">{escape(self._labels[1])}</text>'
        )
        return "".join(parts)


def lines(
    curves: Sequence[Curve],
    labels: tuple[str, str],
    *,
    unit: bool = True,
    diagonal: bool = False,
    colour_from: int = 0,
) -> str:
    """Draw curves over each other.

    Args:
        curves: The first ten get a colour each, "all" a thick line, the others a faint one.
        labels: Of the axes.
        unit: Both axes are 0 to 1; else they fit the data.
        diagonal: Draw the line from corner to corner.
        colour_from: Which colour is the first.
    """
    x_range, y_range = ((0.0, 1.0), (0.0, 1.0)) if unit else _ranges(curves)
    axes = _Axes(x_range, y_range, labels)
    parts = [axes.frame()]
    if diagonal:
        (x0, y0), (x1, y1) = axes.at(0, 0), axes.at(1, 1)
        parts.append(f'<line class="chance" x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}"/>')
    single = [curve for curve in curves if curve.name != "all"]
    styles = {
        curve.name: f"s{(index + colour_from) % COLOURS}" if index < COLOURS else "faint"
        for index, curve in enumerate(single)
    }
    for curve in [*reversed(single), *(curve for curve in curves if curve.name == "all")]:
        points = " ".join(
            f"{x},{y}" for x, y in (axes.at(*p) for p in zip(curve.x, curve.y, strict=True))
        )
        area = "" if curve.area is None else f" ({curve.area:.3f})"
        style = styles.get(curve.name, "all")
        parts.append(
            f'<polyline class="line {style}" points="{points}">'
            f"<title>{escape(curve.name)}{area}</title></polyline>"
        )
    return _svg(parts)


def legend(curves: Sequence[Curve], colour_from: int = 0) -> str:
    """Return the names of the curves beside their colours, with the areas under them."""
    single = [curve for curve in curves if curve.name != "all"]
    entries = [("all", curve) for curve in curves if curve.name == "all"]
    entries += [(f"s{(i + colour_from) % COLOURS}", c) for i, c in enumerate(single[:COLOURS])]
    shown = [
        f'<span class="key"><i class="{style}"></i>{escape(curve.name)}'
        + ("" if curve.area is None else f" <b>{curve.area:.3f}</b>")
        + "</span>"
        for style, curve in entries
    ]
    if len(single) > COLOURS:
        shown.append(f'<span class="key"><i class="faint"></i>{len(single) - COLOURS} more</span>')
    return f'<div class="legend">{"".join(shown)}</div>'


def reliability(calibration: Calibration) -> str:
    """Draw how often predictions of a confidence are right, and how many there are of it."""
    axes = _Axes((0, 1), (0, 1), ("confidence", "how often it is right"))
    (x0, y0), (x1, y1) = axes.at(0, 0), axes.at(1, 1)
    parts = [axes.frame()]
    most = max((bin_.share for bin_ in calibration.bins), default=1.0)
    for bin_ in calibration.bins:
        left, top = axes.at(bin_.low, bin_.accuracy)
        right, bottom = axes.at(bin_.high, 0)
        told = (
            f"{bin_.low:.2f} to {bin_.high:.2f}: right {bin_.accuracy:.1%}, "
            f"mean confidence {bin_.confidence:.1%}, {bin_.share:.1%} of all"
        )
        width = right - left - 1.5
        opacity = 0.35 + 0.65 * bin_.share / most
        parts.append(
            f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
            f'height="{bottom - top:.1f}" fill-opacity="{opacity:.2f}">'
            f"<title>{told}</title></rect>"
        )
    parts.append(f'<line class="chance" x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}"/>')
    return _svg(parts)


def matrix(confusion: Confusion) -> str:
    """Draw a confusion matrix: rows the truth, each shaded by its shares."""
    count = len(confusion.labels)
    names = max((len(label) for label in confusion.labels), default=1)
    left, top = min(14 + 6.2 * names, 130), min(14 + 4.6 * names, 100)
    side = max(10.0, min(64.0, 440 / max(count, 1)))
    numbered = count <= NUMBERED_CELLS_MAX
    parts = []
    for row, (label, cells) in enumerate(zip(confusion.labels, confusion.counts, strict=True)):
        total = sum(cells) or 1
        y = top + row * side
        parts.append(_row_label(label, left, y + side / 2))
        parts.append(_column_label(label, left + row * side + side / 2, top))
        for column, cell in enumerate(cells):
            share = cell / total
            told = f"{label} taken for {confusion.labels[column]}: {cell:,} ({share:.1%})"
            style = "cell right" if row == column else "cell wrong"
            x = left + column * side
            parts.append(
                f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{side - 1:.1f}" '
                f'height="{side - 1:.1f}" fill-opacity="{0.05 + 0.95 * share:.3f}">'
                f"<title>{escape(told)}</title></rect>"
            )
            if numbered and cell:
                ink = "on" if share > 0.5 else "off"
                parts.append(
                    f'<text class="number {ink}" x="{x + side / 2 - 0.5:.1f}" '
                    f'y="{y + side / 2 + 3.5:.1f}" text-anchor="middle">{_compact(cell)}</text>'
                )
    overhang = 4 + 4.6 * min(len(confusion.labels[-1]), 18) if count else 0  # of the last name
    width, height = left + count * side + overhang, top + count * side + 4
    return _svg(parts, width, height, "matrix")


def costs(errors: Iterable[ErrorKind]) -> str:
    """Draw what each kind of a detector's errors costs."""
    entries = list(errors)
    most = max((error.cost for error in entries), default=0) or 1
    parts = []
    for row, error in enumerate(entries):
        y = 8 + row * 34
        width = 210 * error.cost / most
        parts.append(
            f'<text class="name" x="96" y="{y + 15}" text-anchor="end">{error.kind}</text>'
            f'<rect class="bar" x="104" y="{y}" width="{max(width, 1):.1f}" height="22"/>'
            f'<text class="tick" x="{110 + width:.1f}" y="{y + 15}">'
            f"{100 * error.cost:.1f} AP · {error.count:,}</text>"
        )
    return _svg(parts, WIDTH, 12 + 34 * len(entries))


def _svg(parts: Iterable[str], width: float = WIDTH, height: float = HEIGHT, kind: str = "") -> str:
    widest = 1.35 * width if not kind else width
    return (
        f'<svg class="plot {kind}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'style="max-width:{widest:.0f}px">{"".join(parts)}</svg>'
    )


def _row_label(label: str, x: float, y: float) -> str:
    return (
        f'<text class="name" x="{x - 6:.1f}" y="{y + 3.5:.1f}" text-anchor="end">'
        f"{escape(_cut(label))}</text>"
    )


def _column_label(label: str, x: float, y: float) -> str:
    place = f"translate({x:.1f} {y - 5:.1f}) rotate(-40)"
    return f'<text class="name" transform="{place}">{escape(_cut(label))}</text>'


def _cut(label: str, longest: int = 18) -> str:
    return label if len(label) <= longest else f"{label[: longest - 1]}…"


def _compact(count: int) -> str:
    if count < 10_000:
        return str(count)
    return f"{count / 1e3:.0f}k" if count < 1_000_000 else f"{count / 1e6:.1f}M"


def _ranges(curves: Sequence[Curve]) -> tuple[tuple[float, float], tuple[float, float]]:
    xs = [x for curve in curves for x in curve.x] or [0.0, 1.0]
    ys = [y for curve in curves for y in curve.y] or [0.0, 1.0]
    low, high = min(ys), max(ys)
    if low >= 0 and (high <= 1 or low < 0.3 * high):
        low = 0.0
    if 0.5 < high <= 1:
        high = 1.0
    return (min(xs), max(xs)), (low, high)


def _ticks(low: float, high: float) -> list[float]:
    """Return four to seven round numbers between two."""
    span = (high - low) or 1.0
    step = next(
        10.0**power * factor
        for power in range(-6, 12)
        for factor in (1, 2, 5)
        if span / (10.0**power * factor) <= 6
    )
    first = -(-low // step)
    found = []
    while (first * step) <= high + 1e-9 * span:
        found.append(round(first * step, 9) + 0.0)  # no -0
        first += 1
    return found


def _short(value: float) -> str:
    return f"{value:g}"
