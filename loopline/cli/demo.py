"""`loopline demo`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from loopline.cli.options import console

DATA_DIR = Path(".loopline/demo")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(demo)


def demo(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Data folder; run twice in it, and work is recognised."),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(help="classification (photos), detection or segmentation (nuclei)."),
    ] = "classification",
    images: Annotated[
        Path | None, typer.Option(help="Your own images: a folder per class.")
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the summary to this file as JSON.")
    ] = None,
    stay: Annotated[
        bool | None,
        typer.Option(
            "--stay/--no-stay", help="Keep the platform until Ctrl-C [default: on a terminal]."
        ),
    ] = None,
) -> None:
    """Run the whole flywheel on real images: import, train, serve, route, correct, train again."""
    from loopline.demo.run import DemoOptions, run_demo

    folder = data or (DATA_DIR if recipe == "classification" else Path(f"{DATA_DIR}-{recipe}"))
    options = DemoOptions(folder, recipe, images, json_path, stay)
    asyncio.run(run_demo(options, console))
