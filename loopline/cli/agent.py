"""`loopline agent ...`: agents on other machines."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from loopline.cli.options import DataDir, console
from loopline.contracts.catalog import DEFAULT_POOL

app = typer.Typer(no_args_is_help=True, help="Agents on other machines.")
Name = Annotated[str, typer.Argument(help="The agent's name.")]
DEFAULT_DATA_DIR = Path(".loopline")
DEFAULT_AGENT_DIR = Path(".loopline-agent")


@app.command()
def credentials(
    name: Name,
    file: Annotated[Path, typer.Argument(help="Where to write them; copy it to the machine.")],
    pool: Annotated[str, typer.Option(help="Whose commands it takes.")] = DEFAULT_POOL,
    label: Annotated[
        list[str] | None, typer.Option(help="What it is chosen by: gpu=h100; repeatable.")
    ] = None,
    nats: Annotated[
        str, typer.Option(help="Where it reaches the bus: nats://HOST:PORT [default: as here].")
    ] = "",
    s3: Annotated[
        str, typer.Option(help="Where it reaches storage: HOST:PORT [default: as here].")
    ] = "",
    data: DataDir = None,
) -> None:
    """Let an agent in, and write all that its machine needs into one file (0600)."""
    from loopline.embedded import agents

    labels = dict(text.partition("=")[::2] for text in label or ())
    told = agents.admit(data or DEFAULT_DATA_DIR, name, pool, labels, nats_url=nats, s3_endpoint=s3)
    agents.write_file(file, told)
    console.print(f"{file}: on that machine, `loopline agent start --credentials {file.name}`")


@app.command()
def revoke(name: Name, data: DataDir = None) -> None:
    """Take an agent's credentials back: it can do nothing from now on."""
    from loopline.embedded import agents

    agents.dismiss(data or DEFAULT_DATA_DIR, name)
    console.print(f"{name} has no credentials any more")


@app.command()
def start(
    file: Annotated[
        Path, typer.Option("--credentials", help="What `loopline agent credentials` wrote.")
    ],
    folder: Annotated[
        Path, typer.Option("--folder", help="Where it keeps images and unfinished runs.")
    ] = DEFAULT_AGENT_DIR,
) -> None:
    """Run an agent on this machine until it is stopped; it connects outward only."""
    from loopline.embedded import agents
    from loopline.embedded.command import import_path
    from loopline.embedded.services import THREADS

    told = agents.read_file(file)
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        **THREADS,
        **import_path(),
        **told,
        "LOOPLINE_DATA_DIR": str(folder.absolute()),
    }
    sys.stdout.flush()
    # The agent is this process from now on: a signal to one is a signal to the other.
    os.execve(sys.executable, [sys.executable, "-m", "services.trainer"], environment)  # noqa: S606
