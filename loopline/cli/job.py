"""`loopline job ...` and `loopline label`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from loopline.cli.options import AsJson, DataDir, connect, console, emit_json, emit_table
from loopline.errors import Rejected

app = typer.Typer(no_args_is_help=True, help="Labeling jobs.")
Job = Annotated[str, typer.Argument(help="The job.")]


@app.command("list")
def list_jobs(data: DataDir = None, as_json: AsJson = False) -> None:
    """List the labeling jobs."""
    with connect(data) as loopline:
        jobs = loopline.job.list()
    if as_json:
        emit_json(jobs)
        return
    rows = (
        (j["job"], j["state"], f"{j['submitted']}/{j['items']}", j["dataset"]["name"]) for j in jobs
    )
    emit_table("jobs", ("job", "state", "labeled", "dataset"), rows)


@app.command()
def show(job: Job, data: DataDir = None, as_json: AsJson = False) -> None:
    """Show one job."""
    with connect(data) as loopline:
        found = loopline.job.get(job)
    if as_json:
        emit_json(found)
    else:
        emit_table(job, ("field", "value"), found.items())


@app.command()
def items(
    job: Job,
    state: Annotated[str, typer.Option(help="Only these: open or submitted.")] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List a job's items with what the model predicted."""
    with connect(data) as loopline:
        found = loopline.job.items(job, state)
    if as_json:
        emit_json(found)
        return
    rows = (
        (
            i["asset"],
            _classes(i["predicted"] or []),
            _classes((i["labels"] or {}).get("shapes", [])),
        )
        for i in found
    )
    emit_table(job, ("asset", "predicted", "labeled"), rows)


def _classes(shapes: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{s['class_name']} {s['confidence']:.2f}" if s.get("confidence") else str(s["class_name"])
        for s in shapes
    )


@app.command()
def stop(job: Job, data: DataDir = None, as_json: AsJson = False) -> None:
    """Stop a job: nothing more can be submitted."""
    with connect(data) as loopline:
        found = loopline.job.stop(job)
    if as_json:
        emit_json(found)
    else:
        console.print(f"{job} is stopped")


def label(
    job: Job,
    asset: Annotated[str, typer.Argument(help="The item's asset digest.")],
    class_name: Annotated[str, typer.Argument(help="Its class.")] = "",
    shapes: Annotated[
        str, typer.Option(help='Shapes as JSON instead: [{"class_name": ..., "bbox_xyxy": [...]}]')
    ] = "",
    labeler: Annotated[str, typer.Option(help="Who labels.")] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Submit the annotations of one item of a job."""
    if bool(class_name) == bool(shapes):
        raise Rejected("give either a class or --shapes")
    try:
        given = json.loads(shapes) if shapes else [{"class_name": class_name}]
    except json.JSONDecodeError as error:
        raise Rejected(f"--shapes is not JSON: {error}") from error
    with connect(data) as loopline:
        answer = loopline.job.label(job, asset, given, labeler=labeler)
    if as_json:
        emit_json(answer)
    else:
        console.print(f"{asset[:16]} is labeled")
