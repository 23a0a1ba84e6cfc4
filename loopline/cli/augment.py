"""`loopline augment run | preview`: augmented copies, committed or looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loopline.cli.options import AsJson, DataDir, Pool, Wait, connect, console
from loopline.cli.values import parameter
from loopline.cli.work import say
from loopline.contracts.catalog import DEFAULT_POOL

app = typer.Typer(no_args_is_help=True, help="Augmented copies of a dataset's items.")

Source = Annotated[str, typer.Argument(help="NAME, NAME@v3 or NAME@TAG.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--set", help="What may happen: rotate_degrees=20, flip_vertical=true, ..."),
]
Seed = Annotated[int, typer.Option(help="Same seed, same copies.")]
Split = Annotated[str, typer.Option(help="Whose labeled items are copied.")]


@app.command()
def run(
    source: Source,
    dataset: Annotated[str, typer.Argument(help="The dataset to commit to.")],
    parameters: Parameters = None,
    copies: Annotated[int, typer.Option(min=1, max=100, help="Of each item.")] = 1,
    seed: Seed = 0,
    split: Split = "train",
    wait: Wait = True,
    pool: Pool = DEFAULT_POOL,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Commit a dataset of another one's items and of augmented copies of them."""
    with connect(data) as loopline:
        result = loopline.augment.run(
            dataset,
            source,
            parameters=dict(parameter(text) for text in parameters or ()),
            copies=copies,
            seed=seed,
            split=split,
            wait=wait,
            pool=pool,
        )
    say(result, as_json)


@app.command()
def preview(
    source: Source,
    out: Annotated[Path, typer.Option(help="Where the sheet goes, PNG.")] = Path("preview.png"),
    parameters: Parameters = None,
    items: Annotated[int, typer.Option(min=1, max=50, help="How many are shown.")] = 6,
    copies: Annotated[int, typer.Option(min=1, max=20, help="Of each.")] = 5,
    seed: Seed = 0,
    split: Split = "train",
    data: DataDir = None,
) -> None:
    """Write a contact sheet: items before and after, with their labels drawn."""
    with connect(data) as loopline:
        sheet = loopline.augment.preview(
            source,
            parameters=dict(parameter(text) for text in parameters or ()),
            copies=copies,
            items=items,
            seed=seed,
            split=split,
        )
    out.write_bytes(sheet)
    console.print(f"written to [bold]{out}[/bold]")
