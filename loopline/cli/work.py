"""`loopline import | train | apply | predict`: commands that start work."""

from __future__ import annotations

from collections import Counter
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
from loopline.cli.values import parameter
from loopline.client.refs import show_ref
from loopline.contracts import ImportRules
from loopline.contracts.catalog import DEFAULT_POOL

if TYPE_CHECKING:  # imported by the commands that need them: `--help` stays quick
    from loopline.client.session import CommandResult
    from loopline.contracts.inference.v1.predict_pb2 import ImagePrediction


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("import")(import_images)
    app.command()(train)
    app.command()(apply)
    app.command()(predict)


def say(result: CommandResult, as_json: bool) -> None:
    """Print what came of a command."""
    if as_json:
        emit_json({"command_id": result.command_id, "run": result.last})
    elif result.last is None:
        console.print(f"queued as {result.command_id}")
    else:
        artefact = show_ref(result.last.artefact)
        console.print(
            f"{result.last.title or 'done'}: [bold]{artefact}[/bold] {result.last.message}"
        )


def import_images(
    dataset: Annotated[str, typer.Argument(help="The dataset to commit to.")],
    bucket: Annotated[str, typer.Argument(help="BUCKET or BUCKET/PREFIX.")],
    connection: Annotated[
        str, typer.Option(help="Name of the configured connection.")
    ] = "customer",
    labels: Annotated[str, typer.Option(help="Key of a file with known labels: CSV or COCO.")] = "",
    classes: Annotated[str, typer.Option(help="Classes in model order, comma separated.")] = "",
    min_side_px: Annotated[int, typer.Option(help="Drop smaller images; 0 for the default.")] = 0,
    keep_near_duplicates: Annotated[bool, typer.Option(help="Keep look-alikes.")] = False,
    wait: Wait = True,
    pool: Pool = DEFAULT_POOL,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Import the images of a customer's bucket into a dataset."""
    name, _, prefix = bucket.partition("/")
    rules = ImportRules(min_side_px=min_side_px)
    if keep_near_duplicates:
        rules.drop_near_duplicates = False
    with connect(data) as loopline:
        result = loopline.import_images(
            dataset,
            connection=connection,
            bucket=name,
            prefix=prefix,
            labels_key=labels,
            classes=[part.strip() for part in classes.split(",") if part.strip()],
            rules=rules,
            wait=wait,
            pool=pool,
        )
    say(result, as_json)


def train(
    model: Annotated[str, typer.Argument(help="The model to commit a version of.")],
    dataset: Annotated[str, typer.Argument(help="NAME, NAME@v3 or NAME@TAG.")],
    recipe: Annotated[str, typer.Option(help="The recipe.")] = "classification",
    parameters: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter: NAME=VALUE (JSON).")
    ] = None,
    wait: Wait = True,
    pool: Pool = DEFAULT_POOL,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on a dataset version, showing how it goes."""
    with connect(data) as loopline, following(wait and not as_json) as told:
        result = loopline.train(
            model,
            dataset,
            recipe=recipe,
            parameters=dict(parameter(text) for text in parameters or ()),
            wait=wait,
            pool=pool,
            told=told,
        )
    say(result, as_json)


def apply(
    model: Annotated[str, typer.Argument(help="NAME, NAME@v2 or NAME@champion.")],
    dataset: Annotated[str, typer.Argument(help="NAME, NAME@v3 or NAME@TAG.")],
    where: Annotated[str, typer.Option(help="Only these items (CEL): '!item.labeled'.")] = "",
    wait: Wait = True,
    pool: Pool = DEFAULT_POOL,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Apply a model to a dataset; items it has seen before cost nothing."""
    with connect(data) as loopline:
        say(loopline.apply(model, dataset, where=where, wait=wait, pool=pool), as_json)


def predict(
    model: Annotated[str, typer.Argument(help="NAME for its champion, or NAME@v2.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Ask a served model about image files."""
    with connect(data) as loopline:
        answer = loopline.predict(model, images)
    if as_json:
        emit_json(answer)
        return
    rows = ((path, *_found(p)) for path, p in zip(images, answer.predictions, strict=True))
    emit_table(f"{show_ref(answer.model)}", ("image", "found", "confidence"), rows)


def _found(prediction: ImagePrediction) -> tuple[str, str]:
    """Return what was found in an image, and how sure the model is of the surest of it."""
    if prediction.error:
        return prediction.error, ""
    if prediction.class_name:
        return prediction.class_name, f"{prediction.confidence:.3f}"
    counts = Counter(shape.class_name for shape in prediction.shapes)
    surest = max((shape.confidence for shape in prediction.shapes), default=0.0)
    found = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    return found or "nothing", f"{surest:.3f}" if found else ""
