"""`loopline model evaluate | compare | report | card | quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopline.cli.options import (
    AsJson,
    DataDir,
    Pool,
    Wait,
    connect,
    console,
    emit_json,
    emit_table,
)
from loopline.cli.progress import following
from loopline.client.refs import show_ref
from loopline.contracts.catalog import DEFAULT_POOL

if TYPE_CHECKING:  # imported by the commands that need them: `--help` stays quick
    from loopline.client.session import CommandResult
    from loopline.evaluation.report import Comparison, Difference, Report

Version = Annotated[str, typer.Argument(help="A model version: NAME, NAME@v2, NAME@champion.")]
OnDataset = Annotated[
    str, typer.Option("--dataset", help="Measured on this dataset version [default: any].")
]
OfSplit = Annotated[str, typer.Option("--split", help="Measured on this split [default: any].")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application of models."""
    for command in (evaluate, compare, report, card, quantize):
        app.command()(command)


def evaluate(
    model: Version,
    dataset: Annotated[str, typer.Option(help="NAME, NAME@v3 or NAME@TAG.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    wait: Wait = True,
    pool: Pool = DEFAULT_POOL,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Measure a version on a split of a dataset version."""
    with connect(data) as loopline:
        with following(wait and not as_json) as told:
            result = loopline.evaluation.run(
                model, dataset, split=split, wait=wait, pool=pool, told=told
            )
        found = loopline.evaluation.report(model, dataset, split) if wait else None
    if as_json:
        emit_json({"command_id": result.command_id, "run": result.last})
        return
    _say(result)
    if found is not None:
        _show_report(found)


def quantize(
    model: Version,
    dataset: Annotated[
        str, typer.Option(help="Calibrate and measure with this [default: what it was trained on].")
    ] = "",
    calibration_images: Annotated[
        int, typer.Option(help="Of the split train; 0 for the service's default.")
    ] = 0,
    wait: Wait = True,
    pool: Pool = DEFAULT_POOL,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a version again in 8 bit integers, as the model's next version, and measure it."""
    with connect(data) as loopline, following(wait and not as_json) as told:
        result = loopline.evaluation.quantize(
            model,
            dataset,
            calibration_images=calibration_images,
            wait=wait,
            pool=pool,
            told=told,
        )
    if as_json:
        emit_json({"command_id": result.command_id, "run": result.last})
    else:
        _say(result)


def compare(
    a: Annotated[str, typer.Argument(help="A model version: NAME@v2.")],
    b: Annotated[str, typer.Argument(help="The one that may be better: NAME@v3.")],
    resamples: Annotated[int, typer.Option(help="Choices of the images that are drawn.")] = 1000,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the choices.")] = 0,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compare two versions on the frozen split that both were measured on."""
    with connect(data) as loopline:
        found = loopline.evaluation.compare(
            a, b, resamples=resamples, confidence=confidence, seed=seed
        )
    if as_json:
        emit_json(found.model_dump(mode="json"))
    else:
        _show_comparison(found)


def report(
    model: Version,
    output: Output = None,
    dataset: OnDataset = "",
    split: OfSplit = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest evaluation of a version, or write its page (HTML) to a file."""
    with connect(data) as loopline:
        found = loopline.evaluation.report(model, dataset, split)
        page = loopline.evaluation.page(model, dataset, split) if output else b""
    if output is not None:
        output.write_bytes(page)
    if as_json:
        emit_json(found.model_dump(mode="json", exclude_none=True))
    elif output is not None:
        console.print(f"{len(page):,} bytes in {output}")
    else:
        _show_report(found)


def card(
    model: Version, output: Output = None, data: DataDir = None, as_json: AsJson = False
) -> None:
    """Show the model card of a version (Markdown), or write it to a file."""
    with connect(data) as loopline:
        text = loopline.evaluation.card(model)
    if output is not None:
        output.write_text(text)
    if as_json:
        emit_json({"card": text})
    elif output is not None:
        console.print(f"{len(text):,} characters in {output}")
    else:
        typer.echo(text, nl=False)


def _say(result: CommandResult) -> None:
    if result.last is None:
        console.print(f"queued as {result.command_id}")
    else:
        console.print(f"[bold]{show_ref(result.last.artefact)}[/bold] {result.last.message}")


def _show_report(found: Report) -> None:
    where = f"{found.model or found.task} on {found.dataset}, {found.split}: {found.count:,} images"
    whole = [(name, f"{value:.4f}") for name, value in found.metrics.items() if ":" not in name]
    emit_table(where, ("metric", "value"), whole)
    columns = list(dict.fromkeys(name for one in found.per_class for name in one.metrics))
    rows = [
        (
            one.class_name,
            f"{one.count:,}",
            *(f"{one.metrics[name]:.3f}" if name in one.metrics else "" for name in columns),
        )
        for one in found.per_class
    ]
    emit_table("classes", ("class", "count", *columns), rows)
    for note in found.notes:
        console.print(note)


def _show_comparison(found: Comparison) -> None:
    title = (
        f"{found.b} against {found.a} on {found.count:,} images of split "
        f"{found.split_digest[:12]}, {found.resamples:,} resamples"
    )
    interval = f"{found.confidence:.0%} interval"
    columns = ("metric", found.a, found.b, "difference", interval, "P(better)", "")
    emit_table(title, columns, (_difference(n, d) for n, d in found.metrics.items()))
    for note in found.notes:
        console.print(note)


def _difference(name: str, found: Difference) -> tuple[str, ...]:
    verdict = "better" if found.low > 0 else "worse" if found.high < 0 else "no telling"
    return (
        name,
        f"{found.a:.4f}",
        f"{found.b:.4f}",
        f"{found.difference:+.4f}",
        f"{found.low:+.4f} to {found.high:+.4f}",
        f"{found.better:.3f}",
        verdict,
    )
