"""`loopline dead ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopline.cli.options import AsJson, DataDir, connect, console, emit_json, emit_table

if TYPE_CHECKING:  # imported by the commands that need them: `--help` stays quick
    from loopline.store.deadletters import DeadLetter

app = typer.Typer(no_args_is_help=True, help="Messages that nobody could handle.")
Number = Annotated[int, typer.Argument(help="The dead letter's number.")]


def _as_dict(letter: DeadLetter) -> dict[str, Any]:
    return {
        "number": letter.sequence,
        "at": letter.at.isoformat(),
        "service": letter.service,
        "event": letter.event,
        "reason": letter.reason,
        "subject": letter.subject,
        "attempts": letter.attempts,
        "retryable": letter.retryable,
        "message": letter.body(),
    }


@app.command("list")
def list_letters(
    service: Annotated[str, typer.Option(help="Only those of this service.")] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the dead letters, oldest first."""
    with connect(data) as loopline:
        letters = loopline.dead.list(service)
    if as_json:
        emit_json([_as_dict(letter) for letter in letters])
        return
    rows = (
        (x.sequence, f"{x.at:%Y-%m-%d %H:%M:%S}", x.service, x.event, x.attempts, x.reason)
        for x in letters
    )
    emit_table(
        "dead letters", ("number", "at (UTC)", "service", "event", "attempts", "reason"), rows
    )


@app.command()
def show(number: Number, data: DataDir = None, as_json: AsJson = False) -> None:
    """Show a dead letter with its message."""
    with connect(data) as loopline:
        found = _as_dict(loopline.dead.show(number))
    if as_json:
        emit_json(found)
        return
    for name, value in found.items():
        console.print(f"[dim]{name:>10}[/dim]  {value}", highlight=False)


@app.command()
def retry(number: Number, data: DataDir = None, as_json: AsJson = False) -> None:
    """Put a command back on its subject."""
    with connect(data) as loopline:
        letter = loopline.dead.retry(number)
    if as_json:
        emit_json(_as_dict(letter))
    else:
        console.print(f"{number} is back on {letter.subject}")


@app.command()
def discard(number: Number, data: DataDir = None, as_json: AsJson = False) -> None:
    """Remove a dead letter."""
    with connect(data) as loopline:
        loopline.dead.discard(number)
    if as_json:
        emit_json({"discarded": number})
    else:
        console.print(f"{number} is gone")
