"""Runs the demo.

Starts a platform, or joins one that runs, tells the story, shows what came out.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loopline.cli.lineage import tree_of
from loopline.client.aio import AsyncLoopline
from loopline.client.settings import ClientSettings
from loopline.demo.scene import Scene, drawn_scene
from loopline.demo.screen import Screen
from loopline.demo.story import (
    PHOTOS_BUCKET,
    RESULTS_BUCKET,
    Story,
    Summary,
)
from loopline.embedded.endpoints import Endpoints
from loopline.embedded.layout import DataFolder, holder
from loopline.embedded.options import PlatformOptions
from loopline.embedded.platform import Platform
from loopline.errors import Rejected

SHOWN = (
    "accuracy", "macro_precision", "macro_recall", "macro_f1", "map50", "map", "mean_iou",
    "mean_dice", "boundary_f1", "calibration_error",
)  # fmt: skip
OWN_LABELS_MIN = 10  # labeled training images of a user's own with which the flow begins


@dataclass(frozen=True)
class DemoOptions:
    """What the demo is asked to do.

    Args:
        data_dir: The platform's data folder.
        recipe: What is trained: it has a scene of its own.
        images: A folder per class of a user's own images; the sample if None.
        json_path: Where the summary goes as JSON; nowhere if None.
        stay: Keep the platform until interrupted; None decides by whether a person watches.
        parameters: The recipe's parameters; the demo's own if None.
    """

    data_dir: Path
    recipe: str = "classification"
    images: Path | None = None
    json_path: Path | None = None
    stay: bool | None = None
    parameters: dict[str, Any] | None = None


async def run_demo(options: DemoOptions, console: Console) -> Summary:
    """Run the demo; return what came out."""
    console.print("[bold]Loopline[/bold]: the data flywheel, on real images\n")
    with Screen(console) as screen:
        async with _platform(options, screen) as endpoints:
            async with AsyncLoopline(await _session(options)) as loopline:
                scene = _scene(options)
                story = Story(loopline, endpoints, screen, options.data_dir, scene)
                summary = await story.run()
                await _prove(loopline, scene, screen, console)
                summary.seconds = {key: round(s, 2) for key, s in screen.seconds.items()}
                show(summary, console)
                if options.json_path is not None:
                    options.json_path.write_text(json.dumps(asdict(summary), indent=2) + "\n")
            await _stay(options, endpoints, f"{scene.name}@{len(summary.delivered)}", console)
    return summary


@asynccontextmanager
async def _platform(options: DemoOptions, screen: Screen) -> AsyncIterator[Endpoints]:
    if holder(DataFolder(options.data_dir)) is not None:
        endpoints = Endpoints.load(options.data_dir)
        if not {PHOTOS_BUCKET, RESULTS_BUCKET} <= set(endpoints.customer_buckets):
            raise Rejected(
                f"the platform on {options.data_dir} has no buckets for the demo's customer: "
                "stop it, or give the demo another --data"
            )
        yield endpoints
        return
    platform = Platform(
        PlatformOptions(options.data_dir, customer_buckets=(PHOTOS_BUCKET, RESULTS_BUCKET))
    )
    with screen.stage("platform", "The platform starts") as stage:
        await platform.start()
        await platform.wait_ready()
        memory_mb = sum(process.pss_bytes for process in platform.status()) / 1e6
        stage.done(f"{len(platform.status())} processes, {memory_mb:.0f} MB")
    try:
        yield platform.endpoints
    finally:
        await platform.stop()


def _scene(options: DemoOptions) -> Scene:
    """Return the sample's scene, or one for the user's own images, however few."""
    parameters = options.parameters or {}
    if options.recipe != "classification":
        scene = drawn_scene(options.recipe)
        return replace(scene, parameters=scene.parameters | parameters)
    if options.images is None:
        return Scene(parameters=parameters)
    return Scene(images=options.images, parameters=parameters, labels_min=OWN_LABELS_MIN)


async def _session(options: DemoOptions) -> Any:
    from loopline.client.session import Session

    return await Session.open(ClientSettings.load(options.data_dir))


async def _prove(loopline: AsyncLoopline, scene: Scene, screen: Screen, console: Console) -> None:
    """Walk every delivered object back to its source, and show one such path."""
    with screen.stage("verify", "Every delivered object is traced and proven") as stage:
        report = await loopline.lineage.verify("customer", RESULTS_BUCKET, scene.results_prefix)
        if not report.ok:
            broken = report.problems[0]
            raise Rejected(f"verify: {broken.link} of {broken.subject}: {broken.reason}")
        stage.done(f"{report.objects} objects, no broken link")
    if not report.objects:  # the models were sure of nothing
        return
    console.print("\n[bold]From a delivered result back[/bold] (`loopline lineage show`)")
    console.print(tree_of(await loopline.lineage.trace("")))


async def _stay(
    options: DemoOptions, endpoints: Endpoints, delivery: str, console: Console
) -> None:
    stay = sys.stdout.isatty() if options.stay is None else options.stay
    page = f"workflow?node=delivery:{delivery}"
    console.print(f"\nThe graph: [bold]{endpoints.console_http}/{page}[/bold]", highlight=False)
    if stay:
        console.print("The platform stays until you press Ctrl-C.")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            console.print("stopping")
    else:
        console.print(f"Start it again with `loopline up --data {options.data_dir}`.")


def show(summary: Summary, console: Console) -> None:
    """Print the summary as a table."""
    table = Table(title="What came out", title_justify="left", show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column()
    table.add_row(
        "items", ", ".join(f"{v} {k}" for k, v in sorted(summary.items.items()) if ":" not in k)
    )
    table.add_row("dropped", ", ".join(f"{v} {k}" for k, v in summary.drops.items()))
    for model in summary.models:
        metrics = model["metrics"]
        table.add_row(
            model["version"],
            "  ".join(f"{name} {metrics[name]:.3f}" for name in SHOWN if name in metrics),
        )
    table.add_row("decision", summary.decision)
    table.add_row("delivered", " then ".join(map(str, summary.delivered)))
    table.add_row("relabeled", str(summary.relabeled))
    table.add_row("seconds", "  ".join(f"{k} {v:.1f}" for k, v in summary.seconds.items()))
    table.add_row("total", f"{sum(summary.seconds.values()):.1f} s")
    if summary.nothing_recomputed:
        table.add_row("", "[green]all of it was there already: nothing was recomputed[/green]")
    console.print()
    console.print(table)
