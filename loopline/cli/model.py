"""`loopline model ...`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopline.cli import evaluation
from loopline.cli.options import AsJson, DataDir, connect, console, emit_json, emit_table
from loopline.client.refs import show_ref
from loopline.contracts import AliasMoved, Evaluation

if TYPE_CHECKING:  # imported by the commands that need them: `--help` stays quick
    from loopline.client.models import ModelVersion
    from loopline.client.sync import Loopline
    from loopline.store.commits import Committed

app = typer.Typer(no_args_is_help=True, help="Models, their versions and aliases.")
evaluation.register(app)
Version = Annotated[str, typer.Argument(help="A model version: NAME, NAME@v2, NAME@champion.")]
HEADLINE = (
    "accuracy", "macro_f1", "map50", "map", "mean_iou", "mean_dice", "calibration_error",
)  # fmt: skip


def _headline(evaluations: list[Evaluation]) -> str:
    return "; ".join(
        f"{e.split}: " + ", ".join(f"{m} {e.metrics[m]:.3f}" for m in HEADLINE if m in e.metrics)
        for e in evaluations
    )


def _row(version: ModelVersion, aliases: dict[str, str]) -> tuple[object, ...]:
    return (
        show_ref(version.ref),
        aliases.get(version.ref.digest, ""),
        version.message.task,
        _headline(list(version.message.evaluations)),
        version.ref.digest[:12],
        version.commit.summary,
    )


def _aliases(loopline: Loopline, name: str) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for head in loopline.model.aliases(name):
        moved = head.message
        found.setdefault(moved.target.digest, []).append(moved.alias)
        if moved.HasField("rollout"):
            shares = f"canary {moved.rollout.canary:.0%}, shadow {moved.rollout.shadow:.0%}"
            beside = found.setdefault(moved.rollout.candidate.digest, [])
            beside.append(f"beside {moved.alias}: {shares}")
    return {digest: ", ".join(sorted(names)) for digest, names in found.items()}


@app.command("list")
def list_models(
    name: Annotated[str, typer.Argument(help="Only this model: all its versions.")] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List models, or the versions of one."""
    with connect(data) as loopline:
        versions = loopline.model.log(name) if name else loopline.model.list()
        aliases: dict[str, str] = {}
        for model in {version.ref.name for version in versions}:
            aliases |= _aliases(loopline, model)
    if as_json:
        emit_json([version.message for version in versions])
        return
    columns = ("version", "aliases", "task", "metrics", "digest", "summary")
    emit_table("models", columns, (_row(version, aliases) for version in versions))


@app.command()
def show(version: Version, data: DataDir = None, as_json: AsJson = False) -> None:
    """Show everything about a version."""
    with connect(data) as loopline:
        found = loopline.model.get(version)
    if as_json:
        emit_json(found.message)
        return
    run = found.commit.run
    console.print(f"[bold]{show_ref(found.ref)}[/bold]  {found.ref.digest}")
    console.print(f"{found.message.task} by recipe {found.message.recipe}, run {run.id[:12]}")
    console.print(f"classes: {', '.join(found.message.classes)}")
    for measured in found.message.evaluations:
        rows = ((name, f"{value:.4f}") for name, value in sorted(measured.metrics.items()))
        emit_table(f"{measured.split} ({measured.count} items)", ("metric", "value"), rows)
    emit_table(
        "files",
        ("name", "bytes", "sha256"),
        ((f.name, f.size_bytes, f.digest) for f in found.message.files),
    )
    emit_table(
        "inputs",
        ("role", "version", "digest"),
        ((i.role, show_ref(i), i.digest) for i in run.inputs),
    )


def _emit_move(moved: Committed[AliasMoved], *, as_json: bool) -> None:
    if as_json:
        emit_json(moved.message)
    else:
        console.print(moved.commit.summary)


@app.command()
def promote(
    version: Version,
    alias: Annotated[str, typer.Option(help="The alias to move.")] = "champion",
    reason: Annotated[str, typer.Option(help="Why; kept in the log.")] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Move an alias to a version; moving it back is a rollback."""
    with connect(data) as loopline:
        moved = loopline.model.promote(version, alias, reason)
    _emit_move(moved, as_json=as_json)


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="The model.")],
    alias: Annotated[str, typer.Option(help="The alias to move back.")] = "champion",
    reason: Annotated[str, typer.Option(help="Why; kept in the log.")] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Move an alias to where it pointed before; a version beside it only goes away."""
    with connect(data) as loopline:
        moved = loopline.model.rollback(name, alias, reason)
    _emit_move(moved, as_json=as_json)


@app.command()
def rollout(
    version: Version,
    alias: Annotated[str, typer.Option(help="The alias to stand beside.")] = "champion",
    canary: Annotated[float, typer.Option(help="Share of the requests it answers, 0 to 1.")] = 0.0,
    shadow: Annotated[
        float, typer.Option(help="Share it gets copies of; compared, never returned.")
    ] = 0.0,
    reason: Annotated[str, typer.Option(help="Why; kept in the log.")] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Put a version beside an alias's; `model promote` ends it, and so does `model rollback`."""
    with connect(data) as loopline:
        moved = loopline.model.rollout(version, alias, canary, shadow, reason)
    _emit_move(moved, as_json=as_json)


@app.command()
def replay(
    version: Version,
    images: Annotated[int, typer.Option(help="How many, the newest first.", min=1)] = 200,
    promote: Annotated[str, typer.Option(help="Move this alias to it if it agrees.")] = "",
    agreement: Annotated[
        float, typer.Option(help="Share of the images it must agree on to be promoted.")
    ] = 0.95,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Ask a version about recorded production requests before an alias moves to it."""
    with connect(data) as loopline:
        found = loopline.model.replay(version, images)
        enough = found.agreement >= agreement
        if promote and enough:
            loopline.model.promote(version, promote, f"replay: {found}")
    if as_json:
        emit_json(
            {**asdict(found), "agreement": found.agreement, "promoted": bool(promote) and enough}
        )
    else:
        console.print(str(found))
    if promote and not enough:
        raise typer.Exit(1)


@app.command()
def download(
    version: Version,
    file: Annotated[str, typer.Argument(help="The file: model.onnx, ...")],
    path: Annotated[Path, typer.Argument(help="Where to write it.")],
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a file of a version, its digest checked."""
    with connect(data) as loopline:
        size_bytes = loopline.model.download(version, file, path)
    if as_json:
        emit_json({"file": file, "path": path, "size_bytes": size_bytes})
    else:
        console.print(f"{size_bytes} bytes in {path}")
