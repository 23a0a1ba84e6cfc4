"""Options that every command has, and how commands answer: tables for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:  # the SDK is imported by the commands that need it: `--help` stays quick
    from loopline.client.sync import Loopline

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data", envvar="LOOPLINE_DATA", help="Data folder of the platform [default: .loopline]."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Return when the work is done.")]
Pool = Annotated[str, typer.Option("--pool", help="Whose workers take it.")]

# Where nobody watches, lines are as long as a wide terminal's, not 80 characters.
console = Console(width=None if sys.stdout.isatty() else 140)
errors = Console(stderr=True)


def connect(data_dir: Path | None) -> Loopline:
    """Return the SDK on the platform of `data_dir`."""
    from loopline.client.sync import Loopline

    return Loopline.connect(data_dir)


def emit_json(value: Any) -> None:  # anything JSON, or messages within it
    """Print a value as JSON on one line."""
    typer.echo(orjson.dumps(_jsonable(value)).decode())


def emit_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a table; an empty one says so."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    count = 0
    for row in rows:
        table.add_row(*(str(value) for value in row))
        count += 1
    console.print(table if count else f"[dim]{title}: none[/dim]")


def message_dict(message: Message) -> dict[str, Any]:
    """Return a protobuf message as JSON with the field names of its contract."""
    found: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return found


def _jsonable(value: Any) -> Any:
    if isinstance(value, Message):
        return message_dict(value)
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value
