"""`loopline flow ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loopline.cli.options import AsJson, DataDir, connect, console, emit_json, emit_table
from loopline.client.refs import show_ref
from loopline.errors import Rejected

app = typer.Typer(no_args_is_help=True, help="Flows: what starts, promotes and routes.")


@app.command()
def put(
    path: Annotated[Path, typer.Argument(help="The flow's YAML document.")],
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Validate a flow and make it the next version."""
    try:
        document = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Rejected(f"{path} cannot be read: {error}") from error
    with connect(data) as loopline:
        committed = loopline.flow.put(document)
    if as_json:
        emit_json(committed.message)
    else:
        console.print(f"{show_ref(committed.ref)} is in force")


@app.command()
def show(
    version: Annotated[str, typer.Argument(help="NAME or NAME@v3.")],
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Print a flow as it was put."""
    with connect(data) as loopline:
        committed = loopline.flow.get(version)
    if as_json:
        emit_json(committed.message)
    else:
        typer.echo(committed.message.document)


@app.command("list")
def list_flows(data: DataDir = None, as_json: AsJson = False) -> None:
    """List the flows in force."""
    with connect(data) as loopline:
        flows = loopline.flow.list()
    if as_json:
        emit_json([flow.message for flow in flows])
        return
    rows = ((show_ref(f.ref), f.ref.digest[:12], f.commit.run.actor.name) for f in flows)
    emit_table("flows", ("version", "digest", "put by"), rows)
