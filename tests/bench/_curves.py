"""The curves of the recipes on real images, for the trainer's README.

Trains the scenes that the command line names (all of them if none), keeps what came out in
.bench/curves, and draws every scene that is there to docs/images/curves.svg:
`python -m tests.bench._curves nuclei-boxes nuclei-masks fashion`, or `... draw` to draw alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from loopline.demo.scenes import TRAININGS
from loopline.evaluation.report import Report
from tests.integration.test_recipes_on_real_images import carried_out, examples

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".bench" / "curves"
TARGET = ROOT / "docs" / "images" / "curves.svg"
PANEL_PX, PLOT_PX, MARGIN_PX = (280, 190), (220, 120), (34, 26)
FRAME = 'fill="none" stroke="#cccccc"'
LOSS, METRIC = "#9a9a9a", "#0072b2"


def measure(name: str) -> None:
    """Train a scene and keep its curves."""
    training = TRAININGS[name]
    with tempfile.TemporaryDirectory() as folder:
        placed = list(examples(training, Path(folder)))
        trained, cpu_s = carried_out(training, placed, Path(folder))
        [path] = [path for path in trained.files if path.name == "evaluation.json"]
        report = Report.model_validate_json(path.read_bytes())
    curves = {
        curve.name: [list(curve.x), list(curve.y)]
        for curve in report.curves
        if curve.kind == "training" and curve.name in ("loss", training.metric)
    }
    kept = {
        "metric": training.metric,
        "reached": trained.metrics[training.metric],
        "cpu_s": cpu_s,
        "curves": curves,
    }
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")
    print(f"{name}: {training.metric} {kept['reached']:.3f} in {cpu_s:.0f} CPU-s")


def drawn(found: dict[str, dict[str, Any]]) -> str:
    """Return one panel for each scene, side by side, as SVG."""
    width, height = PANEL_PX[0] * len(found), PANEL_PX[1]
    panels = [
        f'<g transform="translate({place * PANEL_PX[0]} 0)">{_panel(name, kept)}</g>'
        for place, (name, kept) in enumerate(found.items())
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n'
        + "\n".join(panels)
        + "\n</svg>\n"
    )


def _panel(name: str, kept: dict[str, Any]) -> str:
    x, y = MARGIN_PX
    metric = kept["metric"]
    title = f"{name}: {metric} {kept['reached']:.3f}, {kept['cpu_s']:.0f} CPU-s"
    parts = [
        f'<text x="{x}" y="16" font-weight="bold">{title}</text>',
        f'<rect x="{x}" y="{y}" width="{PLOT_PX[0]}" height="{PLOT_PX[1]}" {FRAME}/>',
        f'<text x="{x - 6}" y="{y + 10}" text-anchor="end" fill="{METRIC}">1</text>',
        f'<text x="{x - 6}" y="{y + PLOT_PX[1]}" text-anchor="end" fill="{METRIC}">0</text>',
        f'<text x="{x + 118}" y="{y + PLOT_PX[1] + 28}" fill="{LOSS}">loss, training</text>',
    ]
    if metric in kept["curves"]:  # where there is a validation split
        at = f'x="{x}" y="{y + PLOT_PX[1] + 28}" fill="{METRIC}"'
        parts.append(f"<text {at}>{metric}, validation</text>")
    for of, colour in (("loss", LOSS), (metric, METRIC)):
        if of in kept["curves"]:
            epochs, values = kept["curves"][of]
            top = max(values) if of == "loss" else 1.0
            parts.append(_line(epochs, [value / top for value in values], colour))
            last = f"{epochs[-1]:.0f} epochs"
    parts.append(
        f'<text x="{x + PLOT_PX[0]}" y="{y + PLOT_PX[1] + 14}" text-anchor="end">{last}</text>'
    )
    return "".join(parts)


def _line(epochs: list[float], shares: list[float], colour: str) -> str:
    x, y = MARGIN_PX
    span = max(epochs[-1] - epochs[0], 1)
    points = " ".join(
        f"{x + PLOT_PX[0] * (epoch - epochs[0]) / span:.1f},{y + PLOT_PX[1] * (1 - share):.1f}"
        for epoch, share in zip(epochs, shares, strict=True)
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def main() -> None:
    """Measure what is asked for, and draw what is known."""
    asked = sys.argv[1:] or list(TRAININGS)
    for name in asked if asked != ["draw"] else []:
        measure(name)
    found = {
        name: json.loads((KEPT / f"{name}.json").read_text())
        for name in TRAININGS
        if (KEPT / f"{name}.json").exists()
    }
    TARGET.write_text(drawn(found))


if __name__ == "__main__":
    main()
