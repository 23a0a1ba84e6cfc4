"""`loopline lineage show | check`, and `loopline verify`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress
from rich.tree import Tree

from loopline.cli.options import AsJson, DataDir, connect, console, emit_json, emit_table, errors
from loopline.contracts import BucketLocation
from loopline.errors import Rejected
from loopline.lineage.fragments import bucket_uri

if TYPE_CHECKING:  # imported by the commands that need them: `--help` stays quick
    from loopline.client.sync import Loopline
    from loopline.lineage.trace import Step
    from loopline.store.verify import VerifyReport

PROBLEMS_SHOWN = 50
_COLOURS = {
    "object": "bold", "image": "green", "source": "green", "dataset": "cyan", "model": "magenta",
    "run": "dim", "labeler": "yellow", "labels": "yellow", "flow": "blue", "delivery": "blue",
}  # fmt: skip
_QUIET = {"asset", "sha256", "run", "code", "key", "committed_at"}  # in --json, not in the tree

app = typer.Typer(no_args_is_help=True, help="Where things came from.")


def register(main: typer.Typer) -> None:
    """Add the commands to the application."""
    main.add_typer(app, name="lineage")
    main.command()(verify)


@app.command()
def show(
    target: Annotated[
        str,
        typer.Argument(
            help="A delivered object's URI or key, an image's digest, or a node "
            "(model:catalogue@2); an object of the last delivery if left out."
        ),
    ] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the path from a result back to image, labeler, dataset versions, run, model and flow."""
    with connect(data) as loopline:
        path = loopline.lineage.trace(target)
    if as_json:
        emit_json(asdict(path))
    else:
        console.print(tree_of(path))


@app.command()
def check(data: DataDir = None, as_json: AsJson = False) -> None:
    """Compare the graph with the log; fails if a commit is not in it."""
    with connect(data) as loopline:
        found = loopline.lineage.check()
    if as_json:
        emit_json({**asdict(found), "ok": found.ok})
    else:
        rows = [(absent, "not in the graph") for absent in found.absent[:PROBLEMS_SHOWN]]
        rows += [(str(each), "not in the log") for each in found.surplus[:PROBLEMS_SHOWN]]
        if rows:
            emit_table("differences", ("commit", "what"), rows)
        wrong = len(found.absent) + len(found.surplus)
        state = "[green]all in the graph[/green]" if found.ok else f"[red]{wrong} differ[/red]"
        console.print(f"{found.commits} commits through sequence {found.through}: {state}")
    raise typer.Exit(0 if found.ok else 1)


def verify(
    place: Annotated[
        str,
        typer.Argument(
            help="s3://<connection>/<bucket>/<prefix>; every place delivered to if left out."
        ),
    ] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Prove every object in a results bucket from the log alone; fails if any link is broken."""
    with connect(data) as loopline:
        places = [place_of(place)] if place else loopline.lineage.destinations()
        reports = [_verified(loopline, one) for one in places]
    if as_json:
        emit_json([{**asdict(report), "ok": report.ok} for report in reports])
    else:
        for report in reports:
            _print_report(report)
        if not reports:
            console.print("[dim]nothing was delivered yet[/dim]")
    raise typer.Exit(0 if all(report.ok for report in reports) else 1)


def place_of(uri: str) -> BucketLocation:
    """Return the place that a URI names.

    Raises:
        Rejected: It names none.
    """
    scheme, _, rest = uri.partition("://")
    connection, _, path = rest.partition("/")
    bucket, _, prefix = path.partition("/")
    if scheme != "s3" or not connection or not bucket:
        raise Rejected(f"a place is written s3://<connection>/<bucket>/<prefix>, not {uri!r}")
    return BucketLocation(connection=connection, bucket=bucket, prefix=prefix)


def tree_of(step: Step) -> Tree:
    """Return a path as a tree to print: what came before a step hangs below it."""
    tree = Tree(_line(step), guide_style="dim")
    _grow(tree, step)
    return tree


def _grow(tree: Tree, step: Step) -> None:
    for before in step.before:
        _grow(tree.add(_line(before)), before)


def _line(step: Step) -> str:
    colour = _COLOURS.get(step.kind, "default")
    facts = "  ".join(_fact(name, value) for name, value in step.facts.items() if _shown(name))
    moment = str(step.facts.get("committed_at", ""))[:19].replace("T", " ")
    return f"[{colour}]{escape(step.title)}[/{colour}]  [dim]{escape(facts)}  {moment}[/dim]"


def _shown(name: str) -> bool:
    return name not in _QUIET


def _fact(name: str, value: Any) -> str:  # JSON
    if name == "summary":
        return str(value)
    if isinstance(value, float):
        return f"{name} {value:.3g}"
    if isinstance(value, list | tuple):
        return f"{name} {', '.join(map(str, value))}"
    return f"{name} {value}"


def _verified(loopline: Loopline, place: BucketLocation) -> VerifyReport:
    uri = bucket_uri(place.connection, place.bucket, place.prefix)
    with Progress(console=errors, transient=True) as bar:
        task = bar.add_task(f"verifying {escape(uri)}", total=None)
        return loopline.lineage.verify(
            place.connection,
            place.bucket,
            place.prefix,
            progress=lambda count: bar.update(task, completed=count),
        )


def _print_report(report: VerifyReport) -> None:
    rows = ((p.link, p.subject, p.reason) for p in report.problems[:PROBLEMS_SHOWN])
    if not report.ok:
        emit_table("broken links", ("link", "what", "why"), rows)
        hidden = report.problems_count - min(len(report.problems), PROBLEMS_SHOWN)
        if hidden:
            console.print(f"and {hidden} more")
    proven = ", ".join(f"{count} {link}" for link, count in report.links.items())
    state = "[green]proven[/green]" if report.ok else f"[red]{report.problems_count} broken[/red]"
    what = f"{report.objects} objects {state} against {report.commits} commits"
    console.print(f"{escape(report.location)}: {what}")
    console.print(f"[dim]{proven}[/dim]")
