"""`loopline run ...`, `loopline agents` and `loopline reproduce`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from loopline.cli.options import (
    AsJson,
    DataDir,
    Pool,
    Wait,
    connect,
    console,
    emit_json,
    emit_table,
)
from loopline.cli.progress import following, summary
from loopline.cli.values import parameter
from loopline.client.refs import show_ref
from loopline.contracts import RunChanged, RunKind, RunState, Team
from loopline.contracts.catalog import DEFAULT_POOL

if TYPE_CHECKING:  # imported by the commands that need them: `--help` stays quick
    from loopline.runtime.agents import AgentState

app = typer.Typer(no_args_is_help=True, help="What runs and what ran.")
Run = Annotated[str, typer.Argument(help="A run's id, the beginning of it, or its command's id.")]
ID_LENGTH = 12
STATE_STYLES = {"busy": "green", "idle": "", "gone": "red"}


def register(application: typer.Typer) -> None:
    """Add the commands that have no group."""
    application.command()(agents)
    application.command()(reproduce)


@app.command("list")
def list_runs(
    active: Annotated[bool, typer.Option("--active", help="Only those that go on.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many, the newest.")] = 30,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first, with where they are."""
    with connect(data) as loopline:
        reports = loopline.run.list(active)[:limit]
    if as_json:
        emit_json(reports)
        return
    columns = ("run", "kind", "state", "what", "progress", "agent", "at (UTC)")
    emit_table("runs", columns, (_row(report) for report in reports))


@app.command()
def show(run: Run, data: DataDir = None, as_json: AsJson = False) -> None:
    """Show a run's last report."""
    with connect(data) as loopline:
        report = loopline.run.get(run)
    if as_json:
        emit_json(report)
        return
    console.print(f"[bold]{report.run_id}[/bold]  {_kind(report)} {_state(report)}")
    console.print(f"{report.title}  {summary(report)}", highlight=False)
    if report.message:
        console.print(report.message, highlight=False)
    if report.HasField("artefact"):
        console.print(f"made {show_ref(report.artefact)}  {report.artefact.digest}")
    if report.training.checkpoints:
        emit_table(
            "checkpoints in storage",
            ("step", "epoch", "bytes", "best", "sha256"),
            (
                (c.step, c.epoch, c.size_bytes, "yes" if c.is_best else "", c.digest)
                for c in report.training.checkpoints
            ),
        )


@app.command()
def cancel(
    run: Run,
    reason: Annotated[str, typer.Option(help="Why; told with the run.")] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Stop a run; a training leaves a checkpoint, from which it goes on if asked for again."""
    with connect(data) as loopline:
        run_id = loopline.run.cancel(run, reason)
    if as_json:
        emit_json({"run_id": run_id, "command_id": "" if run_id else run})
    elif run_id:
        console.print(f"asked for run {run_id[:ID_LENGTH]} to stop")
    else:
        console.print(f"no run of command {run} yet: whoever takes it will not begin")


def agents(data: DataDir = None, as_json: AsJson = False) -> None:
    """List the agents (trainers and inference workers) with what they run."""
    now = datetime.now(UTC)
    with connect(data) as loopline:
        states = loopline.agent.list()
    if as_json:
        emit_json(
            [
                {"state": s.state(now), "silent_s": round(s.silent_s(now), 1), "agent": s.reported}
                for s in states
            ]
        )
        return
    columns = ("agent", "state", "labels", "takes", "devices", "busy", "runs", "heard")
    emit_table("agents", columns, (_agent_row(state, now) for state in states))


def reproduce(
    model: Annotated[str, typer.Argument(help="A model version: NAME@v2, NAME@champion.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a parameter, to see what it does: NAME=VALUE (JSON)."),
    ] = None,
    dataset: Annotated[str, typer.Option(help="Train on another version: NAME@v3.")] = "",
    wait: Wait = True,
    pool: Pool = DEFAULT_POOL,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Train a model version again from the log alone, and compare; exit 1 if it is not the same."""
    with connect(data) as loopline:
        with following(wait and not as_json) as told:
            result = loopline.reproduce(
                model,
                changes=dict(parameter(text) for text in changes or ()),
                dataset=dataset,
                wait=wait,
                pool=pool,
                told=told,
            )
        if result.last is None:
            console.print(f"queued as {result.command_id}")
            return
        [found] = [
            r
            for r in loopline.model.reproductions(result.last.artefact.name)
            if r.ref.version == result.last.artefact.version
        ]
    proof = found.message
    if as_json:
        emit_json(proof)
    else:
        console.print(found.commit.summary, highlight=False)
        rows = [("made from", d) for d in proof.causes] + [("came out", d) for d in proof.effects]
        if rows:
            columns = ("", "what", "was", "is now")
            emit_table("differences", columns, ((n, d.what, d.was, d.now) for n, d in rows))
    if not proof.is_identical:
        raise typer.Exit(1)


def _row(report: RunChanged) -> tuple[object, ...]:
    return (
        report.run_id[:ID_LENGTH],
        _kind(report),
        _state(report),
        report.title,
        summary(report),
        report.agent.id,
        f"{report.at.ToDatetime():%Y-%m-%d %H:%M:%S}",
    )


def _agent_row(state: AgentState, now: datetime) -> tuple[object, ...]:
    said, word = state.reported, state.state(now)
    style = STATE_STYLES[word]
    return (
        state.name,
        f"[{style}]{word}[/{style}]" if style else word,
        ", ".join(f"{key}={value}" for key, value in sorted(said.labels.items())),
        ", ".join(said.pools),
        ", ".join(f"{d.name} ({d.cores})" if d.cores else d.name for d in said.devices),
        f"{len(said.running)}/{said.capacity}",
        "; ".join(f"{w.title} ({w.run_id[:ID_LENGTH]})" for w in said.running)
        + _shared(said.leads),
        f"{state.silent_s(now):.0f} s ago",
    )


def _shared(team: Team) -> str:
    """Return with whom an agent shares what it leads; empty if it does not."""
    if team.nodes and not team.members:
        return f", waits for others: {team.nodes} agents share it"
    return ", with " + ", ".join(m.id for m in team.members[1:]) if team.nodes else ""


def _kind(report: RunChanged) -> str:
    return RunKind.Name(report.kind).removeprefix("RUN_KIND_").lower()


def _state(report: RunChanged) -> str:
    return RunState.Name(report.state).removeprefix("RUN_STATE_").lower()
