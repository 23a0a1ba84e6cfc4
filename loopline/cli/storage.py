"""`loopline fsck | gc`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from loopline.cli.options import AsJson, DataDir, connect, console, emit_json, emit_table

MEGABYTE = 1e6
SHOWN = 20
LISTED_BY_NAME = ("garbage", "removed")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(fsck)
    app.command()(gc)


def fsck(
    deep: Annotated[bool, typer.Option(help="Read every object and hash it again.")] = False,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Find objects that are missing, corrupt or garbage; fails if any is missing or corrupt."""
    with connect(data) as loopline:
        report = loopline.storage.fsck(deep=deep)
    if as_json:
        emit_json({**_counted(asdict(report)), "ok": report.ok})
    else:
        problems = [*report.missing, *report.corrupt]
        rows = ((p.area, p.digest[:16], p.reason, p.referenced_by) for p in problems)
        emit_table("problems", ("area", "object", "what", "reached by"), rows)
        console.print(
            f"{report.commits} commits reach {report.reachable} objects; "
            f"{len(report.garbage)} others ({report.garbage_bytes / MEGABYTE:.1f} MB) are garbage"
        )
    raise typer.Exit(0 if report.ok else 1)


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run/--remove", help="Only say it.")] = True,
    grace_days: Annotated[float, typer.Option(help="Leave what is younger.")] = 7.0,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Remove objects that no commit reaches; by default only say which."""
    with connect(data) as loopline:
        report = loopline.storage.gc(dry_run=dry_run, grace_days=grace_days)
    if as_json:
        emit_json({**_counted(asdict(report)), "freed_bytes": report.freed_bytes})
        return
    rows = ((g.area, g.digest[:16], g.size_bytes) for g in report.removed[:SHOWN])
    emit_table("would be removed" if dry_run else "removed", ("area", "object", "bytes"), rows)
    console.print(
        f"{len(report.removed)} objects, {report.freed_bytes / MEGABYTE:.1f} MB; "
        f"{report.young} unreachable ones are younger than {grace_days:g} days"
    )


def _counted(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report whose garbage is listed by name only."""
    return {
        name: [f"{g['area']}/{g['digest']}" for g in value] if name in LISTED_BY_NAME else value
        for name, value in report.items()
    }
