"""`loopline up | down | status`: the platform on this machine."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from loopline.cli.options import AsJson, DataDir, console, emit_json
from loopline.errors import LooplineError

if TYPE_CHECKING:  # the supervisor's modules are imported by the commands that need them
    from loopline.embedded.endpoints import Endpoints
    from loopline.embedded.options import PlatformOptions
    from loopline.embedded.platform import Platform
    from loopline.embedded.status import ProcessStatus

DEFAULT_DATA_DIR = Path(".loopline")
REFRESH_S = 1.0
STOP_TIMEOUT_S = 90.0
POLL_S = 0.05
MIB = 1024**2
STATE_STYLES = {"ready": "green", "starting": "yellow", "restarting": "yellow", "failed": "red"}
FIRST_USER = "admin"
SECRET_MARKS = ("password", "secret", "token", "access_key")

Scale = Annotated[
    list[str] | None,
    typer.Option("--scale", metavar="SERVICE=N", help="Processes of a service; repeatable."),
]
Services = Annotated[
    list[str] | None,
    typer.Option("--service", help="Run only this service; repeatable [default: all]."),
]
CustomerBuckets = Annotated[
    list[str] | None,
    typer.Option(
        "--customer-bucket",
        help="Make this bucket for a demonstration customer (connection 'customer'); repeatable.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(
    data: DataDir = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once ready.")] = False,
    scale: Scale = None,
    service: Services = None,
    workspace: Annotated[str, typer.Option(help="The team's name space.")] = "default",
    customer_bucket: CustomerBuckets = None,
    host: Annotated[str, typer.Option(help="Where services listen.")] = "127.0.0.1",
    api_token: Annotated[
        str,
        typer.Option(envvar="LOOPLINE_API_TOKEN", help="Bearer token that HTTP APIs ask for."),
    ] = "",
    otlp_endpoint: Annotated[
        str, typer.Option(envvar="LOOPLINE_OTLP_ENDPOINT", help='Traces go to "http://host:4317".')
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Start the platform on this machine: bus, object storage and the services."""
    from loopline.contracts.catalog import SERVICES
    from loopline.embedded.options import PlatformOptions

    options = PlatformOptions(
        data_dir=data or DEFAULT_DATA_DIR,
        workspace=workspace,
        services=tuple(service) if service else SERVICES,
        scale=_scale(scale or []),
        host=host,
        api_token=api_token,
        otlp_endpoint=otlp_endpoint,
        customer_buckets=tuple(customer_bucket or ()) or _customer_buckets_of(data),
    )
    if detach:
        _up_detached(options, as_json)
    else:
        _up_foreground(options, as_json)


def _customer_buckets_of(data: Path | None) -> tuple[str, ...]:
    """Return the buckets that this data folder's demonstration customer had last time."""
    from loopline.embedded.endpoints import Endpoints
    from loopline.embedded.errors import PlatformError

    try:
        return Endpoints.load(data or DEFAULT_DATA_DIR).customer_buckets
    except PlatformError:
        return ()


def down(data: DataDir = None, as_json: AsJson = False) -> None:
    """Stop the platform: services finish what they do, then storage and bus stop."""
    from loopline.embedded.layout import DataFolder, holder

    folder = DataFolder((data or DEFAULT_DATA_DIR).absolute())
    pid = holder(folder)
    began = time.monotonic()
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        while holder(folder) is not None:
            if time.monotonic() - began > STOP_TIMEOUT_S:
                raise LooplineError(
                    f"the platform (pid {pid}) still stops after {STOP_TIMEOUT_S} s"
                )
            time.sleep(POLL_S)
    seconds = round(time.monotonic() - began, 2)
    if as_json:
        emit_json({"stopped": bool(pid), "pid": pid, "seconds": seconds})
    elif pid:
        console.print(f"stopped in {seconds} s")
    else:
        console.print(f"no platform runs on {folder.root}")


def status(data: DataDir = None, as_json: AsJson = False) -> None:
    """Show what runs; the exit status is 1 if nothing does."""
    from loopline.embedded import status as processes
    from loopline.embedded.layout import DataFolder

    folder = DataFolder((data or DEFAULT_DATA_DIR).absolute())
    found = processes.load(folder)
    if as_json:
        emit_json(
            {
                "running": bool(found),
                "data_dir": str(folder.root),
                "processes": [asdict(each) for each in found],
            }
        )
    elif found:
        console.print(_table(found))
    else:
        console.print(f"no platform runs on {folder.root}: start one with `loopline up`")
    if not found:
        raise typer.Exit(1)


def _up_detached(options: PlatformOptions, as_json: bool) -> None:
    from loopline.embedded.daemon import start_detached
    from loopline.embedded.endpoints import Endpoints

    began = time.monotonic()
    pid = start_detached(options)
    endpoints = Endpoints.load(options.data_dir)
    _announce(endpoints, options, time.monotonic() - began, as_json, pid)


def _up_foreground(options: PlatformOptions, as_json: bool) -> None:
    from loopline.embedded.daemon import log_to, serve
    from loopline.embedded.layout import DataFolder

    began = time.monotonic()
    log_to(DataFolder(options.data_dir))

    async def watch(platform: Platform) -> None:
        _announce(platform.endpoints, options, time.monotonic() - began, as_json, os.getpid())
        if as_json or not console.is_terminal:
            await asyncio.Event().wait()
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(_table(platform.status()), refresh=True)
                await asyncio.sleep(REFRESH_S)

    asyncio.run(serve(options, watch))
    if not as_json:
        console.print("stopped")


def _announce(
    endpoints: Endpoints, options: PlatformOptions, seconds: float, as_json: bool, pid: int
) -> None:
    if as_json:
        emit_json(
            {
                "ready": True,
                "pid": pid,
                "seconds": round(seconds, 2),
                "data_dir": str(options.data_dir),
                "endpoints": _without_secrets(asdict(endpoints)),
                "sign_in": sign_in_link(options.data_dir),
            }
        )
        return
    console.print(f"[green]ready[/green] in {seconds:.1f} s; data in {options.data_dir}")
    for what, where in (
        ("console", endpoints.console_http),
        ("inference", endpoints.inference_grpc),
        ("over HTTP", endpoints.inference_rest),
        ("bus", endpoints.nats_url),
        ("storage", endpoints.s3_endpoint),
    ):
        if where:
            console.print(f"  {what:10} {where}", highlight=False)
    if link := sign_in_link(options.data_dir):
        console.print("sign in, once, within the hour (later: `loopline user link`):")
        console.file.write(f"{link}\n")  # as it is: a wrapped link cannot be opened


def sign_in_link(data_dir: Path, name: str = FIRST_USER) -> str:
    """Return a one-time link to the console of the platform of a data folder; "" if it has none."""
    from loopline.embedded.access_keys import AccessKeys
    from loopline.embedded.endpoints import Endpoints
    from loopline.embedded.errors import PlatformError
    from loopline.embedded.layout import DataFolder

    try:
        endpoints = Endpoints.load(data_dir)
    except PlatformError:
        return ""
    folder = DataFolder(data_dir.absolute()).access
    if not endpoints.console_http or not folder.exists():
        return ""
    keys = AccessKeys.load_or_generate(folder)
    return keys.link(endpoints.console_http, endpoints.workspace, name)


def _without_secrets(endpoints: dict[str, Any]) -> dict[str, Any]:
    """Secrets stay in `<data>/endpoints.json`, which its owner alone can read."""
    return {
        name: value
        for name, value in endpoints.items()
        if not any(mark in name for mark in SECRET_MARKS)
    }


def _table(processes: list[ProcessStatus]) -> Table:
    table = Table(header_style="dim", box=None, padding=(0, 2, 0, 0))
    for column in ("process", "state", "pid", "restarts", "memory", "up", "endpoint"):
        right = column in ("pid", "restarts", "memory", "up")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for each in processes:
        style = STATE_STYLES.get(each.state, "dim")
        table.add_row(
            each.name,
            f"[{style}]{each.state}[/{style}]",
            str(each.pid or ""),
            str(each.restarts or ""),
            f"{each.pss_bytes / MIB:.0f} MiB" if each.pid else "",
            _duration(each.uptime_s) if each.pid else "",
            f"[red]{escape(each.trouble)}[/red]" if each.trouble else each.endpoint,
        )
    total = sum(each.pss_bytes for each in processes)
    table.add_row("[dim]all[/dim]", "", "", "", f"{total / MIB:.0f} MiB", "", "")
    return table


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _scale(wanted: list[str]) -> dict[str, int]:
    scale = {}
    for text in wanted:
        service, _, count = text.partition("=")
        if not count.isdecimal():
            raise typer.BadParameter(f"{text!r} is not SERVICE=N", param_hint="--scale")
        scale[service] = int(count)
    return scale
