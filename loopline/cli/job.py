"""`loopline job ...` and `loopline label`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
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
        (
            j["job"],
            j["state"],
            f"{j['submitted']}/{j['items']}",
            j["dataset"]["name"],
            j["priority"],
            (j["deadline"] or "")[:16].replace("T", " "),
        )
        for j in jobs
    )
    emit_table("jobs", ("job", "state", "labeled", "dataset", "priority", "due (UTC)"), rows)


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
    state: Annotated[
        str,
        typer.Option(
            help="Only these: todo, queued, annotating, submitted, disputed, accepted, rejected."
        ),
    ] = "",
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


@app.command("open")
def open_job(
    job: Job,
    dataset: Annotated[str, typer.Argument(help="NAME, NAME@v3.")],
    where: Annotated[
        str, typer.Option(help="Rule over `item` that chooses; every item if empty.")
    ] = "",
    limit: Annotated[int, typer.Option(help="At most so many items; 0 for all.")] = 0,
    classes: Annotated[str, typer.Option(help="Comma separated; the dataset's if empty.")] = "",
    shapes: Annotated[
        str, typer.Option(help="Of whole_image, box, polygon, mask; comma separated.")
    ] = "",
    instructions: Annotated[str, typer.Option(help="What labelers should know.")] = "",
    review: Annotated[bool, typer.Option(help="A reviewer looks at every item.")] = False,
    labelers_per_item: Annotated[int, typer.Option(help="People on each item.")] = 1,
    predictions: Annotated[str, typer.Option(help="Committed predictions to show.")] = "",
    priority: Annotated[int, typer.Option(help="Higher ones come first.")] = 0,
    webhook_url: Annotated[str, typer.Option(help="Told of the job.")] = "",
    notify: Annotated[str, typer.Option(help="mailto:ADDRESS, chat:NAME; comma separated.")] = "",
    keeps_filling: Annotated[bool, typer.Option(help="Further commands add items.")] = False,
    labelers: Annotated[
        str, typer.Option(help="Who labels; everybody with the role if empty.")
    ] = "",
    reviewers: Annotated[str, typer.Option(help="Who reviews, likewise.")] = "",
    deadline: Annotated[
        datetime | None, typer.Option(help="When it should be done; UTC where no zone is given.")
    ] = None,
    confidence_min: Annotated[float, typer.Option(help="Less sure shapes are not shown.")] = 0.0,
    start_empty: Annotated[
        bool, typer.Option(help="Labelers do not see what the dataset says already.")
    ] = False,
    pending: Annotated[bool, typer.Option(help="It waits for `job start`.")] = False,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Open a labeling job over items of a dataset version."""
    options: dict[str, Any] = {
        "where": where,
        "classes": _listed(classes),
        "shapes": _listed(shapes),
        "instructions": instructions,
        "review": review,
        "labelers_per_item": labelers_per_item,
        "predictions": predictions,
        "priority": priority,
        "webhook_url": webhook_url,
        "notify": _listed(notify),
        "keeps_filling": keeps_filling,
        "labelers": _listed(labelers),
        "reviewers": _listed(reviewers),
        "confidence_min": confidence_min,
        "start_empty": start_empty,
        "pending": pending,
    }
    if deadline is not None:
        options["deadline"] = _zoned(deadline)
    if limit:
        options["limit"] = limit
    with connect(data) as loopline:
        _say(loopline.job.open(job, dataset, **options), as_json)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _say(job: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(job)
    else:
        state = job["state"].replace("_", " ")
        console.print(f"{job['job']} is {state}: {job['submitted']} of {job['items']} items")


@app.command()
def start(job: Job, data: DataDir = None, as_json: AsJson = False) -> None:
    """Start a job that waits to be started."""
    with connect(data) as loopline:
        _say(loopline.job.start(job), as_json)


@app.command()
def stop(
    job: Job,
    drop_labels: Annotated[
        bool, typer.Option(help="The labels made so far do not go into the dataset.")
    ] = False,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Stop a job: nothing more can be submitted."""
    with connect(data) as loopline:
        found = loopline.job.stop(job, keep_labels=not drop_labels)
    if as_json:
        emit_json(found)
    else:
        console.print(f"{job} is stopped")


@app.command()
def reopen(
    job: Job,
    assets: Annotated[list[str] | None, typer.Argument(help="Items; all if none.")] = None,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Open a job again that is over; items go back to the queue."""
    with connect(data) as loopline:
        _say(loopline.job.reopen(job, assets or []), as_json)


@app.command()
def take(
    job: Job,
    count: Annotated[int, typer.Option(help="How many to hold.")] = 1,
    for_review: Annotated[bool, typer.Option("--review", help="To review, not to label.")] = False,
    labeler: Annotated[str, typer.Option("--as", help="Who takes them.")] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Take items to label or to review: nobody else gets them meanwhile."""
    with connect(data) as loopline:
        found = loopline.job.take(job, count, labeler=labeler, review=for_review)
    if as_json:
        emit_json(found)
        return
    rows = (
        (
            one["item"]["asset"],
            one["item"]["state"],
            _classes(one["item"]["predicted"] or []),
            _classes((one["item"]["labels"] or {}).get("shapes", one["item"]["existing"])),
            one["leased_until"],
        )
        for one in found
    )
    emit_table(job, ("asset", "state", "predicted", "labeled", "until"), rows)


@app.command()
def review(
    job: Job,
    asset: Annotated[str, typer.Argument(help="The item's asset digest.")],
    verdict: Annotated[str, typer.Argument(help="accepted or rejected.")],
    comment: Annotated[str, typer.Option(help="For the labeler; a rejection needs one.")] = "",
    labels_version: Annotated[
        int, typer.Option(help="The version of the labels you looked at; the last for 0.")
    ] = 0,
    reviewer: Annotated[str, typer.Option("--as", help="Who reviews.")] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Accept an item's labels, or send them back."""
    with connect(data) as loopline:
        if not labels_version:
            labels_version = (loopline.job.item(job, asset)["labels"] or {}).get("version", 0)
        answer = loopline.job.review(
            job, asset, verdict, labels_version=labels_version, comment=comment, reviewer=reviewer
        )
    if as_json:
        emit_json(answer)
    else:
        console.print(f"{asset[:16]} is {answer['verdict']}")


@app.command()
def history(
    job: Job,
    asset: Annotated[str, typer.Argument(help="An item; the job itself if empty.")] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Tell what became of a job, or what was said of one item: by whom and when."""
    with connect(data) as loopline:
        found = loopline.job.history(job, asset)
    if as_json:
        emit_json(found)
    elif asset:
        said = (
            (one["at"], one["by"], one["verdict"] or _classes(one["shapes"] or []), one["comment"])
            for one in found
        )
        emit_table(asset[:16], ("at", "by", "said", "comment"), said)
    else:
        became = ((one["at"], one["by"], one["state"], one["summary"]) for one in found)
        emit_table(job, ("at", "by", "state", "what"), became)


@app.command()
def assign(
    job: Job,
    labelers: Annotated[
        str | None, typer.Option(help="Who labels, comma separated; '' for everybody.")
    ] = None,
    reviewers: Annotated[str | None, typer.Option(help="Who reviews, likewise.")] = None,
    deadline: Annotated[
        datetime | None, typer.Option(help="When it should be done; UTC where no zone is given.")
    ] = None,
    no_deadline: Annotated[bool, typer.Option(help="Whenever it is done.")] = False,
    priority: Annotated[int | None, typer.Option(help="Higher ones come first.")] = None,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Ask other people to work on a job, or by another date, or more urgently."""
    if no_deadline and deadline is not None:
        raise Rejected("--deadline and --no-deadline exclude each other")
    given = {
        "labelers": None if labelers is None else _listed(labelers),
        "reviewers": None if reviewers is None else _listed(reviewers),
        "deadline": "" if no_deadline else _zoned(deadline),
        "priority": priority,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise Rejected("say what should change: --labelers, --reviewers, --deadline, --priority")
    with connect(data) as loopline:
        _say(loopline.job.change(job, **changes), as_json)


def _zoned(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


@app.command()
def wrong(
    job: Job,
    kind: Annotated[str, typer.Option(help="class, missed, invented or moved.")] = "",
    class_name: Annotated[str, typer.Option("--class", help="Predicted or said.")] = "",
    confidence_min: Annotated[float, typer.Option(help="Only where it was this sure.")] = 0.0,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say where the model that labelers were shown was wrong."""
    with connect(data) as loopline:
        found = loopline.job.wrong(
            job, kind=kind, class_name=class_name, confidence_min=confidence_min
        )
    if as_json:
        emit_json(found)
        return
    rows = (
        (
            w["asset"][:16],
            w["kind"],
            _classes([w["predicted"]] if w["predicted"] else []),
            _classes([w["label"]] if w["label"] else []),
            f"{w['iou']:.2f}",
            w["model"][:12],
        )
        for w in found
    )
    emit_table(job, ("asset", "how", "predicted", "labeled", "IoU", "model"), rows)


@app.command()
def labelers(job: Job, data: DataDir = None, as_json: AsJson = False) -> None:
    """Show how each labeler does, against the truth and against each other."""
    with connect(data) as loopline:
        found = loopline.job.labelers(job)
    if as_json:
        emit_json(found)
        return
    columns = ("labeler", "items", "spent_s", "accepted", "rejected", "ground_truth_score")
    rows = ([_shown(p[name]) for name in (*columns, "agreement")] for p in found["labelers"])
    emit_table(job, (*columns, "agreement"), rows)


def _shown(value: object) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


@app.command()
def predict(
    job: Job,
    model: Annotated[str, typer.Argument(help="NAME, NAME@champion, NAME@v3.")],
    confidence_min: Annotated[float, typer.Option(help="Less sure shapes are not shown.")] = 0.0,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Ask a deployed model about every item that waits for labels."""
    with connect(data) as loopline:
        found = loopline.job.predict(job, model, confidence_min=confidence_min)
    if as_json:
        emit_json(found)
    else:
        console.print(f"{model} is being asked about {job}")


@app.command()
def notifications(job: Job, data: DataDir = None, as_json: AsJson = False) -> None:
    """List what became of telling others of a job."""
    with connect(data) as loopline:
        found = loopline.job.notifications(job)
    if as_json:
        emit_json(found)
        return
    columns = ("at", "type", "receiver", "outcome", "attempts", "detail")
    emit_table(job, columns, ([n[name] for name in columns] for n in found))


@app.command()
def redeliver(
    job: Job,
    version: Annotated[int, typer.Option(help="Of the job's commit; the last for 0.")] = 0,
    receiver: Annotated[str, typer.Option(help="As the job names it; all if empty.")] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Tell the receivers of a job's commit again."""
    with connect(data) as loopline:
        found = loopline.job.redeliver(job, version=version, receiver=receiver)
    if as_json:
        emit_json(found)
    else:
        console.print(f"sent again to {', '.join(found['receivers'])}")


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
