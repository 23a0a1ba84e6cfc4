"""`loopline dataset ...`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopline.cli.options import AsJson, DataDir, connect, console, emit_json, emit_table
from loopline.client.refs import show_ref

if TYPE_CHECKING:  # imported by the commands that need them: `--help` stays quick
    from loopline.client.datasets import DatasetVersion

app = typer.Typer(no_args_is_help=True, help="Versions of datasets.")
Version = Annotated[str, typer.Argument(help="A dataset version: NAME, NAME@v3, NAME@TAG.")]
SHOWN_ITEMS = 20


def _row(version: DatasetVersion) -> tuple[object, ...]:
    statistics = version.message.statistics
    when = version.commit.committed_at.ToDatetime()
    return (
        show_ref(version.ref),
        statistics.get("items", 0),
        statistics.get("labeled", 0),
        f"{when:%Y-%m-%d %H:%M:%S}",
        version.ref.digest[:12],
        ", ".join(f"{t}=v{v}" for t, v in sorted(version.message.tags.items())),
        version.commit.summary,
    )


def _show(versions: list[DatasetVersion], title: str, as_json: bool) -> None:
    if as_json:
        emit_json([version.message for version in versions])
        return
    columns = ("version", "items", "labeled", "committed (UTC)", "digest", "tags", "summary")
    emit_table(title, columns, (_row(version) for version in versions))


@app.command("list")
def list_datasets(data: DataDir = None, as_json: AsJson = False) -> None:
    """List the datasets at their last versions."""
    with connect(data) as loopline:
        _show(loopline.dataset.list(), "datasets", as_json)


@app.command()
def log(
    name: Annotated[str, typer.Argument(help="The dataset.")],
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show a dataset's versions, newest first."""
    with connect(data) as loopline:
        _show(loopline.dataset.log(name), name, as_json)


@app.command()
def diff(before: Version, after: Version, data: DataDir = None, as_json: AsJson = False) -> None:
    """Say what was added, removed and changed between two versions."""
    with connect(data) as loopline:
        found = loopline.dataset.diff(before, after)
    answer = {
        "added": sorted(found.added),
        "removed": sorted(found.removed),
        "changed": sorted(found.changed),
    }
    if as_json:
        emit_json(answer)
        return
    for what, assets in answer.items():
        console.print(f"[bold]{len(assets)}[/bold] {what}")
        for asset in assets[:SHOWN_ITEMS]:
            console.print(f"  [dim]{asset}[/dim]")
        if len(assets) > SHOWN_ITEMS:
            console.print(f"  [dim]… and {len(assets) - SHOWN_ITEMS} more (--json lists all)[/dim]")


@app.command()
def restore(version: Version, data: DataDir = None, as_json: AsJson = False) -> None:
    """Commit a new version with the items of an earlier one."""
    with connect(data) as loopline:
        _show([loopline.dataset.restore(version)], "restored", as_json)


@app.command()
def tag(
    version: Version,
    name: Annotated[str, typer.Argument(help="The tag.")],
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give a version a name; a tag can be moved."""
    with connect(data) as loopline:
        _show([loopline.dataset.tag(version, name)], "tagged", as_json)


Format = Annotated[
    str,
    typer.Option(
        "--format", help="coco, yolo, yolo-segment, voc, supervisely, cvat or label-studio."
    ),
]


@app.command()
def export(
    version: Version,
    folder: Annotated[Path, typer.Argument(help="An empty or new folder.")],
    format_: Format = "coco",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a version's images, their labels in a format, and a table of its items."""
    with connect(data) as loopline:
        count = loopline.dataset.export(version, folder, format=format_)
    if as_json:
        emit_json({"images": count, "folder": folder, "format": format_})
    else:
        console.print(f"{count} images in {folder}")


@app.command("import")
def import_folder(
    name: Annotated[str, typer.Argument(help="The dataset.")],
    path: Annotated[Path, typer.Argument(help="A folder, or a file of labels.")],
    format_: Format = "coco",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Commit the images and labels of a folder to a dataset."""
    with connect(data) as loopline:
        found = loopline.dataset.import_folder(name, path, format=format_)
    if as_json:
        emit_json({"added": found.added, "labeled": found.labeled, "missing": found.missing})
        return
    console.print(f"{found.labeled} items labeled, {found.added} added")
    if found.missing:
        console.print(f"not found, and left out: {', '.join(found.missing)}")


@app.command()
def leaks(version: Version, data: DataDir = None, as_json: AsJson = False) -> None:
    """Check that no picture is in two splits; the exit status is 1 if one is."""
    with connect(data) as loopline:
        found = loopline.dataset.leaks(version)
    if as_json:
        emit_json([asdict(leak) for leak in found])
    else:
        columns = ("item", "split", "is also", "in split", "because")
        rows = (
            (leak.asset[:12], leak.split, leak.other[:12], leak.other_split, leak.reason)
            for leak in found[:SHOWN_ITEMS]
        )
        emit_table(f"{version}: {len(found):,} leaks", columns, rows)
    if found:
        raise typer.Exit(1)
