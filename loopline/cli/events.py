"""`loopline events tail`."""

from __future__ import annotations

import typer

from loopline.cli.options import AsJson, DataDir, connect, console, emit_json, message_dict
from loopline.cli.progress import summary
from loopline.contracts import RunChanged, RunKind, RunState
from loopline.errors import Rejected

app = typer.Typer(no_args_is_help=True, help="What happens on the platform.")


@app.command()
def tail(data: DataDir = None, as_json: AsJson = False) -> None:
    """Print runs' reports and rejected messages as they come; end with Ctrl-C."""
    with connect(data) as loopline:
        for report in loopline.events():
            if as_json:
                emit_json(_as_dict(report))
            else:
                console.print(_line(report), highlight=False)


def _as_dict(report: RunChanged | Rejected) -> dict[str, object]:
    if isinstance(report, Rejected):
        return {"rejected": report.message, **{k: str(v) for k, v in report.ids.items()}}
    return message_dict(report)


def _line(report: RunChanged | Rejected) -> str:
    if isinstance(report, Rejected):
        return f"[red]rejected[/red] {report.message}"
    kind = RunKind.Name(report.kind).removeprefix("RUN_KIND_").lower()
    state = RunState.Name(report.state).removeprefix("RUN_STATE_").lower()
    time = f"{report.at.ToDatetime():%H:%M:%S}"
    return f"[dim]{time}[/dim] {kind} {state} {report.title}  {summary(report)} {report.message}"
