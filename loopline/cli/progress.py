"""How a run goes, in a line that changes on a terminal and in lines of their own elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, Progress, TextColumn

from loopline.cli.options import console
from loopline.contracts import RunChanged, RunState, TrainingProgress

LINE_EVERY_S = 5.0  # where nobody sees a line change
METRICS_SHOWN = 3


@contextlib.contextmanager
def following(wanted: bool) -> Iterator[Callable[[RunChanged], None] | None]:
    """Yield what shows each report of a run; None if that is not wanted."""
    if not wanted:
        yield None
    elif console.is_terminal:
        with _bar() as told:
            yield told
    else:
        yield _Lines()


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[RunChanged], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[detail]}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("waiting for an agent", total=None, detail="")

        def told(report: RunChanged) -> None:
            now = report.training
            done, total = (now.step, now.steps) if now.steps else (report.done, report.total)
            progress.update(
                task,
                description=report.title,
                completed=done,
                total=total or None,
                detail=summary(report),
            )

        yield told


class _Lines:
    def __init__(self) -> None:
        self._next_s = 0.0

    def __call__(self, report: RunChanged) -> None:
        """Print an epoch's end, and else a line every few seconds."""
        if report.training.metrics or time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + LINE_EVERY_S
            console.print(f"{report.title}  {summary(report)}", highlight=False)


def summary(report: RunChanged) -> str:
    """Return where a run is: "epoch 3/16  step 120/640  loss 0.412  accuracy 0.871  410 img/s"."""
    if report.state == RunState.RUN_STATE_QUEUED and report.message:
        return f"waits: {report.message}"
    if report.training.steps:
        return _of_training(report.training)
    figures = [f"{name} {value:.4g}" for name, value in sorted(report.figures.items())]
    progress = [f"{report.done}/{report.total} {report.unit}"] if report.total else []
    return "  ".join([*progress, *figures])


def _of_training(now: TrainingProgress) -> str:
    metrics = [f"{name} {value:.3f}" for name, value in sorted(now.metrics.items())]
    parts = [
        f"epoch {now.epoch}/{now.epochs}",
        f"step {now.step}/{now.steps}",
        f"loss {now.loss:.4f}",
        *metrics[:METRICS_SHOWN],
        f"{now.images_per_s:.0f} img/s",
    ]
    if now.step < now.steps:
        parts.append(f"{_duration(now.eta_s)} left")
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
